"""The fast mask decoder against the plain one in tests/reference, on copied random weights."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from reference.decode import decode, decode_plainly
from reference.mask_decoder import MaskDecoder as ReferenceDecoder
from samkit.models import CONFIGS, Sam, SamConfig

# Largest difference, relative to the largest value of the plain decoder's answer. Reordered sums
# are exact but for rounding, so double precision leaves nothing else to hide in.
REL_TOL = {torch.float32: 2e-5, torch.float64: 1e-9}
NUM_PROMPTS = 3


def published_decoder_config() -> SamConfig:
    """The decoder of all published models as it is, on a grid of 8 (64 takes too long here)."""
    tiny = CONFIGS["tiny"]
    encoder = replace(tiny.encoder, out_channels=256)
    return SamConfig(encoder=encoder, decoder=CONFIGS["sam_vit_h"].decoder)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The same weights in both decoders, and what they are asked."""

    ours: Sam
    plain: Sam
    features: Tensor  # (P, C, G, G), an image for each prompt
    prompts: dict[str, dict[str, Tensor]]


def make_pair(config: SamConfig, dtype: torch.dtype, randomise: Callable[..., None]) -> Pair:
    ours, plain = Sam(config), Sam(config)
    plain.mask_decoder = ReferenceDecoder(config.decoder)  # type: ignore[assignment]
    randomise(ours)
    plain.load_state_dict(ours.state_dict())
    generator = torch.Generator().manual_seed(1)
    grid, size = config.prompts.grid_size, config.image_size
    features = torch.randn(NUM_PROMPTS, config.decoder.dim, grid, grid, generator=generator)
    return Pair(
        ours=ours.to(dtype).eval(),
        plain=plain.to(dtype).eval(),
        features=features.to(dtype),
        prompts=make_prompts(size, config.prompts.grid_size * 4, dtype),
    )


def make_prompts(image_size: int, mask_size: int, dtype: torch.dtype) -> dict[str, dict]:
    """Three prompts of each kind in the model space, by kind."""
    generator = torch.Generator().manual_seed(2)
    point = {
        "points_xy": torch.rand(NUM_PROMPTS, 1, 2, generator=generator) * image_size,
        "labels": torch.ones(NUM_PROMPTS, 1),
    }
    points = {
        "points_xy": torch.rand(NUM_PROMPTS, 4, 2, generator=generator) * image_size,
        "labels": torch.tensor([[1, 0, 1, 0], [1, 1, 1, -1], [0, 1, -1, -1]]),
    }
    corners = torch.rand(NUM_PROMPTS, 2, 2, generator=generator) * image_size
    boxes = {"boxes_xyxy": corners.sort(dim=1).values.flatten(1)}
    mask_shape = (NUM_PROMPTS, 1, mask_size, mask_size)
    masks = {"mask_logits": 5 * torch.randn(mask_shape, generator=generator)}
    kinds = {
        "point": point,
        "points": points,
        "box": boxes,
        "mask": masks,
        "box and points": points | boxes,
        "all": points | boxes | masks,
    }
    return {
        kind: {name: x.to(dtype) if name != "labels" else x for name, x in prompts.items()}
        for kind, prompts in kinds.items()
    }


KINDS = list(make_prompts(16, 16, torch.float32))


@pytest.fixture(scope="module", params=["tiny", "published"])
def config(request: pytest.FixtureRequest) -> SamConfig:
    return CONFIGS["tiny"] if request.param == "tiny" else published_decoder_config()


@pytest.fixture(scope="module", params=REL_TOL, ids=str)
def pair(request: pytest.FixtureRequest, config: SamConfig, randomise: Callable[..., None]) -> Pair:
    return make_pair(config, request.param, randomise)


def assert_close(ours: Tensor, plain: Tensor) -> None:
    assert ours.shape == plain.shape
    assert ours.dtype == plain.dtype
    error = (ours - plain).abs().max() / plain.abs().max()
    assert error < REL_TOL[plain.dtype]


def assert_same_answers(
    pair: Pair, features: Tensor, prompts: dict[str, Tensor], *, multimask: bool
) -> None:
    with torch.no_grad():
        logits, iou_pred = decode(pair.ours, features, prompts, multimask=multimask)
        expected_logits, expected_iou = decode_plainly(
            pair.plain, features, prompts, multimask=multimask
        )
    assert expected_logits.std() > 0.01  # else there would be nothing to compare
    assert_close(logits, expected_logits)
    assert_close(iou_pred, expected_iou)


def test_state_dicts_load_into_both(config: SamConfig) -> None:
    ours, plain = Sam(config).mask_decoder, ReferenceDecoder(config.decoder)
    shapes = {name: tensor.shape for name, tensor in plain.state_dict().items()}
    assert {name: tensor.shape for name, tensor in ours.state_dict().items()} == shapes
    ours.load_state_dict(plain.state_dict())
    plain.load_state_dict(ours.state_dict())


@pytest.mark.parametrize("multimask", [True, False], ids=["multimask", "single"])
@pytest.mark.parametrize("kind", KINDS)
class TestAnswersAgree:
    def test_of_many_prompts_on_one_image(self, pair: Pair, kind: str, *, multimask: bool) -> None:
        assert_same_answers(pair, pair.features[:1], pair.prompts[kind], multimask=multimask)

    def test_of_prompts_on_images_of_their_own(
        self, pair: Pair, kind: str, *, multimask: bool
    ) -> None:
        assert_same_answers(pair, pair.features, pair.prompts[kind], multimask=multimask)

    def test_of_one_prompt(self, pair: Pair, kind: str, *, multimask: bool) -> None:
        one = {name: tensor[:1] for name, tensor in pair.prompts[kind].items()}
        assert_same_answers(pair, pair.features[:1], one, multimask=multimask)


def gradients(
    answer: Callable[..., tuple[Tensor, Tensor]],
    model: Sam,
    features: Tensor,
    prompts: dict[str, Tensor],
) -> dict[str, Tensor]:
    """Gradients of a loss over all masks and IoU, for each parameter and for the features."""
    features = features.clone().requires_grad_()
    model.zero_grad()
    loss = torch.zeros((), dtype=features.dtype)
    for multimask in (True, False):
        logits, iou_pred = answer(model, features, prompts, multimask=multimask)
        # A different weight for each number, so that none can stand in for another.
        for values in (logits, iou_pred):
            weights = torch.linspace(-1, 1, values.numel(), dtype=values.dtype)
            loss = loss + (weights.view_as(values) * values.square()).sum()
    loss.backward()
    out = {
        name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.clone()
        for name, parameter in model.named_parameters()
        if not name.startswith("image_encoder.")
    }
    assert features.grad is not None
    return out | {"features": features.grad}


@pytest.mark.parametrize("own", [False, True], ids=["shared", "own"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pair", [torch.float64], ids=["double"], indirect=True)
def test_gradients_agree(pair: Pair, kind: str, *, own: bool) -> None:
    features = pair.features if own else pair.features[:1]
    ours = gradients(decode, pair.ours, features, pair.prompts[kind])
    plain = gradients(decode_plainly, pair.plain, features, pair.prompts[kind])
    assert ours.keys() == plain.keys()
    # Gradients of key biases are zero, since these drop out of a softmax; the plain decoder gets
    # rounding errors there, so a gradient's own size cannot be the measure of it.
    floor = 1e-6 * max(float(gradient.abs().max()) for gradient in plain.values())
    errors = {
        name: float((ours[name] - plain[name]).abs().max() / plain[name].abs().max().clamp(floor))
        for name in plain
    }
    assert {k: v for k, v in errors.items() if not v < REL_TOL[torch.float64]} == {}
