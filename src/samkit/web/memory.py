"""Freed memory, given back to the system."""

import ctypes
import sys
from collections.abc import Callable


def give_back_freed() -> None:
    """Give the system back what was freed.

    By itself glibc gives back only what lies at the end of its heaps. Embeddings and logits of some
    megabytes, freed in another order than they were made in, leave holes between those that are
    still in use, so that a server takes hundreds of megabytes more than it has.
    """
    if _trim is not None:
        _trim(0)


def _find_trim() -> Callable[[int], int] | None:
    """The C library's malloc_trim: glibc has one, others have none."""
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)


_trim = _find_trim()
