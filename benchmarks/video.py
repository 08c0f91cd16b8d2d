"""Quality and time of tracking on a folder in DAVIS layout: J, F, J&F, milliseconds per frame.

    python benchmarks/video.py DAVIS_FOLDER OUTPUT.jsonl [--sequences bear boat]
        [--features FOLDER] [--first mask|box|click] [--method tracker|sketch]
        [--every 4] [--set anchor_share=0.3]

Each sequence is a line of OUTPUT, from which a stopped run resumes. Image features take most of the
time and do not depend on the tracker: they are cached in the folder of --features, in half
precision. With --every N, every N-th frame is tracked, and those between are filled. `sketch` is
what the tracker is compared with: label propagation on the features alone. Times of the tracker are
processor time without the image encoder, whose own is beside them.
"""

from __future__ import annotations

import argparse
import ast
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from samkit import Predictor
from samkit.evaluation import (
    FIRST_PROMPTS,
    VosSequence,
    find_vos_sequences,
    prompt_objects,
    score_sequence,
)
from samkit.files import replacing
from samkit.geometry import CoordMap, logits_to_original, mask_to_logits
from samkit.models import ImageFeatures
from samkit.types import ImageEmbedding
from samkit.video import (
    EveryNth,
    FeatureTracker,
    FeatureTrackerConfig,
    FrameFeatures,
    Video,
    fill_between,
    follower_of,
    open_frames,
)

# The sketch's settings: issue 16.
TOP, RADIUS, TEMPERATURE, LAST = 10, 10, 0.05, 5


class CachingTracker(FeatureTracker):
    """The tracker, which reads the image encoder's output from files that it writes."""

    def __init__(self, predictor: Predictor, config: FeatureTrackerConfig) -> None:
        super().__init__(predictor, config, follower=follower_of(predictor))
        self.files: Iterator[Path] | None = None
        self.encode_s: list[float] = []
        self.left_out_s = 0.0  # time for files, which is neither the encoder's nor the tracker's

    def encode(self, frame: np.ndarray) -> FrameFeatures:
        start = time.process_time()
        path = None if self.files is None else next(self.files)
        if path is not None and path.exists():
            features = read_features(path, frame, self.predictor)
        else:
            features = super().encode(frame)
            self.encode_s.append(time.process_time() - start)
            if path is not None:
                write_features(path, features)
        self.left_out_s += time.process_time() - start
        return features


