"""Mask pictures of earlier runs: replaced if samkit wrote them, otherwise left alone."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from samkit.batch import (
    SEGMENT_STATE_NAME,
    ImagePrompt,
    InProcess,
    PromptedImage,
    SegmentOptions,
    SegmentWork,
)
from samkit.predict import Predictor
from samkit.types import Prompts


@pytest.fixture
def segment(tmp_path, tiny_sam, monkeypatch):
    """Answer a click on an image, into the folder `out`."""
    monkeypatch.chdir(tmp_path)
    predictor = Predictor(tiny_sam, model_name="tiny")

    def run(image="a.png", *formats, every=False):
        work = SegmentWork(
            predictor=predictor,
            output=Path("out"),
            formats=frozenset(formats or ("png",)),
            options=SegmentOptions(multimask=True, every_candidate=every),
        )
        prompt = ImagePrompt(prompts=Prompts.of(points=[(5, 5)], labels=[1]))
        (outcome,) = InProcess().run(work, [PromptedImage(image=Path(image), prompt=prompt)])
        assert outcome.error is None
        return outcome.result

    for name in ("a.png", "b/a.png"):
        Path(name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((20, 30, 3), 90, np.uint8)).save(name)
    return run


def visible():
    return sorted(path.name for path in Path("out").iterdir() if path.name != SEGMENT_STATE_NAME)


def test_masks_of_an_earlier_run_are_replaced(segment):
    segment(every=True)
    assert visible() == ["a_mask_0.png", "a_mask_1.png", "a_mask_2.png"]
    segment()
    assert visible() == ["a_mask.png"]
    segment(every=True)
    assert visible() == ["a_mask_0.png", "a_mask_1.png", "a_mask_2.png"]


def test_what_samkit_did_not_write_is_left(segment):
    segment(every=True)
    Path("out/a_mask_1.png").write_bytes(b"drawn over")
    Path("out/a_mask_7.png").write_bytes(b"somebody else's")
    segment()
    assert visible() == ["a_mask.png", "a_mask_1.png", "a_mask_7.png"]


def test_masks_of_another_image_of_the_same_name_are_left(segment):
    segment(every=True)
    segment("b/a.png")
    assert visible() == ["a_mask.png", "a_mask_0.png", "a_mask_1.png", "a_mask_2.png"]


def test_other_formats_are_left(segment):
    """Logits are what later runs refine, and a run without pictures replaces none."""
    segment("a.png", "png", "logits", every=True)
    segment("a.png", "logits")
    segment("a.png", "json")
    assert "a_mask_0.png" in visible()
    segment("a.png", "png")
    assert visible() == [
        "a.json",
        "a_logits.npy",
        "a_logits_0.npy",
        "a_logits_1.npy",
        "a_logits_2.npy",
        "a_mask.png",
    ]


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"image": 3, "masks": 4}'])
def test_a_damaged_record_is_no_error(content, segment):
    segment()
    Path("out", SEGMENT_STATE_NAME, "a.json").write_text(content)
    segment()
    assert visible() == ["a_mask.png"]
