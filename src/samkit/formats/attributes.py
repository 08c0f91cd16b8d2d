"""Attributes of masks in files: as text, and what a file says that its attributes are."""

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias

# Values by name; flags that are not set are left out.
Attributes: TypeAlias = Mapping[str, Any]

CROWD, OCCLUDED = "crowd", "occluded"
FLAG_TEXTS = {"true": True, "false": False}


class AttributeSpec(Protocol):
    """What an attribute is: a flag, choice, number or text."""

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> str: ...

    @property
    def choices(self) -> tuple[str, ...]: ...


def attribute_text(value: object) -> str:
    """A value for formats that have texts only."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def parse_attribute(text: str) -> str | bool:
    """A value from a text: flags are words."""
    return FLAG_TEXTS.get(text.strip().lower(), text)
