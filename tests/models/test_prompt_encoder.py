from collections.abc import Callable

import pytest
import torch

from samkit.models import PromptTensors
from samkit.models.prompt_encoder import PromptEncoder, PromptEncoderConfig

CONFIG = PromptEncoderConfig(image_size=128, grid_size=8, dim=16)


@pytest.fixture
def encoder(randomise: Callable[..., None]) -> PromptEncoder:
    model = PromptEncoder(CONFIG)
    randomise(model)
    return model


POINTS_XY = torch.tensor([[[10.0, 20.0], [100.0, 30.0]], [[5.0, 6.0], [70.0, 80.0]]])
LABELS = torch.tensor([[1, 0], [0, 1]])
BOXES_XYXY = torch.tensor([[10.0, 20.0, 30.0, 50.0], [0.0, 5.0, 90.0, 127.0]])


def test_points_alone_end_with_one_padding_token(encoder: PromptEncoder) -> None:
    sparse, _ = encoder(PromptTensors(points_xy=POINTS_XY, labels=LABELS))
    assert sparse.shape == (2, 2 + 1, 16)
    padding = encoder.not_a_point_embed.weight
    assert torch.equal(sparse[:, 2], padding.expand(2, -1))


def test_points_with_a_box_have_no_padding_token(encoder: PromptEncoder) -> None:
    sparse, _ = encoder(PromptTensors(points_xy=POINTS_XY, labels=LABELS, boxes_xyxy=BOXES_XYXY))
    assert sparse.shape == (2, 2 + 2, 16)
    points, _ = encoder(PromptTensors(points_xy=POINTS_XY, labels=LABELS))
    corners, _ = encoder(PromptTensors(boxes_xyxy=BOXES_XYXY))
    assert torch.equal(sparse, torch.cat([points[:, :2], corners], dim=1))


def test_place_of_a_padding_point_does_not_matter(encoder: PromptEncoder) -> None:
    labels = torch.tensor([[1, -1], [0, -1]])
    elsewhere = POINTS_XY.clone()
    elsewhere[:, 1] = 77
    sparse, _ = encoder(PromptTensors(points_xy=POINTS_XY, labels=labels))
    moved, _ = encoder(PromptTensors(points_xy=elsewhere, labels=labels))
    assert torch.equal(sparse, moved)
    assert torch.equal(sparse[:, 1], encoder.not_a_point_embed.weight.expand(2, -1))


def test_a_point_is_its_place_plus_its_kind(encoder: PromptEncoder) -> None:
    code = encoder.positions(POINTS_XY)
    background, foreground, top_left, bottom_right = (e.weight for e in encoder.point_embeddings)
    sparse, _ = encoder(PromptTensors(points_xy=POINTS_XY, labels=LABELS))
    torch.testing.assert_close(sparse[0, 0], code[0, 0] + foreground[0])
    torch.testing.assert_close(sparse[0, 1], code[0, 1] + background[0])
    torch.testing.assert_close(sparse[1, 0], code[1, 0] + background[0])
    corners, _ = encoder(PromptTensors(boxes_xyxy=POINTS_XY.flatten(1)))
    torch.testing.assert_close(corners[:, 0], code[:, 0] + top_left)
    torch.testing.assert_close(corners[:, 1], code[:, 1] + bottom_right)


def test_codes_of_the_grid_are_those_of_the_patches_centres(encoder: PromptEncoder) -> None:
    patch = CONFIG.image_size // CONFIG.grid_size
    # The centre of a patch of 16 lies between two pixels: 7.5, counted from pixel centres.
    centres = torch.arange(CONFIG.grid_size) * patch + (patch - 1) / 2
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    expected = encoder.positions(torch.stack([x, y], dim=-1)).permute(2, 0, 1)[None]
    torch.testing.assert_close(encoder.grid_positions(), expected)


def test_no_mask_is_one_map_for_all_prompts(encoder: PromptEncoder) -> None:
    _, dense = encoder(PromptTensors(boxes_xyxy=BOXES_XYXY))
    assert dense is None
    dense = encoder.no_mask()
    assert dense.shape == (1, 16, 8, 8)
    assert torch.equal(dense, encoder.no_mask_embed.weight.view(1, 16, 1, 1).expand_as(dense))


def test_a_mask_alone_has_no_tokens(encoder: PromptEncoder) -> None:
    masks = torch.randn(3, 1, CONFIG.grid_size * 4, CONFIG.grid_size * 4)
    sparse, dense = encoder(PromptTensors(mask_logits=masks))
    assert sparse.shape == (3, 0, 16)
    assert dense.shape == (3, 16, 8, 8)


def test_a_mask_is_read_position_by_position(encoder: PromptEncoder) -> None:
    masks = torch.randn(1, 1, CONFIG.grid_size * 4, CONFIG.grid_size * 4)
    changed = masks.clone()
    changed[0, 0, 4:8, 12:16] += 1  # the 4 x 4 logits of position (1, 3)
    difference = (
        (
            encoder(PromptTensors(mask_logits=changed))[1]
            - encoder(PromptTensors(mask_logits=masks))[1]
        )
        .abs()
        .sum(1)[0]
    )
    assert difference.nonzero().tolist() == [[1, 3]]


# --- Text ---


@pytest.fixture
def reader(randomise: Callable[..., None]) -> PromptEncoder:
    """An encoder that takes text of 5 dimensions, otherwise the same."""
    model = PromptEncoder(PromptEncoderConfig(image_size=128, grid_size=8, dim=16, text_dim=5))
    randomise(model)
    return model


CODES = torch.nn.functional.normalize(torch.arange(10.0).reshape(2, 5) - 3, dim=-1)


def test_text_alone_ends_with_one_padding_token(reader: PromptEncoder) -> None:
    sparse, dense = reader(PromptTensors(text_embeds=CODES))
    projected = reader.text_projection(CODES * 5**0.5)
    torch.testing.assert_close(sparse[:, 0], projected)
    assert torch.equal(sparse[:, 1], reader.not_a_point_embed.weight.expand(2, -1))
    assert sparse.shape == (2, 2, 16)
    assert dense is None


def test_text_comes_before_points_and_boxes(reader: PromptEncoder) -> None:
    text, _ = reader(PromptTensors(text_embeds=CODES))
    for parts in (
        {"points_xy": POINTS_XY, "labels": LABELS},
        {"boxes_xyxy": BOXES_XYXY},
        {"points_xy": POINTS_XY, "labels": LABELS, "boxes_xyxy": BOXES_XYXY},
    ):
        others, _ = reader(PromptTensors(**parts))
        together, _ = reader(PromptTensors(text_embeds=CODES, **parts))
        torch.testing.assert_close(together, torch.cat([text[:, :1], others], dim=1))


def test_a_model_without_text_has_no_projection(encoder: PromptEncoder) -> None:
    assert not any("text" in name for name in encoder.state_dict())
