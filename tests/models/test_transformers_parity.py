"""Our networks against `transformers.SamModel`, on copied random weights.

The weights travel through `samkit.weights.layouts`, as those of a fetched checkpoint do.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
import transformers
from torch import Tensor

from reference.decode import decode
from samkit.export.transformers_folder import sam_config
from samkit.models import CONFIGS, Sam, SamConfig
from samkit.models.mask_decoder import MaskDecoderConfig
from samkit.weights.layouts import to_own_names

# The values compared are of a scale of 0.1 to 10. In double precision even a norm's epsilon shows.
ATOL = {torch.float32: 1e-4, torch.float64: 1e-9}
PROMPT_KINDS = ("point", "points", "box", "box and points", "mask", "mask and points", "all")


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The same network twice, and what each makes of the same two images."""

    own: Sam
    theirs: transformers.SamModel
    own_features: Tensor
    their_features: Tensor


def make_pair(
    config: SamConfig,
    randomise: Callable[..., None],
    *,
    num_images: int,
    dtype: torch.dtype = torch.float32,
) -> Pair:
    theirs = transformers.SamModel(sam_config(config)).to(dtype).eval()
    randomise(theirs)
    with torch.device("meta"):
        own = Sam(config)
    own.load_state_dict(to_own_names(theirs.state_dict())[0], assign=True)
    own.eval()
    size = config.image_size
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randn(num_images, 3, size, size, generator=generator, dtype=dtype)
    with torch.inference_mode():
        return Pair(
            own=own,
            theirs=theirs,
            own_features=own.encode(pixels).grid,
            their_features=theirs.get_image_embeddings(pixels),
        )


def make_prompts(
    kind: str, config: SamConfig, num_prompts: int, dtype: torch.dtype = torch.float32
) -> dict[str, Tensor]:
    """Random prompts in our arguments; each prompt of a batch differs from the others."""
    generator = torch.Generator().manual_seed(2)
    size, num_points = config.image_size, 1 if kind == "point" else 4
    prompts: dict[str, Tensor] = {}
    if "point" in kind or kind == "all":
        prompts["points_xy"] = torch.rand(num_prompts, num_points, 2, generator=generator) * size
        labels = torch.arange(num_prompts * num_points).view(num_prompts, num_points) % 2
        prompts["labels"] = labels if num_points > 1 else torch.ones_like(labels)
    if "box" in kind or kind == "all":
        corners = torch.rand(num_prompts, 2, 2, generator=generator) * size
        prompts["boxes_xyxy"] = corners.sort(dim=1).values.flatten(1)
    if "mask" in kind or kind == "all":
        side = config.prompts.grid_size * 4
        prompts["mask_logits"] = 5 * torch.randn(num_prompts, 1, side, side, generator=generator)
    return {name: x.to(dtype) if name != "labels" else x for name, x in prompts.items()}


def their_answer(
    pair: Pair, features: Tensor, prompts: dict[str, Tensor], *, multimask: bool
) -> tuple[Tensor, Tensor]:
    """Answers (P, M, ...) of transformers.

    It keeps a batch of images and, inside of it, a batch of prompts without masks. Masks go with
    images, so the image is repeated for each prompt where there are masks.
    """
    points, labels = prompts.get("points_xy"), prompts.get("labels")
    boxes, masks = prompts.get("boxes_xyxy"), prompts.get("mask_logits")
    axis = 0 if masks is None else 1  # of one: images, or the prompts of each image
    if masks is not None:
        features = features.expand(len(masks), -1, -1, -1)
    with torch.inference_mode():
        answer = pair.theirs(
            image_embeddings=features,
            input_points=None if points is None else points.unsqueeze(axis),
            input_labels=None if labels is None else labels.unsqueeze(axis),
            input_boxes=None if boxes is None else boxes.unsqueeze(axis),
            input_masks=masks,
            multimask_output=multimask,
        )
    return answer.pred_masks.squeeze(axis), answer.iou_scores.squeeze(axis)


def assert_same(own: Tensor, theirs: Tensor) -> None:
    """Compare values that are neither so small nor so large that the tolerance says nothing."""
    assert 0.1 < theirs.std() < 10
    assert_close(own, theirs)


