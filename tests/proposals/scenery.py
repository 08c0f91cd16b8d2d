"""A synthetic world of known objects, and a predictor that sees them.

The image's pixels encode their own positions, by which the predictor knows which crop it sees.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from samkit.geometry import CoordMap
from samkit.predict import PointMasks
from samkit.weights import PUBLISHED_IOU_THRESH

MODEL_SIZE = 256  # logits of 64 x 64
SURE = 100.0  # logit far from 0: edges are sharp, the mask is stable


def make_image(height, width):
    """An image of at most 4096 x 4096 whose every pixel is unique."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x % 256, y % 256, x // 256 * 16 + y // 256], axis=-1).astype(np.uint8)


def corner_of(crop):
    """Where a crop of such an image was cut out: x, y."""
    red, green, blue = (int(value) for value in crop[0, 0])
    return blue // 16 * 256 + red, blue % 16 * 256 + green


@dataclass(frozen=True)
class Thing:
    """A rectangle in the image, and what the predictor makes of it.

    Attributes:
        box_xyxy: in pixels of the image.
        iou_pred: a number, or a function of the crop's area.
        logit: inside; outside it is less by twice as much.
        holes: rectangles that do not belong to it.
    """

    box_xyxy: tuple[int, int, int, int]
    iou_pred: float | Callable[[int], float] = 0.9
    logit: float = SURE
    holes: tuple[tuple[int, int, int, int], ...] = ()

    def covers(self, x, y):
        def within(box):
            return (x >= box[0]) & (x < box[2]) & (y >= box[1]) & (y < box[3])

        inside = within(self.box_xyxy)
        for hole in self.holes:
            inside &= ~within(hole)
        return inside

    def mask(self, size_hw):
        """The true mask (H, W)."""
        y, x = np.mgrid[: size_hw[0], : size_hw[1]]
        return self.covers(x, y)


class SceneryPredictor:
    """Answers each point with all things that it lies in.

    Attributes:
        asked: (x, y) of all points, in pixels of the image.
        crops: x0, y0, x1, y1 of all that was embedded.
        batches: how many points came at once.
    """

    def __init__(self, *things):
        self.things = things
        self.iou_thresh = PUBLISHED_IOU_THRESH
        self.asked, self.crops, self.batches = [], [], []

    def embed(self, crop):
        assert crop.dtype == np.uint8
        height, width = crop.shape[:2]
        x, y = corner_of(crop)
        self.crops.append((x, y, x + width, y + height))
        return SimpleNamespace(
            coords=CoordMap(original_hw=(height, width), model_size=MODEL_SIZE), corner=(x, y)
        )

    def decode_points(self, embedding, points_xy, *, iou_thresh):
        self.batches.append(len(points_xy))
        coords = embedding.coords
        area = coords.original_hw[0] * coords.original_hw[1]
        logits, iou_pred, point_index = [], [], []
        for number, point in enumerate(points_xy):
            assert (point >= 0).all()
            assert (point < coords.original_hw[::-1]).all()
            x, y = point + embedding.corner
            self.asked.append((x, y))
            for thing in self.things:
                score = thing.iou_pred(area) if callable(thing.iou_pred) else thing.iou_pred
                if thing.covers(x, y) and score >= iou_thresh:
                    logits.append(self.render(thing, embedding))
                    iou_pred.append(score)
                    point_index.append(number)
        side = coords.logits_size
        return PointMasks(
            logits=np.array(logits, np.float32).reshape(-1, side, side),
            iou_pred=np.array(iou_pred, np.float32),
            point_index=np.array(point_index, np.int64),
        )

    def render(self, thing, embedding):
        """Logits (S, S), positive where the thing covers the middle of a logit.

        What lies at the crop's border goes on into the padding.
        """
        coords = embedding.coords
        middle = (np.arange(coords.logits_size) + 0.5) * coords.logits_stride
        height, width = coords.original_hw
        x = (middle / coords.scale_xy[0]).clip(0, width - 0.5) + embedding.corner[0]
        y = (middle / coords.scale_xy[1]).clip(0, height - 0.5) + embedding.corner[1]
        covered = thing.covers(x[None, :], y[:, None])
        return np.where(covered, thing.logit, thing.logit - 2 * abs(thing.logit))
