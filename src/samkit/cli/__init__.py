"""The command line, one file per command; only commands that need torch import it."""
