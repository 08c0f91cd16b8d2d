"""`AutoMasker` against the plain procedure in tests/reference, on real images and weights.

In float32 on torch, both see the same logits but for rounding, so that only decisions could differ:
those by stability and boxes, which have to be measured at the image's size. Measured at 256 x 256,
nearly one mask in five is another one (53 of 284, 20 images of BSDS500).
"""

import numpy as np
import pytest
import skimage.data
from pycocotools import mask as coco_mask

import samkit
from reference.automask import Found, Settings, find_masks, reference_model
from samkit.geometry import encode_rle
from samkit.proposals import AutoMaskConfig, AutoMasker

POINTS_PER_SIDE = 6
IMAGES = ("coffee", pytest.param("chelsea", marks=pytest.mark.slow))
SAME_IOU = 0.999


@pytest.fixture(scope="module")
def predictor() -> samkit.Predictor:
    return samkit.Predictor.load("mobile_sam", device="cpu", backend="torch", precision="float32")


@pytest.fixture(scope="module", params=IMAGES)
def image(request: pytest.FixtureRequest) -> np.ndarray:
    return getattr(skimage.data, request.param)()


def partner_ious(found: Found, masks: samkit.Masks) -> tuple[np.ndarray, np.ndarray]:
    """IoU of the best partner, of each mask of the reference and of each of ours."""
    rles = [encode_rle(mask) for mask in found.masks]
    ious = coco_mask.iou(list(masks.rles), rles, [0] * len(rles))
    return ious.max(axis=0), ious.max(axis=1)


def assert_same_masks(found: Found, masks: samkit.Masks) -> None:
    theirs, ours = partner_ious(found, masks)
    assert theirs.min() > SAME_IOU
    assert ours.min() > SAME_IOU
    assert len(masks) == len(found)


def test_the_same_masks_are_found(predictor: samkit.Predictor, image: np.ndarray) -> None:
    plain = reference_model(predictor.model)
    found = find_masks(plain, image, Settings(points_per_side=POINTS_PER_SIDE))
    masks = AutoMasker(predictor, AutoMaskConfig(points_per_side=POINTS_PER_SIDE)).generate(image)
    assert len(found) >= 4
    assert_same_masks(found, masks)
    order = np.argsort(-found.scores, kind="stable")
    np.testing.assert_allclose(masks.scores, found.scores[order], atol=1e-4)
    np.testing.assert_allclose(masks.points_xy, found.points_xy[order], atol=1e-9)
    np.testing.assert_allclose(masks.boxes_xyxy, found.boxes_xyxy[order], atol=1)


@pytest.mark.slow
def test_the_same_masks_are_found_in_crops(predictor: samkit.Predictor) -> None:
    # The side is even, so that crops of whole pixels share as much on all sides.
    image = np.ascontiguousarray(skimage.data.chelsea()[:, :450])
    asked = {"points_per_side": 4, "crop_layers": 1, "min_area_px": 100}
    found = find_masks(reference_model(predictor.model), image, Settings(**asked))
    masks = AutoMasker(predictor, AutoMaskConfig(**asked)).generate(image)
    assert_same_masks(found, masks)
    crops = {tuple(crop) for crop in found.crops_xyxy}
    assert len(crops) > 1  # else the crops would not be looked at here
