"""What each object costs a SAM 2 in a video, and what pooling changes of what its memory finds.

    python benchmarks/video_objects.py [--precision bfloat16] [--davis FOLDER]

Follows discs by a full memory, by the policies `plain` and `pooled`, with random weights: their
values do not matter to the cost, and masks that are remembered are given. With --davis, the memory
begins from likeness (see samkit.training.video.likeness), remembers frames 0, 4 and 8 of each
sequence with their true masks, and looks at frame 11: how much of the memory's change of that frame
is another with pooling, and how well a linear read-out of the mask, fitted to the exact result,
does on either. Prints processor time; one thread.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from samkit import Predictor, read_image
from samkit.backends import create_backend
from samkit.models import CONFIGS, RememberedFrame, Sam2, build_sam
from samkit.training.video.likeness import begin_from_likeness
from samkit.types import Prompts
from samkit.video import PLAIN, POOLED, Sam2Tracker
from samkit.video.sam2_answer import Sam2Features
from samkit.video.sam2_networks import TorchNetworks
from samkit.video.sam2_pooling import blocks_with, pooling_for

SIZE_HW = (480, 854)
RADII = (40, 90)
FULL = 8  # frames after which the memory is full
REMEMBERED, LOOKED_AT = (0, 4, 8), 11
STEPS = (0, 6, 3)  # of the remembered frames, as if the first was prompted
RIDGE = 10.0


def seconds(step: Callable[[], Any], times: int = 2) -> float:
    """Least processor time of a step."""
    found = []
    for _ in range(times):
        start = time.process_time()
        step()
        found.append(time.process_time() - start)
    return min(found)


def random_model(name: str) -> Sam2:
    """A SAM 2 with random weights, which sees its object everywhere."""
    torch.manual_seed(0)
    model = build_sam(CONFIGS[name]).eval()
    assert isinstance(model, Sam2)
    with torch.no_grad():
        model.mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(30)
    return model


def networks_of(tracker: Sam2Tracker) -> TorchNetworks:
    """The tracker's memory and decoder."""
    assert isinstance(tracker.networks, TorchNetworks)
    return tracker.networks


