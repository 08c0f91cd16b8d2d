from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from samkit.errors import ConfigError, WeightsError
from samkit.files import write_tensors
from samkit.models import CONFIGS, Sam
from samkit.models.vit import ViTConfig
from samkit.training.encoder_weights import load_encoder, resize_positions
from samkit.training.mae.pictures import GAP_PX, reconstruction_pictures
from samkit.training.mae.task import (
    MaeConfig,
    MaeTask,
    draw_visible,
    encode_visible,
    hidden_patches,
    normalise_patches,
    patchify,
    reconstruction_loss,
    sin_cos_positions,
    unpatchify,
)
from samkit.training.task import Batch
from samkit.weights.checkpoint import save_checkpoint
from samkit.weights.load import load_model

Refusal = Callable[..., AbstractContextManager[None]]
TINY = CONFIGS["tiny"].encoder
assert isinstance(TINY, ViTConfig)
SIDE, PATCH, NUM_PATCHES = 128, 16, 64
SMALL = MaeConfig(decoder_dim=32, decoder_depth=2, decoder_heads=2)


@pytest.fixture
def task() -> MaeTask:
    return MaeTask(TINY, SMALL, model_name="tiny")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_batch(pixels: Tensor) -> Batch:
    return Batch(
        pixels=pixels,
        features=None,
        masks=torch.zeros(0, SIDE, SIDE, dtype=torch.bool),
        image_index=torch.zeros(0, dtype=torch.int64),
        keys=tuple(str(i) for i in range(len(pixels))),
    )


def test_patches_are_squares_row_by_row_and_go_back() -> None:
    pixels = torch.randn(2, 3, 12, 12)
    patches = patchify(pixels, 4)
    assert patches.shape == (2, 9, 48)
    for number in range(9):
        row, col = divmod(number, 3)
        square = pixels[:, :, 4 * row : 4 * row + 4, 4 * col : 4 * col + 4]
        assert torch.equal(patches[:, number].view(2, 4, 4, 3), square.permute(0, 2, 3, 1))
    assert torch.equal(unpatchify(patches, 4), pixels)


def test_normalised_patches_have_mean_0_and_deviation_1() -> None:
    patches = normalise_patches(5 + 3 * torch.randn(2, 4, 48))
    torch.testing.assert_close(patches.mean(-1), torch.zeros(2, 4), atol=1e-5, rtol=0)
    torch.testing.assert_close(patches.std(-1), torch.ones(2, 4), atol=1e-5, rtol=0)
    assert torch.equal(normalise_patches(torch.full((1, 1, 48), 0.5)), torch.zeros(1, 1, 48))


