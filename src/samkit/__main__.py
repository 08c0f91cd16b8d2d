"""`python -m samkit`."""

from samkit.cli import run

run()
