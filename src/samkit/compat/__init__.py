"""Packages under the names of others, for programs that were written for them."""

from samkit.compat.aliases import AlreadyImportedError, install

__all__ = ["AlreadyImportedError", "install"]