def assert_close(own: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(own, theirs, rtol=0, atol=ATOL[own.dtype])


def assert_same_answers(pair: Pair, prompts: dict[str, Tensor], *, multimask: bool) -> None:
    with torch.inference_mode():
        logits, iou_pred = decode(pair.own, pair.own_features[:1], prompts, multimask=multimask)
    their_logits, their_iou = their_answer(
        pair, pair.their_features[:1], prompts, multimask=multimask
    )
    assert_same(logits, their_logits)
    assert_close(iou_pred, their_iou)


def small_config(name: str) -> SamConfig:
    """A published layout of blocks, with few channels and a small image.

    Windows of 3 do not fill the grid of 8, so that padding takes part.
    """
    encoder = replace(
        CONFIGS[name].encoder,
        embed_dim=32,
        num_heads=2,
        image_size=128,
        window_size=3,
        out_channels=32,
    )
    decoder = MaskDecoderConfig(dim=32, num_heads=4, mlp_dim=64, iou_hidden_dim=24)
    return SamConfig(encoder=encoder, decoder=decoder)


@pytest.fixture(scope="module", params=["sam_vit_b", "sam_vit_l", "sam_vit_h"])
def small(request: pytest.FixtureRequest, randomise: Callable[..., None]) -> Pair:
    return make_pair(small_config(request.param), randomise, num_images=2)


@pytest.fixture(scope="module")
def double(randomise: Callable[..., None]) -> Pair:
    config = small_config("sam_vit_b")
    return make_pair(config, randomise, num_images=1, dtype=torch.float64)


@pytest.fixture(scope="module")
def vit_b(randomise: Callable[..., None]) -> Pair:
    """SAM ViT-B as it is, on a whole image."""
    return make_pair(CONFIGS["sam_vit_b"], randomise, num_images=1)


def test_embeddings_of_a_batch_of_images_agree(small: Pair) -> None:
    assert_same(small.own_features, small.their_features)


@pytest.mark.parametrize("multimask", [True, False], ids=["multimask", "single"])
@pytest.mark.parametrize("num_prompts", [1, 3])
@pytest.mark.parametrize("kind", PROMPT_KINDS)
def test_answers_agree(small: Pair, kind: str, num_prompts: int, *, multimask: bool) -> None:
    prompts = make_prompts(kind, small.own.config, num_prompts)
    assert_same_answers(small, prompts, multimask=multimask)


def test_padding_points_agree(small: Pair) -> None:
    prompts = make_prompts("box and points", small.own.config, 3)
    prompts["labels"] = torch.tensor([[1, 0, 1, 0], [1, 0, -1, -1], [0, -1, -1, -1]])
    assert_same_answers(small, prompts, multimask=True)
    del prompts["boxes_xyxy"]
    assert_same_answers(small, prompts, multimask=True)


def test_one_prompt_for_each_image_of_a_batch_agrees(small: Pair) -> None:
    prompts = make_prompts("box and points", small.own.config, 2)
    with torch.inference_mode():
        logits, iou_pred = decode(small.own, small.own_features, prompts)
        answer = small.theirs(
            image_embeddings=small.their_features,
            input_points=prompts["points_xy"][:, None],
            input_labels=prompts["labels"][:, None],
            input_boxes=prompts["boxes_xyxy"][:, None],
        )
    assert_same(logits, answer.pred_masks[:, 0])
    assert_close(iou_pred, answer.iou_scores[:, 0])


def test_embeddings_agree_in_double_precision(double: Pair) -> None:
    assert_same(double.own_features, double.their_features)


@pytest.mark.parametrize("kind", PROMPT_KINDS)
def test_answers_agree_in_double_precision(double: Pair, kind: str) -> None:
    prompts = make_prompts(kind, double.own.config, 2, torch.float64)
    assert_same_answers(double, prompts, multimask=True)


@pytest.mark.slow
def test_embeddings_of_vit_b_agree(vit_b: Pair) -> None:
    assert vit_b.own_features.shape == (1, 256, 64, 64)
    assert_same(vit_b.own_features, vit_b.their_features)


@pytest.mark.slow
@pytest.mark.parametrize("kind", PROMPT_KINDS)
def test_answers_of_vit_b_agree(vit_b: Pair, kind: str) -> None:
    prompts = make_prompts(kind, vit_b.own.config, 2)
    assert_same_answers(vit_b, prompts, multimask=True)
