"""The command line: one file for each command. Torch is imported only by those that need it."""
