"""Exit codes of all commands; success is 0."""

EXIT_SOME_FAILED = 1  # some of several inputs failed
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130
