"""Errors that are both samkit's and of the built-in kind that the original raises.

Programs written for the original catch `RuntimeError` or `AssertionError`; those written for samkit
catch `SamkitError`. Each of these is caught by both.
"""

from samkit.errors import ConfigError, ImageError, PromptError


class NoImageError(PromptError, RuntimeError):
    """A prompt came before an image was set."""


class PromptShapeError(PromptError, RuntimeError):
    """Points, labels, boxes, masks or embeddings have shapes that do not go together."""


class MissingLabelsError(PromptError, AssertionError):
    """Points came without labels."""


class ImageFormatError(ImageError, AssertionError):
    """An image has another type, shape or channel order than is expected."""


class SettingError(ConfigError, AssertionError):
    """A setting makes no sense, or does not go with the others."""