def test_a_quarter_of_the_patches_is_visible_each_as_often_as_any_other() -> None:
    count = 4000
    visible = draw_visible(count, NUM_PATCHES, 0.75, seeded())
    assert visible.shape == (count, NUM_PATCHES // 4)
    assert (visible.diff(dim=1) > 0).all()
    shares = torch.bincount(visible.flatten(), minlength=NUM_PATCHES) / count
    deviation = (0.25 * 0.75 / count) ** 0.5
    assert (shares - 0.25).abs().max() < 4.5 * deviation


def test_hidden_patches_are_those_that_are_not_visible() -> None:
    hidden = hidden_patches(torch.tensor([[0, 2], [1, 3]]), 4)
    assert hidden.tolist() == [[False, True, False, True], [True, False, True, False]]


def test_position_codes_tell_rows_from_columns() -> None:
    code = sin_cos_positions(5, 16)
    assert torch.equal(code[..., :8], code[:, :1, :8].expand(5, 5, 8))  # rows only
    assert torch.equal(code[..., 8:], code[:, :, :8].transpose(0, 1))  # columns, likewise
    y = torch.arange(5.0)
    torch.testing.assert_close(code[:, 0, 0], y.sin())  # the highest frequency
    torch.testing.assert_close(code[:, 0, 7], (y * 10_000**-0.75).cos())  # the lowest
    assert len(code.flatten(0, 1).unique(dim=0)) == 25


def test_the_encoder_sees_only_visible_patches(task: MaeTask) -> None:
    pixels = torch.randn(2, 3, SIDE, SIDE)
    visible = task.draw_visible(2, seeded())
    hidden = hidden_patches(visible, NUM_PATCHES)[..., None]
    patches = patchify(pixels, PATCH)
    noisy = unpatchify(torch.where(hidden, torch.randn_like(patches), patches), PATCH)
    latent = encode_visible(task.encoder, pixels, visible)
    assert latent.shape == (2, NUM_PATCHES // 4, TINY.embed_dim)
    assert torch.equal(encode_visible(task.encoder, noisy, visible), latent)
    assert torch.equal(task.reconstruct(noisy, visible), task.reconstruct(pixels, visible))


def test_the_encoder_runs_its_own_blocks_where_all_is_visible() -> None:
    # Fresh relative positions are zero, and without windows nothing else differs.
    config = replace(TINY, global_blocks=tuple(range(TINY.depth)))
    whole = MaeTask(config, SMALL, model_name="tiny")
    pixels = torch.randn(2, 3, SIDE, SIDE)
    everything = torch.arange(NUM_PATCHES).expand(2, -1)
    latent = encode_visible(whole.encoder, pixels, everything)
    features = whole.encoder.neck(latent.transpose(1, 2).view(2, -1, 8, 8))
    torch.testing.assert_close(features, whole.encoder(pixels))


def test_positions_follow_the_patches(task: MaeTask) -> None:
    pixels = torch.zeros(1, 3, SIDE, SIDE)  # so that only positions differ
    left = task.reconstruct(pixels, torch.tensor([[0, 1]]))
    right = task.reconstruct(pixels, torch.tensor([[6, 7]]))
    assert not torch.allclose(left, right, atol=1e-3)
    assert (left[:, 0] - left[:, 63]).abs().max() > 1e-3


def test_loss_ignores_visible_patches_and_padding(task: MaeTask) -> None:
    pixels = torch.randn(2, 3, SIDE, SIDE)
    pixels[1, :, 64:] = 0  # the lower half is outside of the image
    result = task(make_batch(pixels), seeded(3))
    visible = task.draw_visible(2, seeded(3))
    predicted = task.reconstruct(pixels, visible)
    target = normalise_patches(patchify(pixels, PATCH))
    hidden = hidden_patches(visible, NUM_PATCHES)
    hidden[1, 32:] = False
    by_hand = [(predicted[i] - target[i])[hidden[i]].square().mean() for i in range(2)]
    torch.testing.assert_close(result.loss, torch.stack(by_hand).mean())
    assert result.parts["reconstruction"] == result.loss


def test_loss_is_a_mean_over_images_and_0_without_anything_to_draw() -> None:
    predicted, target = torch.ones(2, 4, 3), torch.zeros(2, 4, 3)
    target[0] = -1
    counted = torch.tensor([[True, True, False, False], [True, False, False, False]])
    assert reconstruction_loss(predicted, target, counted) == (4 + 1) / 2
    assert reconstruction_loss(predicted, target, torch.zeros_like(counted)) == 0


def test_the_generator_decides_what_is_hidden(task: MaeTask) -> None:
    batch = make_batch(torch.randn(2, 3, SIDE, SIDE))
    first = task(batch, seeded(1)).loss
    torch.manual_seed(9)
    assert torch.equal(task(batch, seeded(1)).loss, first)
    assert not torch.equal(task(batch, seeded(2)).loss, first)


def test_gradients_reach_all_that_learns_and_nothing_else(task: MaeTask) -> None:
    task(make_batch(torch.randn(2, 3, SIDE, SIDE)), seeded()).loss.backward()
    learning = {name for name, p in task.named_parameters() if p.requires_grad}
    reached = {n for n, p in task.named_parameters() if p.grad is not None and p.grad.any()}
    assert reached == learning
    frozen = {n for n, _ in task.named_parameters()} - learning
    assert all(".rel_pos_" in name or ".neck." in name for name in frozen)


def test_the_plain_pixels_can_be_the_goal() -> None:
    task = MaeTask(TINY, replace(SMALL, normalise_patches=False), model_name="tiny")
    pixels = torch.full((1, 3, SIDE, SIDE), 2.0)
    predicted = task.reconstruct(pixels, task.draw_visible(1, seeded()))
    hidden = hidden_patches(task.draw_visible(1, seeded()), NUM_PATCHES)
    expected = (predicted[hidden] - 2).square().mean()
    torch.testing.assert_close(task(make_batch(pixels), seeded()).loss, expected)


def test_an_exported_encoder_loads_into_a_sam_and_leaves_the_rest(
    task: MaeTask, tiny_sam: Sam, tmp_path: Path
) -> None:
    task.export(tmp_path / "encoder.safetensors")
    before = {name: tensor.clone() for name, tensor in tiny_sam.state_dict().items()}
    outcome = load_encoder(tiny_sam, tmp_path / "encoder.safetensors")
    assert outcome.resized == ()
    assert set(outcome.loaded) | set(outcome.fresh) == set(tiny_sam.image_encoder.state_dict())
    assert all(name.startswith("neck.") or ".rel_pos_" in name for name in outcome.fresh)
    learned = task.encoder.state_dict()
    for name, tensor in tiny_sam.state_dict().items():
        own_name = name.removeprefix("image_encoder.")
        expected = learned[own_name] if own_name in outcome.loaded else before[name]
        assert torch.equal(tensor, expected), name
    loss = tiny_sam.encode(torch.randn(1, 3, SIDE, SIDE)).grid.square().mean()
    loss.backward()
    assert tiny_sam.image_encoder.get_parameter("blocks.0.attn.qkv.weight").grad is not None


def test_positions_of_smaller_frames_are_interpolated(tiny_sam: Sam, tmp_path: Path) -> None:
    small = MaeTask(replace(TINY, image_size=64), SMALL, model_name="tiny")
    small.export(tmp_path / "encoder.safetensors")
    outcome = load_encoder(tiny_sam, tmp_path / "encoder.safetensors")
    assert outcome.resized == ("pos_embed",)
    own = tiny_sam.image_encoder.get_parameter("pos_embed")
    assert torch.equal(own, resize_positions(small.encoder.pos_embed, 8))


def test_interpolated_positions_keep_what_is_smooth() -> None:
    ramp = torch.linspace(0, 1, 8)[None, :, None, None].expand(1, 8, 8, 2)
    resized = resize_positions(ramp, 16)
    assert resized.shape == (1, 16, 16, 2)
    torch.testing.assert_close(resized, resized[:, :, :1, :1].expand_as(resized))  # rows stay
    pairs = resized[0, :, 0, 0].view(8, 2).mean(1)  # a cell of the old grid is two of the new
    torch.testing.assert_close(pairs[2:-2], ramp[0, 2:-2, 0, 0])


def test_the_encoder_of_a_whole_checkpoint_loads_too(tiny_sam: Sam, tmp_path: Path) -> None:
    save_checkpoint(tiny_sam, tmp_path / "whole.safetensors", name="tiny")
    fresh = Sam(CONFIGS["tiny"])
    decoder = {k: v.clone() for k, v in fresh.mask_decoder.state_dict().items()}
    assert load_encoder(fresh, tmp_path / "whole.safetensors").fresh == ()
    torch.testing.assert_close(
        fresh.image_encoder.state_dict(), tiny_sam.image_encoder.state_dict()
    )
    torch.testing.assert_close(dict(fresh.mask_decoder.state_dict()), decoder)


def published_mae(grid: int, *, seed: int = 0) -> dict[str, torch.Tensor]:
    """A small ViT with the names of MAE's published encoders, and random numbers."""
    generator = torch.Generator().manual_seed(seed)
    dim, hidden = TINY.embed_dim, TINY.embed_dim * TINY.mlp_ratio
    shapes = {
        "cls_token": (1, 1, dim),
        "pos_embed": (1, 1 + grid**2, dim),
        "patch_embed.proj.weight": (dim, 3, PATCH, PATCH),
        "patch_embed.proj.bias": (dim,),
        "norm.weight": (dim,),
        "norm.bias": (dim,),
    }
    for number in range(TINY.depth):
        for name, shape in {
            "norm1": (dim,),
            "attn.qkv": (3 * dim, dim),
            "attn.proj": (dim, dim),
            "norm2": (dim,),
            "mlp.fc1": (hidden, dim),
            "mlp.fc2": (dim, hidden),
        }.items():
            shapes[f"blocks.{number}.{name}.weight"] = shape
            shapes[f"blocks.{number}.{name}.bias"] = shape[:1]
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def test_a_published_encoder_loads_into_a_sam(
    tiny_sam: Sam, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, theirs = tmp_path / "mae.pth", published_mae(grid=4)
    drawing = {"mask_token": torch.ones(1, 1, 4), "decoder_blocks.0.mlp.fc1.bias": torch.ones(4)}
    torch.save({"model": theirs | drawing}, path)
    before = {name: t.clone() for name, t in tiny_sam.image_encoder.state_dict().items()}
    outcome = load_encoder(tiny_sam, path)
    own = tiny_sam.image_encoder.state_dict()
    used = set(theirs) - {"cls_token", "pos_embed", "norm.weight", "norm.bias"}
    for name in used:
        mine = name.replace("fc1", "lin1").replace("fc2", "lin2")
        assert torch.equal(own[mine], theirs[name]), name
    assert len(outcome.loaded) == len(used) + 1
    on_map = theirs["pos_embed"][:, 1:].reshape(1, 4, 4, -1)
    assert torch.equal(own["pos_embed"], resize_positions(on_map, 8))
    assert set(outcome.fresh) == {n for n in own if n.startswith("neck.") or ".rel_pos_" in n}
    assert all(torch.equal(own[name], before[name]) for name in outcome.fresh)
    (line,) = caplog.messages
    assert line == (
        f"{path}: {len(outcome.loaded)} tensors of the image encoder; pos_embed interpolated;"
        " the neck is fresh; relative positions are fresh"
    )


def test_a_published_encoder_of_the_same_frame_keeps_its_positions(
    tiny_sam: Sam, tmp_path: Path
) -> None:
    theirs = published_mae(grid=8)
    write_tensors(tmp_path / "mae.safetensors", theirs, {})
    assert load_encoder(tiny_sam, tmp_path / "mae.safetensors").resized == ()
    positions = tiny_sam.image_encoder.get_parameter("pos_embed")
    assert torch.equal(positions[0, 2, 5], theirs["pos_embed"][0, 1 + 2 * 8 + 5])


def test_a_published_encoder_is_no_sam_nor_code(
    tiny_sam: Sam, tmp_path: Path, refusal: Refusal
) -> None:
    path = tmp_path / "mae.pth"
    torch.save({"model": published_mae(grid=8)}, path)
    with refusal(WeightsError, "an image encoder alone", f"model.encoder_weights={path}"):
        load_model(path)
    torch.save({"model": published_mae(grid=8), "args": Path("x")}, path)
    with refusal(WeightsError, "holds more than tensors"):
        load_encoder(tiny_sam, path)
    wrong = published_mae(grid=8)
    wrong["pos_embed"] = torch.zeros(1, 60, TINY.embed_dim)
    torch.save({"model": wrong}, path)
    with refusal(WeightsError, "of a square of patches", "got (1, 60, 32)"):
        load_encoder(tiny_sam, path)


def test_what_does_not_fit_is_named_and_changes_nothing(
    task: MaeTask, tiny_sam: Sam, tmp_path: Path, refusal: Refusal
) -> None:
    path = tmp_path / "encoder.safetensors"
    before = {name: tensor.clone() for name, tensor in tiny_sam.state_dict().items()}
    MaeTask(replace(TINY, embed_dim=48), SMALL, model_name="tiny").export(path)
    with refusal(WeightsError, "encoder.safetensors (of tiny)", "pos_embed must be (1, 8, 8, 32)"):
        load_encoder(tiny_sam, path)
    MaeTask(replace(TINY, depth=3, global_blocks=(1,)), SMALL, model_name="tiny").export(path)
    with refusal(WeightsError, "blocks.3.norm1.weight (32,) is missing"):
        load_encoder(tiny_sam, path)
    write_tensors(path, {"image_encoder.other": torch.ones(1)}, {})
    with refusal(WeightsError, "is missing", "and 4"):
        load_encoder(tiny_sam, path)
    assert all(torch.equal(t, before[n]) for n, t in tiny_sam.state_dict().items())


def test_what_cannot_be_pretrained_is_refused(task: MaeTask, refusal: Refusal) -> None:
    batch = make_batch(torch.zeros(1, 3, SIDE, SIDE))
    with refusal(ConfigError, "needs images"):
        task(replace(batch, pixels=None, features=torch.zeros(1, 32, 8, 8)), seeded())
    with refusal(ConfigError, "(B, 3, 128, 128)", "got (1, 3, 64, 64)"):
        task(make_batch(torch.zeros(1, 3, 64, 64)), seeded())
    with refusal(ConfigError, "mask_ratio", "1.5"):
        MaeConfig(mask_ratio=1.5)
    with refusal(ConfigError, "multiple of 4 and of decoder_heads (16)", "got 500"):
        MaeConfig(decoder_dim=500)


@pytest.mark.parametrize("normalised", [True, False])
def test_pictures_show_the_image_what_is_seen_and_what_is_drawn(*, normalised: bool) -> None:
    task = MaeTask(TINY, replace(SMALL, normalise_patches=normalised), model_name="tiny").eval()
    pixels = torch.randn(2, 3, SIDE, SIDE).clamp(-1.5, 1.5)
    pictures = reconstruction_pictures(task, pixels, seeded(4))
    assert [picture.shape for picture in pictures] == [(SIDE, 3 * SIDE + 2 * GAP_PX, 3)] * 2
    visible = task.draw_visible(2, seeded(4))
    for picture, shown in zip(pictures, visible, strict=True):
        image, seen, drawn = (picture[:, i * (SIDE + GAP_PX) :][:, :SIDE] for i in range(3))
        for number in range(NUM_PATCHES):
            row, col = divmod(number, 8)
            window = np.s_[row * PATCH : (row + 1) * PATCH, col * PATCH : (col + 1) * PATCH]
            if number in shown.tolist():
                assert np.array_equal(seen[window], image[window])
                assert np.array_equal(drawn[window], image[window])
            else:
                assert len(np.unique(seen[window].reshape(-1, 3), axis=0)) == 1
                assert not np.array_equal(drawn[window], image[window])
                if normalised:  # drawn at the true brightness
                    means = drawn[window].mean() - image[window].mean()
                    assert abs(means) < 25
