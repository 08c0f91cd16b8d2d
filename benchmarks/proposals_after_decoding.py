"""Time that `AutoMasker` spends outside the model.

    python benchmarks/proposals_after_decoding.py IMAGE [--points-per-side 32] [--repeat 5] ...

runs the model once, stores its answers in memory (about 0.6 GB for 32 x 32 points), and generates
masks from them repeatedly. Prints the best time of proposing and of filtering.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import samkit
from samkit.formats import read_image
from samkit.proposals import AutoMaskConfig, AutoMasker


class ReplayingPredictor:
    """Records a predictor's answers and replays them in the same order."""

    def __init__(self, predictor: samkit.Predictor) -> None:
        self.predictor: samkit.Predictor | None = predictor
        self.iou_thresh = predictor.iou_thresh
        self.embeddings: list[Any] = []
        self.answers: list[Any] = []
        self.restart()

    def restart(self) -> None:
        self.embeddings_given = self.answers_given = 0

    def stop_recording(self) -> None:
        self.predictor = None

    def embed(self, image: Any) -> Any:
        if self.predictor is not None:
            self.embeddings.append(self.predictor.embed(image))
        self.embeddings_given += 1
        return self.embeddings[self.embeddings_given - 1]

    def decode_points(self, embedding: Any, points_xy: Any, **settings: Any) -> Any:
        if self.predictor is not None:
            answer = self.predictor.decode_points(embedding, points_xy, **settings)
            self.answers.append(answer)
        self.answers_given += 1
        return self.answers[self.answers_given - 1]


def main() -> None:
    """Record one run, then time the replays."""
    parser = argparse.ArgumentParser()
    parser.add_argument("image", type=Path)
    parser.add_argument("--points-per-side", type=int, default=32)
    parser.add_argument("--crop-layers", type=int, default=0)
    parser.add_argument("--iou-thresh", type=float, default=0.88)
    parser.add_argument("--stability-thresh", type=float, default=0.95)
    parser.add_argument("--min-area", type=int, default=0)
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()

    image = read_image(options.image)
    config = AutoMaskConfig(
        points_per_side=options.points_per_side,
        crop_layers=options.crop_layers,
        iou_thresh=options.iou_thresh,
        stability_thresh=options.stability_thresh,
        min_area_px=options.min_area,
    )
    predictor = ReplayingPredictor(samkit.Predictor.load())
    masker = AutoMasker(predictor, config)
    start = time.perf_counter()
    masks = masker.generate(image)
    height, width = image.shape[:2]
    print(f"{width} x {height}: {len(masks)} masks in {time.perf_counter() - start:.1f} s in all")

    predictor.stop_recording()
    propose, filter_ = [], []
    for _ in range(options.repeat):
        predictor.restart()
        start = time.perf_counter()
        proposals = masker.propose(image)
        propose.append(time.perf_counter() - start)
        start = time.perf_counter()
        masker.filter(proposals)
        filter_.append(time.perf_counter() - start)
    patches = [patch for crop in proposals.crops for patch in crop.candidates.patches]
    size_mb = sum(patch.nbytes for patch in patches) / 1e6
    print(f"{len(patches)} candidates of {size_mb:.0f} MB")
    print(f"without the model: propose {min(propose):.3f} s, filter {min(filter_):.3f} s")


if __name__ == "__main__":
    main()
