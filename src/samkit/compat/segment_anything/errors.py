"""Errors that are both samkit's and of the built-in type that the original raises.

Programs written for the original catch `RuntimeError` or `AssertionError`, programs written for
samkit `SamkitError`; both catch these.
"""

from samkit.errors import ConfigError, ImageError, PromptError


class NoImageError(PromptError, RuntimeError):
    """A prompt was given before an image was set."""


class PromptShapeError(PromptError, RuntimeError):
    """Shapes of points, labels, boxes, masks or embeddings disagree."""


class MissingLabelsError(PromptError, AssertionError):
    """Points were given without labels."""


class ImageFormatError(ImageError, AssertionError):
    """An image has an unexpected type, shape or channel order."""


class SettingError(ConfigError, AssertionError):
    """A setting is invalid, or conflicts with others."""
