"""The proposal head: grids, boxes and cutting off padding."""

import pytest
import torch

from samkit.models import ProposalHead, ProposalHeadConfig
from samkit.models.proposal_head import Double, Halve, grid_centers

TINY = ProposalHeadConfig(in_channels=8, stride=16, width=12, fine_width=6)


@pytest.fixture
def head(randomise):
    model = ProposalHead(TINY)
    randomise(model)
    return model.eval()


def test_there_is_an_answer_for_each_position_of_four_grids(head):
    objectness, boxes = head(torch.randn(2, 8, 8, 12))
    positions = 16 * 24 + 8 * 12 + 4 * 6 + 2 * 3
    assert objectness.shape == (2, positions)
    assert boxes.shape == (2, positions, 4)
    assert head.centers(8, 12).shape == (positions, 2)


def test_each_box_contains_the_middle_of_its_position(head):
    _, boxes = head(torch.randn(1, 8, 8, 8))
    centers = head.centers(8, 8)
    assert (boxes[0, :, :2] < centers).all()
    assert (boxes[0, :, 2:] > centers).all()


def test_a_new_head_proposes_little_and_boxes_of_two_strides():
    fresh = ProposalHead(TINY)
    for output in fresh.outputs:
        torch.nn.init.zeros_(output[1].weight)
    objectness, boxes = fresh(torch.randn(1, 8, 4, 4))
    assert torch.allclose(objectness.sigmoid(), torch.tensor(0.01))
    sides = boxes[0, :, 2:] - boxes[0, :, :2]
    assert sides[0].tolist() == [16, 16]  # the finest grid, of stride 8
    assert sides[-1].tolist() == [128, 128]


def test_centers_are_in_the_middle_of_cells_row_by_row():
    assert grid_centers(2, 3, 10).tolist() == [
        [5, 5],
        [15, 5],
        [25, 5],
        [5, 15],
        [15, 15],
        [25, 15],
    ]


@pytest.mark.parametrize(
    ("visible_wh", "cells_hw"),
    [((1024.0, 1024.0), (64, 64)), ((1024.0, 683.0), (44, 64)), ((1.0, 64.0), (4, 4))],
)
def test_padding_is_cut_off_to_multiples_of_the_coarsest_grid(visible_wh, cells_hw):
    head = ProposalHead(ProposalHeadConfig(in_channels=1))
    cut = head.crop(torch.zeros(1, 1, 64, 64), visible_wh)
    assert cut.shape[-2:] == cells_hw


def test_each_image_of_a_batch_gets_the_answer_that_it_gets_alone(head):
    features = torch.randn(3, 8, 8, 8)
    together = head(features)
    alone = head(features[1:2])
    for all_, one in zip(together, alone, strict=True):
        assert torch.allclose(all_[1:2], one, atol=1e-4)


def test_doubling_puts_four_positions_where_one_was():
    double = Double(4, 2)
    x = torch.zeros(1, 2, 2, 4)
    x[0, 1, 0] = torch.randn(4)
    changed = (double(x) - double(torch.zeros_like(x)))[0].abs().sum(-1) > 0
    assert changed.nonzero().tolist() == [[2, 0], [2, 1], [3, 0], [3, 1]]


def test_halving_merges_the_four_positions_under_one():
    halve = Halve(4)
    x = torch.randn(1, 4, 4, 4)
    before = halve(x)
    x[0, 2, 3] = torch.randn(4)
    changed = (halve(x) - before)[0].abs().sum(-1) > 0
    assert changed.nonzero().tolist() == [[1, 1]]
