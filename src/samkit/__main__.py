"""`python -m samkit`."""

from samkit.cli.main import run

run()
