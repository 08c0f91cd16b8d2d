"""The package `sam2` by samkit, for programs that were written for the original.

Change `sam2` to `samkit.compat.sam2` in their imports, or call `samkit.compat.install()` before
them. As in the original, everything is in modules of it. docs/compat.md has the differences.
"""
