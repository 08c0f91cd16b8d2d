"""Cost and recall of automatic masks with fewer points: adaptive grids, coarser grids, presets.

    python benchmarks/proposals_adaptive.py [--images 10] [--model NAME]

generates masks of BSDS500 images with several settings and prints for each: points prompted, masks,
the fraction of the full grid's masks that some mask has an IoU over 0.9 with, and the average
recall of human segmentations (IoU 0.5, 0.55, ... 0.95; regions of all annotators).
human segmentations (IoU 0.5, 0.55, ... 0.95; regions of all annotators).
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

import samkit
from samkit.proposals import PRESETS
from samkit.types import Masks

DATA = Path(__file__).parent / "../../shared/data/bsds500"
IOU_THRESHOLDS = np.arange(0.5, 1, 0.05)
FULL = "32 x 32 (default)"
SETTINGS = {
    FULL: samkit.AutoMaskConfig(),
    "32 x 32, adaptive": samkit.AutoMaskConfig(adaptive=True),
    "24 x 24, adaptive (fast)": PRESETS["fast"],
    "16 x 16": samkit.AutoMaskConfig(points_per_side=16),
}


class CountingPredictor:
    """A predictor that counts the points it is prompted with."""

    def __init__(self, predictor: samkit.Predictor) -> None:
        self.embed = predictor.embed
        self.predictor = predictor
        self.iou_thresh = predictor.iou_thresh
        self.count = 0

    def decode_points(self, embedding: Any, points_xy: Any, **settings: Any) -> Any:
        self.count += len(points_xy)
        return self.predictor.decode_points(embedding, points_xy, **settings)


def best_ious(masks: Masks, rles: Sequence[Any]) -> np.ndarray:
    """For each of `rles`, the highest IoU of any of `masks` with it."""
    if len(masks) == 0:
        return np.zeros(len(rles))
    iou = coco_mask.iou(list(rles), list(masks.rles), [0] * len(masks))
    return np.asarray(iou).max(axis=1)


def main() -> None:
    """Measure all settings and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=10)
    parser.add_argument("--model", default="mobile_sam")
    options = parser.parse_args()

    data = json.loads((DATA / "val.json").read_text())
    regions: dict[int, list[Any]] = {}
    for annotation in data["annotations"]:
        regions.setdefault(annotation["image_id"], []).append(annotation["segmentation"])
    images = sorted(data["images"], key=lambda one: one["file_name"])
    images = images[:: max(1, len(images) // options.images)][: options.images]

    predictor = CountingPredictor(samkit.Predictor.load(options.model))
    asked = dict.fromkeys(SETTINGS, 0)
    count = dict.fromkeys(SETTINGS, 0)
    human: dict[str, list[np.ndarray]] = {name: [] for name in SETTINGS}
    again: dict[str, list[np.ndarray]] = {name: [] for name in SETTINGS}
    for image in images:
        made = {}
        for name, config in SETTINGS.items():
            predictor.count = 0
            path = DATA / "val" / image["file_name"]
            masks = made[name] = samkit.AutoMasker(predictor, config).generate(path)
            asked[name] += predictor.count
            count[name] += len(masks)
            human[name].append(best_ious(masks, regions[image["id"]]))
            again[name].append(best_ious(masks, made[FULL].rles))

    print("| points | asked | masks | of the full grid's | average recall |")
    print("|---|---|---|---|---|")
    for name in SETTINGS:
        points = asked[name] / asked[FULL]
        share = (np.concatenate(again[name]) > 0.9).mean()
        ious = np.concatenate(human[name])
        recall = np.mean([(ious >= thresh).mean() for thresh in IOU_THRESHOLDS])
        print(f"| {name} | {points:.0%} | {count[name]} | {share:.0%} | {recall:.4f} |")


if __name__ == "__main__":
    main()
