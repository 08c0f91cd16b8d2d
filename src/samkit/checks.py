"""Checks of settings that several rooms have."""

import math

import numpy as np

from samkit.errors import ConfigError


def check_number(name: str, value: object, kind: type, low: float, high: float) -> None:
    """Check that a setting is a number of the given type, within a range.

    Raises:
        ConfigError: it is not.
    """
    types = (int, np.integer) if kind is int else (int, float, np.integer, np.floating)
    if isinstance(value, types) and not isinstance(value, bool) and low <= value <= high:
        return
    noun = "a whole number" if kind is int else "a number"
    limits = f"from {low:g} to {high:g}" if math.isfinite(high) else f"of at least {low:g}"
    raise ConfigError(f"{name} must be {noun} {limits}; got {value!r}")
