"""The command line: one file for each verb. Torch is imported only when a verb needs it."""
