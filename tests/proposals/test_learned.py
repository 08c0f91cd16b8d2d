"""A learned proposer: boxes of a head, their masks, and how they are chosen."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import samkit
from proposals.scenery import SceneryPredictor, Thing
from samkit.errors import ConfigError, WeightsError
from samkit.geometry import box_iou
from samkit.models import CONFIGS, ProposalHead, ProposalHeadConfig, Sam
from samkit.proposals import PRESETS, AutoMaskConfig, AutoMasker, propose_boxes
from samkit.proposals.learned import BOX_NMS_THRESH, mask_scores
from samkit.weights import save_proposal_head

CHANNELS = CONFIGS["tiny"].encoder.out_channels


@pytest.fixture(scope="module")
def predictor(randomise):
    model = Sam(CONFIGS["tiny"])
    randomise(model)
    return samkit.Predictor(model, model_name="tiny")


@pytest.fixture(scope="module")
def head(randomise):
    model = ProposalHead(ProposalHeadConfig(in_channels=CHANNELS, width=16, fine_width=8))
    randomise(model)
    return model.eval()


@pytest.fixture
def head_file(head, predictor, tmp_path):
    path = tmp_path / "head.safetensors"
    save_proposal_head(head, path, encoder_checksum=predictor.encoder_checksum)
    return path


@pytest.fixture
def everything(head_file):
    """Settings that let all masks of a head with random weights through."""
    return AutoMaskConfig(proposer=str(head_file), iou_thresh=0, stability_thresh=0)


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 255, (60, 90, 3), np.uint8)


@pytest.fixture
def features(head):
    return torch.randn(1, CHANNELS, 8, 8)


def test_boxes_are_in_the_image_distinct_and_the_best_first(head, features):
    boxes, objectness = propose_boxes(head, features, (128.0, 85.0), 30)
    assert 5 < len(boxes) <= 30
    assert (boxes >= 0).all()
    assert (boxes <= [128, 85, 128, 85]).all()
    assert (np.diff(objectness) <= 0).all()
    ious = box_iou(boxes[:, None], boxes[None])
    np.fill_diagonal(ious, 0)
    assert ious.max() <= BOX_NMS_THRESH


def test_fewer_boxes_are_the_best_of_more(head, features):
    many, scores = propose_boxes(head, features, (128.0, 85.0), 30)
    few, _ = propose_boxes(head, features, (128.0, 85.0), 3)
    assert (few == many[:3]).all()
    thresh = float(scores[4])
    better, kept = propose_boxes(head, features, (128.0, 85.0), 30, thresh=thresh)
    assert (better == many[:5]).all()
    assert (kept >= thresh).all()


def test_padding_has_no_part_in_the_boxes(head, features):
    other = features.clone()
    other[..., 4:, :] = torch.randn(1, CHANNELS, 4, 8)
    one, two = (propose_boxes(head, f, (128.0, 64.0), 30)[0] for f in (features, other))
    assert (one == two).all()


def test_each_mask_answers_a_box_of_the_head(predictor, everything, image):
    masker = AutoMasker(predictor, everything)
    proposals = masker.propose(image)
    (crop,) = proposals.crops
    embedding = predictor.embed(image)
    height, width = embedding.coords.resized_hw
    boxes, objectness = propose_boxes(
        masker.proposer.head,  # rounded to the file's float16
        embedding.features.grid,
        (width, height),
        200,
        thresh=masker.config.objectness_thresh,
    )
    boxes = boxes / np.tile(embedding.coords.scale_xy, 2)
    answer = predictor.predict(embedding, boxes=boxes, multimask=False)
    expected = mask_scores(objectness, answer.iou_pred[:, 0])
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    found = {tuple(xy): score for xy, score in zip(middles.round(6), expected, strict=True)}
    candidates = crop.candidates
    assert len(candidates) > 5
    for xy, score in zip(candidates.points_xy.round(6), candidates.scores, strict=True):
        assert found[tuple(xy)] == pytest.approx(score, abs=1e-5)
    masks = masker.generate(image)
    assert (np.diff(masks.scores) <= 0).all()
    assert set(masks.scores.tolist()) <= set(candidates.scores.tolist())


def test_crops_and_tiles_have_boxes_of_their_own(predictor, everything, image):
    config = replace(everything, crop_layers=1)
    done = []
    proposals = AutoMasker(predictor, config).propose(image, on_progress=lambda *n: done.append(n))
    assert len(proposals.crops) == 5
    assert all(len(crop.candidates) for crop in proposals.crops)
    assert done[-1] == (5 * config.max_proposals, 5 * config.max_proposals)
    tiling = samkit.proposals.TileConfig(tile_px=48, overlap_px=16)
    tiled = AutoMasker(predictor, everything).generate_tiled(image, tiling)
    assert len(tiled) > 0
    assert tiled.size_hw == (60, 90)


def test_the_default_of_a_learned_proposer_is_the_preset_instant(predictor, head_file):
    config = AutoMasker(predictor, proposer=head_file).config
    instant = PRESETS["instant"]
    assert config == replace(instant, proposer=str(head_file))
    assert instant.proposer == "learned"
    grid = AutoMasker(predictor, instant, proposer="grid").config
    assert grid.proposer == "grid"


def test_nothing_is_found_where_nothing_is_proposed(predictor, head_file, image):
    config = AutoMaskConfig(proposer=str(head_file), objectness_thresh=1.0)
    assert len(AutoMasker(predictor, config).generate(image)) == 0


def test_scores_are_means_of_objectness_and_predicted_iou():
    scores = mask_scores(np.array([0.5, 0.5], np.float32), np.array([0.5, 1.2], np.float32))
    assert scores.tolist() == pytest.approx([0.5, 0.5**0.5])


def test_a_head_of_another_encoder_is_refused(predictor, head, tmp_path):
    path = tmp_path / "other.safetensors"
    save_proposal_head(head, path, encoder_checksum="0" * 64)
    with pytest.raises(WeightsError, match="another image encoder"):
        AutoMasker(predictor, proposer=path)
    with pytest.raises(WeightsError, match="no proposal head"):
        AutoMasker(predictor, proposer="learned")


def test_what_a_learned_proposer_cannot_do_is_refused(predictor, head_file):
    with pytest.raises(ConfigError, match="point_grids"):
        AutoMasker(predictor, proposer=head_file, point_grids=[[[0.5, 0.5]]])
    with pytest.raises(ConfigError, match="SceneryPredictor"):
        AutoMasker(SceneryPredictor(Thing((0, 0, 9, 9))), proposer="learned")
    with pytest.raises(ConfigError, match="proposer must be"):
        AutoMaskConfig(proposer="")
