"""Errors of a model server, beside those of the models themselves."""

from __future__ import annotations

from samkit.errors import SamkitError


class UnknownImageError(SamkitError):
    """An image is named by its hash, and its embedding is not cached, or not any more."""


class BusyError(SamkitError):
    """The queue is full.

    Attributes:
        retry_after_s: whole seconds after which another try is likely to succeed.
    """

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s

    def __reduce__(self) -> tuple[type[BusyError], tuple[str, int]]:
        return BusyError, (str(self), self.retry_after_s)


class TimedOutError(SamkitError):
    """A request was not answered in time."""


class NoTextModelError(SamkitError):
    """Words are asked for, and the server has no text model."""


class ServerError(SamkitError):
    """A model server cannot be reached, refuses a request, or answers something else."""
