"""The embedded MobileSAM against its published graphs; see tools/make_golden.py."""

import json
from pathlib import Path

import numpy as np
import pytest
import skimage.data

import samkit
from samkit.geometry import decode_rle

GOLDEN = Path(__file__).parent / "golden"
CASES = json.loads((GOLDEN / "mobile_sam.json").read_text())
IMAGES = ("astronaut", "coffee", "chelsea")
SINGLE_MASK, AMBIGUOUS_MASKS = [0], [1, 2, 3]  # of the four masks in a case


@pytest.fixture(scope="module")
def arrays():
    with np.load(GOLDEN / "mobile_sam.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def predictor():
    return samkit.Predictor.load("mobile_sam", backend="torch", precision="float32")


@pytest.fixture(scope="module")
def embeddings(predictor):
    return {name: predictor.embed(getattr(skimage.data, name)()) for name in IMAGES}


@pytest.mark.parametrize("image", IMAGES)
def test_embedding_equals_the_published_encoders(image, embeddings, arrays):
    stride = CASES["embedding_stride"]
    ours = embeddings[image].features.grid[:, :, ::stride, ::stride].numpy()
    expected = arrays[f"{image}_features"]
    assert np.linalg.norm(ours - expected) / np.linalg.norm(expected) < 3e-3


def mask_iou(a, b):
    union = (a | b).sum()
    return (a & b).sum() / union if union else 1.0


def case_name(case):
    mask = "mask" if "mask_prompt" in case else ""
    return "-".join([case["image"], *case["prompt"], mask]).strip("-")


@pytest.mark.parametrize("case", CASES["cases"], ids=case_name)
@pytest.mark.parametrize(("multimask", "tokens"), [(True, AMBIGUOUS_MASKS), (False, SINGLE_MASK)])
def test_masks_equal_the_published_decoders(case, multimask, tokens, predictor, embeddings, arrays):
    prompt = case["prompt"]
    result = predictor.predict(
        embeddings[case["image"]],
        points=prompt.get("points"),
        labels=prompt.get("labels"),
        boxes=prompt.get("box"),
        mask_logits=arrays[case["mask_prompt"]] if "mask_prompt" in case else None,
        multimask=multimask,
    )
    expected = np.stack([decode_rle(case["masks"][token]) for token in tokens])
    for ours, theirs in zip(result.masks, expected, strict=True):
        assert mask_iou(ours, theirs) > 0.99
    np.testing.assert_allclose(result.iou_pred, np.array(case["iou"])[tokens], atol=5e-3)
