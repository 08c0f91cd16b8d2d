"""A long video: memory, re-entry and look-alikes, by the tracker on frozen features.

    python benchmarks/video_long.py [--frames 5000] [--model mobile_sam_tuned --cache FOLDER]

One disc leaves the picture and comes back again and again; two others, which look the same, pass
each other, one in front of the other. Prints the resident memory in the course of the video and how
the objects fared, and exits with 1 if the memory grew by more than --bound-mb once the first
--settled frames were over.

Without --model the tracker's own work is measured, not the network's: instead of the image
encoder's features it has the frame's colours, and instead of the mask decoder's answer the prompt
itself, so that 5,000 frames take minutes. With --model both are the model's. Since the clip repeats
after 120 frames, each of these is encoded once, and its features (32 MB) are read from --cache from
then on, exactly as they were; masks, memory and decoder know nothing of that.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from memory_flat import resident_mb
from samkit import Predictor, VideoPredictor
from samkit.geometry import CoordMap
from samkit.image_spec import ImageSpec
from samkit.models import ImageFeatures
from samkit.types import ImageEmbedding, MaskPrediction
from samkit.video import FeatureTracker, FeatureTrackerConfig, follower_of

SIZE_HW = (180, 320)
SPEC = ImageSpec(size=512, logits_stride=4)
STRIDES = (4, 8, 16)  # of the features, the last the embedding's
RADIUS = 22
LEAVER, BEHIND, BEFORE = 1, 2, 3  # the objects
RED, BLUE = (210, 50, 40), (30, 70, 220)
# Frames of a round: the leaver is away for a third of it, the look-alikes pass each other twice.
ROUND = 120
DISC = np.pi * RADIUS**2
FOUND_WITHIN = 5
Masks = Mapping[int, npt.NDArray[np.bool_]]


class ColourPredictor:
    """Stands in for a predictor: features are colours, a mask prompt is its own answer."""

    model = SimpleNamespace(image_spec=SPEC)

    def encode_levels(self, frame: np.ndarray) -> tuple[ImageEmbedding, ImageFeatures]:
        """Colours, their products and their contrasts at each stride."""
        coords = CoordMap.of((frame.shape[0], frame.shape[1]), SPEC)
        height, width = coords.resized_hw
        square = np.zeros((SPEC.size, SPEC.size, 3), np.float32)
        square[:height, :width] = cv2.resize(frame, (width, height)) / np.float32(255) - 0.5
        levels = []
        for stride in STRIDES:
            side = SPEC.size // stride
            colour = cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA)
            channels = [*np.moveaxis(colour, 2, 0)]
            channels += [colour[..., i] * colour[..., j] * 4 for i in range(3) for j in range(i, 3)]
            levels.append(torch.from_numpy(np.stack(channels))[None])
        embedding = ImageEmbedding(
            features=ImageFeatures(tuple(levels[-1:])),
            coords=coords,
            model_name="colours",
            encoder_checksum="",
        )
        return embedding, ImageFeatures(tuple(levels[:-1]))

    def predict(
        self, embedding: ImageEmbedding, *, mask_logits: np.ndarray, **_: Any
    ) -> MaskPrediction:
        """The mask prompt, as if the decoder agreed."""
        return MaskPrediction(
            logits=np.asarray(mask_logits, np.float32)[None],
            iou_pred=np.array([0.9], np.float32),
            coords=embedding.coords,
        )


class CachingPredictor:
    """A predictor that encodes each frame once, whenever it comes again."""

    def __init__(self, predictor: Predictor, folder: Path) -> None:
        self.predictor, self.folder = predictor, folder
        self.model, self.predict = predictor.model, predictor.predict
        self._empty: ImageEmbedding | None = None  # of frames of one size, without their features
        folder.mkdir(parents=True, exist_ok=True)

    def encode_levels(self, frame: np.ndarray) -> tuple[ImageEmbedding, ImageFeatures]:
        """See `Predictor.encode_levels`."""
        path = self.folder / f"{hashlib.sha256(frame.tobytes()).hexdigest()}.pt"
        if self._empty is None or not path.exists():
            embedding, finer = self.predictor.encode_levels(frame)
            torch.save([*finer.levels, *embedding.features.levels], path)
            self._empty = embedding
        levels = torch.load(path)
        embedding = replace(self._empty, features=ImageFeatures(tuple(levels[-1:])))
        return embedding, ImageFeatures(tuple(levels[:-1]))


def model_tracker(name: str, folder: Path) -> VideoPredictor:
    """A video predictor of a model whose features of frames are cached in a folder."""
    loaded = Predictor.load(name)
    predictor: Any = CachingPredictor(loaded, folder)
    return VideoPredictor(predictor, FeatureTracker(predictor, follower=follower_of(loaded)))


def colour_tracker(**settings: Any) -> VideoPredictor:
    """A video predictor of colours."""
    predictor: Any = ColourPredictor()
    tracker = FeatureTracker(predictor, FeatureTrackerConfig(**settings))
    return VideoPredictor(predictor, tracker)


def background() -> npt.NDArray[np.uint8]:
    """Noise in grey and green."""
    noise = np.random.default_rng(0).integers(0, 255, (*SIZE_HW, 3)).astype(np.uint8)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3).astype(np.float32)
    return np.asarray(np.clip((smooth - 128) * 2 + (90, 120, 90), 0, 255), np.uint8)


@dataclass
class Clip:
    """Frames of discs, drawn when they are asked for, and their masks."""

    count: int
    behind_all: npt.NDArray[np.uint8] = field(default_factory=background)

    def places(self, index: int) -> dict[int, tuple[int, int]]:
        """Centres, x and y, of the three discs."""
        phase = 2 * np.pi * index / ROUND
        swing = round(100 * np.cos(phase))
        return {
            LEAVER: (160 + round(230 * np.sin(phase)), 40),
            BEHIND: (160 - swing, 120),
            BEFORE: (160 + swing, 126),
        }

    def draw(self, index: int) -> tuple[npt.NDArray[np.uint8], dict[int, npt.NDArray[np.bool_]]]:
        """A frame, and of each disc what is seen of it."""
        frame = self.behind_all.copy()
        owner = np.zeros(SIZE_HW, np.uint8)
        for name, place in self.places(index).items():
            cv2.circle(owner, place, RADIUS, name, -1)
            cv2.circle(frame, place, RADIUS, RED if name == LEAVER else BLUE, -1)
        return frame, {name: owner == name for name in (LEAVER, BEHIND, BEFORE)}

    def __iter__(self) -> Iterator[npt.NDArray[np.uint8]]:
        for index in range(self.count):
            yield self.draw(index)[0]


def iou(one: np.ndarray, other: np.ndarray) -> float:
    """IoU of two masks; 0 if both are empty."""
    return float((one & other).sum() / max(1, (one | other).sum()))


@dataclass
class Outcome:
    """How the objects fared.

    Attributes:
        ious: with what is seen of each object, in frames in which half of it is.
        returns, found: how often the leaver came back, and was found within `FOUND_WITHIN` frames.
        false_alarms: frames in which the leaver was away, but said to be there.
        swapped: frames in which a look-alike had the other's mask.
        memory_mb: resident memory by frame.
        waiting: frames since the leaver came back, until it is found; None while nothing is due.
    """

    ious: dict[int, list[float]] = field(
        default_factory=lambda: {name: [] for name in (LEAVER, BEHIND, BEFORE)}
    )
    returns: int = 0
    found: int = 0
    false_alarms: int = 0
    swapped: int = 0
    memory_mb: dict[int, float] = field(default_factory=dict)
    waiting: int | None = None
    was_away: bool = False

    def mean_iou(self, name: int) -> float:
        """Of one object."""
        return float(np.mean(self.ious[name]))

    def add(self, masks: Masks, truth: Masks) -> None:
        """Add a frame's masks by object."""
        for name, mask in masks.items():
            if truth[name].sum() > DISC / 2:
                self.ious[name].append(iou(mask, truth[name]))
        pairs = ((BEHIND, BEFORE), (BEFORE, BEHIND))
        self.swapped += any(iou(masks[one], truth[other]) > 0.5 for one, other in pairs)
        self._add_leaver(masks[LEAVER], truth[LEAVER])

    def _add_leaver(self, mask: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_]) -> None:
        if not truth.any():
            self.was_away = True
            self.false_alarms += bool(mask.any())
        elif self.was_away and truth.sum() > DISC / 2:
            self.returns += 1
            self.was_away, self.waiting = False, 0
        if self.waiting is None:
            return
        self.waiting += 1
        is_found = iou(mask, truth) > 0.5
        self.found += is_found
        if is_found or self.waiting > FOUND_WITHIN:
            self.waiting = None