def disc(index: int, radius: int) -> npt.NDArray[np.bool_]:
    """The mask of a disc that moves."""
    mask = np.zeros(SIZE_HW, np.uint8)
    cv2.circle(mask, (300 + 8 * index, SIZE_HW[0] // 2), radius, 1, -1)
    return mask > 0


@torch.no_grad()
def measure_costs(predictor: Predictor) -> None:
    """Print the cost of a frame, and of an object in it."""
    frame = np.random.default_rng(0).integers(0, 255, (*SIZE_HW, 3), np.uint8)
    tracker = Sam2Tracker(predictor)
    features = tracker.encode(frame)
    attention, grid = tracker.memory.attention, features.features.grid
    with networks_of(tracker).autocast():
        begin = seconds(lambda: attention.begin(grid))
    shared = seconds(lambda: tracker.encode(frame)) + begin
    print(f"shared: {shared:.2f} s", flush=True)
    policies = {"plain": PLAIN, "pooled": POOLED}
    if tracker.memory.config.perceiver is not None:
        del policies["pooled"]
    for name, policy in policies.items():
        for radius in RADII:
            follow, remember = object_costs(Sam2Tracker(predictor, policy), features, radius)
            own = follow + remember
            print(
                f"{name}, radius {radius}: follow {follow:.2f} s, remember {remember:.2f} s;"
                f" ten objects take {(shared + 10 * own) / (shared + own):.2f} times the time of"
                " one",
                flush=True,
            )


def object_costs(tracker: Sam2Tracker, features: Sam2Features, radius: int) -> tuple[float, float]:
    """Processor time to follow an object by a full memory, and to remember it."""
    memory = tracker.start()

    def remember(index: int) -> None:
        shown = Prompts(mask_logits=disc(index, radius)[None, None])
        answer = tracker.prompt(features, memory, index, shown, None)
        tracker.memorise(features, memory, index, answer, prompted=index == 0, reverse=False)

    for index in range(FULL):
        remember(index)
    follow = seconds(lambda: tracker.track(features, [memory], FULL, reverse=False))
    found = tracker.track(features, [memory], FULL, reverse=False)[0]
    put = seconds(
        lambda: tracker.memorise(features, memory, FULL, found, prompted=False, reverse=False)
    )
    return follow, put


@torch.no_grad()
def measure_pooling(predictor: Predictor, folder: Path) -> None:
    """Print, for each sequence, what pooling changes."""
    tracker = Sam2Tracker(predictor, POOLED)
    for images in sorted((folder / "images").iterdir()):
        files = sorted(images.iterdir())
        masks = sorted((folder / "masks" / images.name).iterdir())
        if len(files) <= LOOKED_AT:
            continue
        frames = [
            remembered(tracker, files[at], masks[at], steps)
            for at, steps in zip(REMEMBERED, STEPS, strict=True)
        ]
        features = tracker.encode(np.asarray(read_image(files[LOOKED_AT])))
        grid = tracker.model.config.encoder.grid_size
        truth = cv2.resize(
            read_mask(masks[LOOKED_AT]).astype(np.float32),
            (grid, grid),
            interpolation=cv2.INTER_AREA,
        )
        inside = truth.reshape(-1) > 0.5
        pooling = pooling_for(frames, frames[-1].near, POOLED.pooled_cells)
        with networks_of(tracker).autocast():
            recall = tracker.memory.recall
            exact, pooled = (
                cells(recall(features.begun, frames, [], span=16, pooling=how))
                for how in (None, pooling)
            )
            before = tracker.memory.attention.norm(features.begun)[0].float().numpy()
        change = np.linalg.norm(pooled - exact) / np.linalg.norm(exact - before)
        ious = read_out(exact, inside, exact), read_out(exact, inside, pooled)
        print(
            f"{images.name}: {change:.1%} of the change is another; IoU of the read-out"
            f" {ious[0]:.3f}, pooled {ious[1]:.3f}",
            flush=True,
        )


def remembered(tracker: Sam2Tracker, image: Path, mask: Path, steps: int) -> RememberedFrame:
    """A frame with its true mask, as the memory has it."""
    features, memory = tracker.encode(np.asarray(read_image(image))), tracker.start()
    shown = Prompts(mask_logits=read_mask(mask)[None, None])
    answer = tracker.prompt(features, memory, 0, shown, None)
    tracker.memorise(features, memory, 0, answer, prompted=True, reverse=False)
    a_map = memory.prompted[0].map
    assert a_map is not None
    near = blocks_with(torch.from_numpy(answer.logits), tracker.num_blocks)
    return RememberedFrame(a_map.float(), steps, near)


def read_mask(path: Path) -> npt.NDArray[np.bool_]:
    """A mask file, inside where it is not 0."""
    return np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)) > 0


def cells(grid: Tensor) -> npt.NDArray[np.float32]:
    """The cells (N, C) of a grid (1, C, G, G)."""
    return np.asarray(grid[0].flatten(1).T.float().numpy())


def read_out(
    fitted: npt.NDArray[np.float32],
    inside: npt.NDArray[np.bool_],
    other: npt.NDArray[np.float32],
) -> float:
    """IoU with the mask of a linear read-out that was fitted to some cells, on others."""
    one, two = (np.pad(x, ((0, 0), (0, 1)), constant_values=1) for x in (fitted, other))
    weights = np.linalg.solve(one.T @ one + RIDGE * np.eye(one.shape[1]), one.T @ inside)
    found = two @ weights > 0.5
    return float((found & inside).sum() / (found | inside).sum())


def main() -> None:
    """Measure costs, or what pooling changes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="sam2.1_hiera_tiny", help="(default %(default)s)")
    parser.add_argument("--precision", default="float32", help="(default %(default)s)")
    parser.add_argument("--davis", type=Path, help="a folder with images/ and masks/")
    args = parser.parse_args()
    model = random_model(args.model)
    if args.davis:
        begin_from_likeness(model)
    backend = create_backend(model, backend="torch", precision=args.precision, threads=1)
    predictor = Predictor(model, model_name=args.model, backend=backend)
    if args.davis:
        measure_pooling(predictor, args.davis)
    else:
        measure_costs(predictor)


if __name__ == "__main__":
    main()
