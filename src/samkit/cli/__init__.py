"""The command line, one file per command; only commands that need torch import it."""

from typing import TYPE_CHECKING

from samkit.lazy import lazy_names

if TYPE_CHECKING:  # so that a command can be imported without the others
    from samkit.cli.main import run

__all__ = ["run"]

__getattr__, __dir__ = lazy_names(__name__, {"run": "main"})
