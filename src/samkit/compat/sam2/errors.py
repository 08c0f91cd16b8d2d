"""Errors that are both samkit's and of the built-in type that the original raises."""

from samkit.compat.segment_anything.errors import (
    ImageFormatError,
    MissingLabelsError,
    NoImageError,
    PromptShapeError,
    SettingError,
)
from samkit.errors import ConfigError, PromptError, VideoError

__all__ = [
    "FramesError",
    "ImageFormatError",
    "MissingLabelsError",
    "MissingPromptError",
    "NoImageError",
    "NoObjectError",
    "NotABatchError",
    "PromptShapeError",
    "SettingError",
    "UnknownModelError",
    "VideoPromptError",
]


class NotABatchError(PromptError, AssertionError):
    """Prompts of a batch were given before a batch of images was set."""


class FramesError(VideoError, RuntimeError):
    """A video has no frames, or cannot be read."""


class VideoPromptError(PromptError, ValueError):
    """Points, labels and boxes in a frame do not go together."""


class MissingPromptError(PromptError, RuntimeError):
    """A video was to be propagated before anything was prompted."""


class NoObjectError(PromptError, RuntimeError):
    """There is no object of this name."""


class UnknownModelError(ConfigError, KeyError):
    """A configuration or a repository on the hub names no known model."""

    def __str__(self) -> str:
        return Exception.__str__(self)
