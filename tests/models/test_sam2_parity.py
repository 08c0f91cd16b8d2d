"""Our SAM 2 on images against `transformers.Sam2Model`, on copied random weights.

And our EdgeTAM against `EdgeTamModel`, whose trunk is ours in both.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from sam2_parity import image_model, random_pixels, video_pair
from samkit.models import ImageFeatures, PromptTensors, Sam2

ATOL = 1e-4
PROMPTS = {
    "point": {"points_xy": torch.tensor([[[40.0, 70.0]]]), "labels": torch.tensor([[1]])},
    "points": {
        "points_xy": torch.tensor([[[40.0, 70.0], [90.0, 20.0]]]),
        "labels": torch.tensor([[1, 0]]),
    },
    "box": {"boxes_xyxy": torch.tensor([[10.0, 20.0, 90.0, 100.0]])},
}
PROMPTS["box and points"] = PROMPTS["box"] | PROMPTS["points"]
PROMPTS["mask and point"] = PROMPTS["point"] | {"mask_logits": torch.empty(0)}


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The same network twice, and what each makes of the same image."""

    ours: Sam2
    theirs: Any
    features: ImageFeatures
    their_features: list[Tensor]


def pair_of(name: str, randomise: Callable[..., None]) -> Pair:
    ours, video_model = video_pair(name, randomise)
    theirs = image_model(video_model)
    pixels = random_pixels(ours.config.image_size)
    with torch.no_grad():
        return Pair(
            ours=ours,
            theirs=theirs,
            features=ours.encode(pixels),
            their_features=theirs.get_image_embeddings(pixels),
        )


@pytest.fixture(scope="module", params=["tiny_sam2", "tiny_edgetam"])
def pair(request: pytest.FixtureRequest, randomise: Callable[..., None]) -> Pair:
    return pair_of(request.param, randomise)


def assert_same_features(pair: Pair, atol: float = ATOL) -> None:
    quarter, half, grid = pair.features.levels
    expected = [
        *pair.their_features[:2],
        pair.their_features[2] - pair.ours.no_mem_embed.view(1, -1, 1, 1),
    ]
    for own, theirs in zip((quarter, half, grid), expected, strict=True):
        torch.testing.assert_close(own, theirs, atol=atol, rtol=atol)


@torch.no_grad()
def assert_same_answers(pair: Pair, kind: str, *, multimask: bool, atol: float = ATOL) -> None:
    scale = pair.ours.config.image_size / 128
    given = {
        name: part * scale if name in {"points_xy", "boxes_xyxy"} else part
        for name, part in PROMPTS[kind].items()
    }
    if "mask_logits" in given:
        side = pair.ours.config.image_size // 4
        given["mask_logits"] = 4 * torch.randn(1, 1, side, side)
    answer = pair.ours.decode(pair.features, PromptTensors(**given), multimask=multimask)
    points, labels, boxes = (given.get(key) for key in ("points_xy", "labels", "boxes_xyxy"))
    expected = pair.theirs(
        image_embeddings=pair.their_features,
        input_points=None if points is None else points[None],
        input_labels=None if labels is None else labels[None],
        input_boxes=None if boxes is None else boxes[None],
        input_masks=given.get("mask_logits"),
        multimask_output=multimask,
    )
    torch.testing.assert_close(answer.logits[None], expected.pred_masks, atol=atol, rtol=atol)
    torch.testing.assert_close(answer.iou_pred[None], expected.iou_scores, atol=atol, rtol=atol)


def test_features_are_those_of_transformers(pair: Pair) -> None:
    assert_same_features(pair)


@pytest.mark.parametrize("multimask", [True, False], ids=["multimask", "single"])
@pytest.mark.parametrize("kind", sorted(PROMPTS))
def test_answers_are_those_of_transformers(pair: Pair, kind: str, *, multimask: bool) -> None:
    assert_same_answers(pair, kind, multimask=multimask)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sam2.1_hiera_tiny", "sam2.1_hiera_base_plus", "edgetam"])
def test_published_configurations_answer_as_those_of_transformers(
    name: str, randomise: Callable[..., None]
) -> None:
    pair = pair_of(name, randomise)
    assert_same_features(pair, 1e-3)
    for kind in PROMPTS:
        assert_same_answers(pair, kind, multimask=kind == "point", atol=1e-3)
