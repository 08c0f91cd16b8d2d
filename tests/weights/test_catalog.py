from pathlib import Path

import pytest

from samkit.files import file_sha256
from samkit.models import CONFIGS
from samkit.weights.catalog import CATALOG
from samkit.weights.checkpoint import identify, read_checkpoint

EMBEDDED = [entry.name for entry in CATALOG.values() if entry.embedded is not None]
NOTICE = Path(__file__).parents[2] / "NOTICE"


@pytest.mark.parametrize("name", CATALOG)
def test_entries_are_of_known_models_and_have_one_home(name: str) -> None:
    entry = CATALOG[name]
    assert entry.name == name
    assert entry.config in CONFIGS
    assert (entry.embedded is None) != (entry.hub_repo is None)
    assert all(len(checksum) == 64 for checksum in entry.sha256)


@pytest.mark.parametrize("name", EMBEDDED)
def test_the_embedded_file_is_the_one_that_is_declared(name: str) -> None:
    entry = CATALOG[name]
    assert entry.embedded is not None
    assert entry.embedded.stat().st_size == entry.size_bytes
    checksum = file_sha256(entry.embedded)
    assert checksum == entry.sha256[0]
    notice = NOTICE.read_text(encoding="utf-8")
    assert f"SHA-256:   {checksum}" in notice
    assert f"src/samkit/weights/embedded/{entry.embedded.name}" in notice


@pytest.mark.parametrize("name", EMBEDDED)
def test_the_embedded_file_tells_its_model(name: str) -> None:
    checkpoint = read_checkpoint(str(CATALOG[name].embedded))
    assert checkpoint.model_name == identify(checkpoint) == "mobile_sam"
    assert checkpoint.iou_thresh == CATALOG[name].iou_thresh