def follow(
    tracker: VideoPredictor,
    clip: Clip,
    *,
    every: int = 100,
    report: Callable[[int, Outcome], None] = lambda *_: None,
) -> Outcome:
    """Follow the three discs in a stream of the clip's frames.

    Args:
        tracker: what follows them.
        clip: the frames.
        every: frames after which the resident memory is measured.
        report: called then, with the frame's index and the outcome so far.
    """
    outcome = Outcome()
    stream = tracker.stream(non_overlapping=True)
    for index, frame in enumerate(clip):
        answer = stream.track(frame)
        truth = clip.draw(index)[1]
        if index == 0:
            for name, mask in truth.items():
                stream.prompt(object_id=name, mask=mask)
            continue
        outcome.add(dict(zip(answer.object_ids, answer.masks, strict=True)), truth)
        if index % every == 0:
            outcome.memory_mb[index] = resident_mb()
            report(index, outcome)
    return outcome


def main() -> None:
    """Follow, and print what happened."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--frames", type=int, default=5000)
    parser.add_argument("--settled", type=int, default=500, help="(default %(default)s)")
    parser.add_argument("--bound-mb", type=float, default=20.0, help="(default %(default)s)")
    parser.add_argument("--model", help="a model with frozen features (default: colours)")
    parser.add_argument(
        "--cache", type=Path, default=Path("video-long"), help="(default %(default)s)"
    )
    args = parser.parse_args()
    tracker = model_tracker(args.model, args.cache) if args.model else colour_tracker()
    start = time.process_time()

    def report(index: int, outcome: Outcome) -> None:
        print(
            f"frame {index}: {outcome.memory_mb[index]:.0f} MB, {time.process_time() - start:.0f} s"
            f" of processor time, found {outcome.found} of {outcome.returns} times,"
            f" {outcome.false_alarms} false alarms, swapped in {outcome.swapped} frames",
            flush=True,
        )

    every = max(1, args.frames // 50)
    outcome = follow(tracker, Clip(args.frames), every=every, report=report)
    print(f"{args.frames} frames in {time.process_time() - start:.0f} s of processor time")
    print(f"mean IoU: {', '.join(f'{outcome.mean_iou(one):.3f}' for one in outcome.ious)}")
    found = f"{outcome.found} times within {FOUND_WITHIN} frames"
    print(f"the leaver came back {outcome.returns} times, and was found {found}")
    print(f"away but said to be there: {outcome.false_alarms} frames")
    print(f"look-alikes swapped: {outcome.swapped} frames")
    settled = [memory for index, memory in outcome.memory_mb.items() if index >= args.settled]
    growth = max(settled) - settled[0] if settled else 0.0
    print(f"memory grew by {growth:.1f} MB after frame {args.settled}")
    if growth > args.bound_mb:
        sys.exit(1)


if __name__ == "__main__":
    main()
