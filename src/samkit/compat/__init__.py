"""Drop-in replacements for other packages, under their names."""

from samkit.compat.aliases import AlreadyImportedError, install

__all__ = ["AlreadyImportedError", "install"]
