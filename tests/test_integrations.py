"""Without the other packages, integrations say how to get them."""

import sys

import numpy as np
import pytest

from samkit.errors import ConfigError
from samkit.integrations import to_detections
from samkit.types import Masks


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    monkeypatch.setattr("samkit.extras.find_spec", lambda _: None)
    masks = Masks.from_arrays(np.ones((1, 4, 4), bool), [1.0])
    with pytest.raises(ConfigError, match="Detections needs supervision: pip install supervision"):
        to_detections(masks)