def write_features(path: Path, features: FrameFeatures) -> None:
    """Write the image encoder's levels in half precision, the finer ones without the padding."""
    height, _ = features.coords.resized_hw
    arrays = {}
    levels = features.levels[1:]  # the first is of colours
    for number, level in enumerate(levels):
        rows = -(-height * level.shape[1] // features.coords.model_size)
        is_last = number == len(levels) - 1
        arrays[f"level_{number}"] = (level if is_last else level[:, :rows]).half().numpy()
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def read_features(path: Path, frame: np.ndarray, predictor: Predictor) -> FrameFeatures:
    """Read the levels: finest first, of equal ones that with fewer channels."""
    with np.load(path) as file:
        arrays = sorted(file.values(), key=lambda one: (-one.shape[2], one.shape[0]))
    levels = [torch.from_numpy(array).float() for array in arrays]
    padded = [
        torch.nn.functional.pad(level, (0, 0, 0, level.shape[2] - level.shape[1]))
        for level in levels
    ]
    embedding = ImageEmbedding(
        features=ImageFeatures((padded[-1][None],)),
        coords=predictor.coord_map(frame),
        model_name=predictor.model_name,
        encoder_checksum=predictor.encoder_checksum,
    )
    return FrameFeatures.of(frame, embedding, padded)


def sketch(
    tracker: CachingTracker, sequence: VosSequence
) -> Iterator[tuple[int, Mapping[int, np.ndarray]]]:
    """Label propagation from the first and the last frames, then one answer to box and mask."""
    source = open_frames(list(sequence.images))
    truth = sequence.truth(0)
    bank: list[tuple[torch.Tensor, dict[int, torch.Tensor]]] = []
    window = None
    for index in range(len(sequence.images)):
        features = tracker.encode(source.read(index))
        coords = features.coords
        grid = features.levels[-1]
        rows, cols = (-(-side // 16) for side in coords.resized_hw)
        keys = torch.nn.functional.normalize(grid[:, :rows, :cols].flatten(1), dim=0)
        masks = truth
        if index:
            if window is None:
                y, x = torch.meshgrid(torch.arange(rows), torch.arange(cols), indexing="ij")
                y, x = y.flatten(), x.flatten()
                far = ((y[:, None] - y).abs() > RADIUS) | ((x[:, None] - x).abs() > RADIUS)
                window = far * -9.0
            known = [bank[0], *bank[1:][-LAST:]]
            similarity = torch.cat([keys.T @ one + window for one, _ in known], dim=1)
            values, places = similarity.topk(TOP, dim=1)
            shares = (values / TEMPERATURE).softmax(dim=1)
            masks = {}
            for number in truth:
                labels = torch.cat([own[number] for _, own in known])
                found = (shares * labels[places]).sum(dim=1).view(rows, cols).numpy()
                masks[number] = sketch_answer(tracker.predictor, features, found)
        bank.append((keys, {n: cell_labels(mask, coords, rows, cols) for n, mask in masks.items()}))
        yield index, masks


def cell_labels(mask: np.ndarray, coords: CoordMap, rows: int, cols: int) -> torch.Tensor:
    """How much of each embedding position a mask covers."""
    covered = (mask_to_logits(mask, coords) / 24 + 0.5).clip(0, 1)
    grid = coords.model_size // 16
    small = cv2.resize(covered, (grid, grid), interpolation=cv2.INTER_AREA)
    return torch.from_numpy(np.ascontiguousarray(small[:rows, :cols])).flatten()


def sketch_answer(predictor: Predictor, features: FrameFeatures, found: np.ndarray) -> np.ndarray:
    """The answer to the box and the logits of propagated labels."""
    coords = features.coords
    grid = np.zeros((coords.model_size // 16,) * 2, np.float32)
    grid[: found.shape[0], : found.shape[1]] = found
    side = coords.logits_size
    logits = (cv2.resize(grid, (side, side), interpolation=cv2.INTER_LINEAR) * 2 - 1) * 12
    rows, cols = np.nonzero(logits_to_original(logits, coords) > 0)
    if not len(rows):
        return np.zeros(coords.original_hw, bool)
    box = [cols.min(), rows.min(), cols.max() + 1, rows.max() + 1]
    return predictor.predict(
        features.embedding, boxes=box, mask_logits=logits, multimask=False
    ).masks[0]


def measure(
    tracker: CachingTracker, sequence: VosSequence, args: argparse.Namespace
) -> dict[str, Any]:
    """Scores and times of one sequence."""
    if args.features is not None:
        images = sequence.images[:: args.every]
        tracker.files = iter(args.features / sequence.name / f"{one.stem}.npz" for one in images)
    tracker.encode_s, tracker.left_out_s = [], 0.0
    start = time.process_time()
    if args.method == "sketch":
        answers = sketch(tracker, sequence)
    else:
        frames = open_frames(list(sequence.images))
        keyframes = EveryNth(frames, args.every)
        video = Video(tracker, keyframes)
        prompt_objects(video, sequence.truth(0), args.first)
        found = fill_between(video.propagate(), frames, args.every)
        answers = ((one.index, dict(zip(one.object_ids, one.masks, strict=True))) for one in found)
    answers = list(answers)
    track_s = time.process_time() - start - tracker.left_out_s
    scores = score_sequence(sequence, iter(answers))
    return {
        "sequence": sequence.name,
        "frames": len(sequence.images),
        "j": float(np.mean([one.j for one in scores.values()])),
        "f": float(np.mean([one.f for one in scores.values()])),
        "track_ms": 1000 * track_s / len(sequence.images),
        "encode_ms": 1000 * float(np.median(tracker.encode_s)) if tracker.encode_s else None,
    }


def main() -> None:
    """Measure, print and record each sequence, then the means."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--sequences", nargs="*", default=())
    parser.add_argument("--features", type=Path)
    parser.add_argument("--first", choices=FIRST_PROMPTS, default="mask")
    parser.add_argument("--every", type=int, default=1, help="track each N-th frame")
    parser.add_argument("--method", choices=("tracker", "sketch"), default="tracker")
    parser.add_argument("--set", nargs="*", default=(), help="settings of FeatureTrackerConfig")
    parser.add_argument("--model", default="mobile_sam")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
        cv2.setNumThreads(args.threads)
    changes = {
        name: ast.literal_eval(value) for name, _, value in (s.partition("=") for s in args.set)
    }
    config = replace(FeatureTrackerConfig(), **changes)
    header = {"method": args.method, "first": args.first, "model": args.model}
    if args.method == "tracker":
        header |= {"every": args.every, **asdict(config)}
    header = json.loads(json.dumps(header))
    lines = args.output.read_text().splitlines() if args.output.exists() else []
    if lines and json.loads(lines[0]) != header:
        raise SystemExit(f"{args.output} holds results with other settings: give another file")
    done = {json.loads(line)["sequence"]: json.loads(line) for line in lines[1:]}
    predictor = Predictor.load(
        args.model, backend=args.backend, precision=args.precision, threads=args.threads
    )
    tracker = CachingTracker(predictor, config)
    with args.output.open("a") as file:
        if not lines:
            file.write(json.dumps(header) + "\n")
        for sequence in find_vos_sequences(args.data):
            if args.sequences and sequence.name not in args.sequences:
                continue
            if sequence.name not in done:
                result = measure(tracker, sequence, args)
                file.write(json.dumps(result) + "\n")
                file.flush()
                done[sequence.name] = result
            show(done[sequence.name])
    chosen = [one for name, one in done.items() if not args.sequences or name in args.sequences]
    means = {key: float(np.mean([one[key] for one in chosen])) for key in ("j", "f", "track_ms")}
    show({"sequence": f"mean of {len(chosen)}", "encode_ms": None, **means})


def show(one: dict[str, Any]) -> None:
    """Print one result as a line."""
    encode = "" if one["encode_ms"] is None else f"  encoder {one['encode_ms']:.0f} ms"
    print(
        f"{one['sequence']:>16}  J {one['j']:.3f}  F {one['f']:.3f}"
        f"  J&F {(one['j'] + one['f']) / 2:.3f}  tracker {one['track_ms']:.0f} ms{encode}",
        flush=True,
    )


if __name__ == "__main__":
    main()
