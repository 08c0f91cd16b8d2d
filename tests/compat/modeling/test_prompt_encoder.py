"""The prompt encoder by the original's arguments and attributes."""

import inspect

import pytest
import torch

from samkit.compat.segment_anything.errors import (
    MissingLabelsError,
    PromptShapeError,
    SettingError,
)
from samkit.compat.segment_anything.modeling import PromptEncoder
from samkit.compat.segment_anything.modeling.prompt_encoder import PositionEmbeddingRandom


@pytest.fixture
def encoder(sam):
    return sam.prompt_encoder


def test_signatures_are_the_originals():
    assert [*inspect.signature(PromptEncoder).parameters] == [
        "embed_dim",
        "image_embedding_size",
        "input_image_size",
        "mask_in_chans",
        "activation",
    ]
    assert [*inspect.signature(PromptEncoder.forward).parameters] == [
        "self",
        "points",
        "boxes",
        "masks",
    ]


def test_attributes_are_the_originals(encoder):
    assert encoder.embed_dim == 32
    assert encoder.image_embedding_size == (8, 8)
    assert encoder.input_image_size == (128, 128)
    assert encoder.mask_input_size == (32, 32)
    assert encoder.num_point_embeddings == len(encoder.point_embeddings) == 4
    assert encoder.pe_layer.positional_encoding_gaussian_matrix.shape == (2, 16)


def test_tokens_are_points_padding_and_corners(encoder):
    points, labels = torch.rand(2, 3, 2) * 128, torch.tensor([[1, 0, -1], [1, 1, 1]])
    boxes = torch.rand(2, 4) * 128
    only_points, dense = encoder(points=(points, labels), boxes=None, masks=None)
    only_boxes, _ = encoder(points=None, boxes=boxes, masks=None)
    both, _ = encoder(points=(points, labels), boxes=boxes, masks=None)
    nothing, _ = encoder(points=None, boxes=None, masks=None)
    padding = encoder.not_a_point_embed.weight[0]
    assert only_points.shape == (2, 4, 32)
    assert only_boxes.shape == (2, 2, 32)
    assert nothing.shape == (1, 0, 32)
    assert torch.equal(both, torch.cat([only_points[:, :3], only_boxes], dim=1))
    assert torch.equal(only_points[0, 2], padding)
    assert torch.equal(only_points[1, 3], padding)
    assert dense.shape == (2, 32, 8, 8)
    assert torch.equal(dense[1, :, 3, 4], encoder.no_mask_embed.weight[0])


def test_boxes_may_have_an_axis_of_one(encoder):
    boxes = torch.rand(2, 4) * 128
    expected, _ = encoder(points=None, boxes=boxes, masks=None)
    sparse, _ = encoder(points=None, boxes=boxes[:, None], masks=None)
    assert torch.equal(sparse, expected)
    turned, _ = encoder(points=None, boxes=boxes.T.contiguous().T, masks=None)
    assert torch.equal(turned, expected)


def test_masks_give_a_map_for_each(encoder):
    masks = torch.randn(2, 1, 32, 32)
    sparse, dense = encoder(points=None, boxes=None, masks=masks)
    assert sparse.shape == (2, 0, 32)
    assert torch.equal(dense, encoder.mask_downscaling(masks))


def test_an_empty_batch_is_empty(encoder):
    sparse, dense = encoder(points=None, boxes=torch.zeros(0, 4), masks=None)
    assert sparse.shape == (0, 2, 32)
    assert dense.shape == (0, 32, 8, 8)


def test_positions_may_be_asked_for_grids_and_coordinates(encoder):
    layer = encoder.pe_layer
    grid = layer((4, 8))
    assert grid.shape == (32, 4, 8)
    centre = torch.tensor([[[5 + 0.5, 2 + 0.5]]], dtype=torch.float64)
    at = layer.forward_with_coords(centre, (4, 8))
    torch.testing.assert_close(at[0, 0], grid[:, 2, 5])


def test_frequencies_are_scaled():
    torch.manual_seed(0)
    plain = PositionEmbeddingRandom(8).positional_encoding_gaussian_matrix
    torch.manual_seed(0)
    scaled = PositionEmbeddingRandom(8, scale=3.0).positional_encoding_gaussian_matrix
    torch.testing.assert_close(scaled, 3 * plain)


def test_another_activation_is_used():
    encoder = PromptEncoder(8, (4, 4), (64, 64), 16, activation=torch.nn.ReLU)
    kinds = [type(layer) for layer in encoder.mask_downscaling]
    assert kinds.count(torch.nn.ReLU) == 2
    assert torch.nn.GELU not in kinds


def test_what_does_not_go_together_is_refused(encoder, refusal):
    points = torch.zeros(2, 1, 2)
    with refusal(MissingLabelsError, "labels"):
        encoder(points=(points, None), boxes=None, masks=None)
    with refusal(PromptShapeError, "(2, 1, 2) and (2, 3)"):
        encoder(points=(points, torch.ones(2, 3)), boxes=None, masks=None)
    with refusal(PromptShapeError, "(1, 2, 4)", "predict_torch"):
        encoder(points=None, boxes=torch.zeros(1, 2, 4), masks=None)
    with refusal(PromptShapeError, "2 of points, 3 of boxes"):
        encoder(points=(points, torch.ones(2, 1)), boxes=torch.zeros(3, 4), masks=None)
    with refusal(PromptShapeError, "masks must be (B, 1, h, w)"):
        encoder(points=None, boxes=None, masks=torch.zeros(32, 32))
    with refusal(SettingError, "square", "(4, 5)"):
        PromptEncoder(8, (4, 5), (64, 64), 16)
