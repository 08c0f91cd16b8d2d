"""Without the other packages, integrations say how to get them."""

import sys
from importlib import import_module

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


def test_a_module_that_needs_a_package_names_it(monkeypatch):
    monkeypatch.setattr("samkit.extras.find_spec", lambda _: None)
    monkeypatch.delitem(sys.modules, "samkit.integrations.fiftyone", raising=False)
    with pytest.raises(ConfigError, match="FiftyOne needs fiftyone: pip install fiftyone"):
        import_module("samkit.integrations.fiftyone")
