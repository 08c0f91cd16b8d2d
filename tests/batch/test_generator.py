"""Mask generator: settings, early checks, and lack of memory."""

import json

import pytest

from samkit.backends import BackendChoice
from samkit.batch import ClassChoice, MaskGenerator, is_out_of_memory
from samkit.errors import ConfigError, ImageError, WeightsError
from samkit.proposals import AutoMaskConfig, TileConfig

CARS = ClassChoice(classes=("car",), text_model="a/b", thresh=None, others=False, calibration=None)


def generator(**changes):
    given = {"model": "mobile_sam", "backend": BackendChoice(), "config": AutoMaskConfig()}
    return MaskGenerator(**given | changes)


def test_settings_are_what_masks_depend_on():
    plain = generator().settings()
    assert set(plain) == {"model", "config", "tiling"}
    json.dumps(plain)
    assert generator(backend=BackendChoice(device="cuda", threads=3)).settings() == plain
    assert generator(config=AutoMaskConfig(points_per_side=9)).settings() != plain
    assert generator(tiling=TileConfig()).settings() != plain
    assert generator(classes=CARS).settings()["classes"]["classes"] == ("car",)


def test_a_file_is_known_by_its_checksum(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"one")
    one = generator(model=str(path)).settings()["model"]
    path.write_bytes(b"two")
    assert one.startswith("sha256:")
    assert generator(model=str(path)).settings()["model"] != one


def test_classes_do_not_go_with_tiles(refusal):
    with refusal(ConfigError, "cannot be combined with tiles"):
        generator(classes=CARS, tiling=TileConfig())


@pytest.mark.parametrize(
    ("model", "message"),
    [("sam_vit_x", "unknown model 'sam_vit_x'"), ("none.pth", "no such file: none.pth")],
)
def test_models_are_checked_without_loading_them(model, message, refusal):
    with refusal(WeightsError, message):
        generator(model=model).check()
    generator().check()


def test_text_packages_are_checked_without_loading_a_model(monkeypatch, refusal):
    monkeypatch.setattr("samkit.extras.find_spec", lambda name: None)
    with refusal(ConfigError, "text needs transformers and scipy: pip install '.[text]'"):
        generator(classes=CARS).check()


@pytest.mark.parametrize(
    ("error", "is_memory"),
    [
        (MemoryError(), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 20 GiB"), True),
        (RuntimeError("DefaultCPUAllocator: not enough memory"), True),
        (RuntimeError("shapes do not match"), False),
        (ValueError("memory"), False),
    ],
)
def test_too_little_memory_is_an_error_of_one_image(error, is_memory):
    assert is_out_of_memory(error) is is_memory
    if is_memory:
        for one, advice in ((generator(), "try --tile 1024"), (generator(classes=CARS), "smaller")):
            message = f"not enough memory for a.png: .*{advice}"
            with pytest.raises(ImageError, match=message), one.limited_memory("a.png"):
                raise error
    else:
        with pytest.raises(type(error)), generator().limited_memory("a.png"):
            raise error


def test_a_proposer_is_known_by_its_checksum_and_checked(tmp_path, refusal):
    grid = generator().settings()["config"]
    assert not {"proposer", "max_proposals", "objectness_thresh"} & set(grid)
    learned = generator(config=AutoMaskConfig(proposer="learned")).settings()["config"]
    assert learned["proposer"] == "learned"
    path = tmp_path / "head.safetensors"
    own = generator(config=AutoMaskConfig(proposer=str(path)))
    with refusal(WeightsError, "no such file"):
        own.check()
    path.write_bytes(b"one")
    own.check()
    assert own.settings()["config"]["proposer"].startswith("sha256:")
