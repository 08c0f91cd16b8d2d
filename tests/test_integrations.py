"""Without the other packages, integrations say how to get them."""

import json
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from samkit.errors import ConfigError
from samkit.integrations import fiftyone_zoo, to_detections
from samkit.types import Masks
from samkit.weights import CATALOG


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


def test_the_zoo_of_fiftyone_has_the_models_of_the_catalog():
    manifest = json.loads((Path(fiftyone_zoo.__file__).parent / "manifest.json").read_text())
    assert manifest["name"] != "samkit"  # FiftyOne imports the source by it, over the package
    listed = [
        (
            one["base_name"],
            one["base_filename"],
            one["description"],
            one["license"],
            one["size_bytes"],
        )
        for one in manifest["models"]
    ]
    assert listed == [
        (f"samkit/{name}", f"{name}.json", entry.summary, entry.licence, entry.size_bytes)
        for name, entry in CATALOG.items()
    ]


def test_a_model_of_the_zoo_is_noted_with_its_weights(tmp_path):
    note = tmp_path / "mobile_sam.json"
    fiftyone_zoo.download_model("samkit/mobile_sam", str(note))
    weights = CATALOG["mobile_sam"].embedded
    assert json.loads(note.read_text()) == {"model": "mobile_sam", "weights": str(weights)}
