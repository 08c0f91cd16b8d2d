"""How much closer `fine=True` brings outlines to the true ones, and at what cost.

    python benchmarks/detail.py nuclei80/val.json --frames davis_dev

A simulated person clicks each mask up to five times, each answer continuing from the last one's
logits; the last answer is cut with and without `fine`. Prints IoU, boundary IoU at 2% of the
image's diagonal and at 5 and 2 pixels, differences with 95% intervals of a paired bootstrap over
images (of frames: over sequences), and milliseconds of processor time for each mask.

Source of boundary IoU: Cheng et al., arXiv:2103.16562.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import click
import cv2
import numpy as np

from samkit import MaskPrediction, Predictor, read_image
from samkit.arrays import BoolArray, RgbImage
from samkit.datasets import open_data
from samkit.evaluation.paired import GroupSums, compare, draw_groups
from samkit.evaluation.robot import first_click, next_click
from samkit.evaluation.truth import mask_iou
from samkit.geometry import decode_rle
from samkit.predict import EmbeddingCache, pixels_sha256
from samkit.types import ImageEmbedding

DIAGONAL_SHARE = 0.02
METRICS = ("IoU", "boundary IoU, 2%", "5 px", "2 px")


@dataclass(frozen=True, kw_only=True, eq=False)
class Target:
    """An image and the true masks to click in it; images of a group are alike."""

    group: str
    image: RgbImage
    masks: list[BoolArray]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One mask: the metrics (4,) without and with `fine`, and its cost."""

    group: str
    plain: list[float]
    fine: list[float]
    seconds: float


def boundary(mask: BoolArray, distance_px: int) -> BoolArray:
    """The pixels of a mask (H, W) within a distance of its outline; the image's edge is one."""
    framed = cv2.copyMakeBorder(mask.view(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    core = cv2.erode(framed, np.ones((3, 3), np.uint8), iterations=distance_px)[1:-1, 1:-1]
    return mask & (core == 0)


def metrics(found: BoolArray, truth: BoolArray) -> list[float]:
    """IoU, and boundary IoU at each distance."""
    diagonal = float(np.hypot(*truth.shape))
    distances = (max(1, round(DIAGONAL_SHARE * diagonal)), 5, 2)
    return [mask_iou(found, truth)] + [
        mask_iou(boundary(found, distance), boundary(truth, distance)) for distance in distances
    ]


def clicked(
    predictor: Predictor, embedding: ImageEmbedding, truth: BoolArray, clicks: int
) -> MaskPrediction:
    """The answer to the last of some clicks."""
    given = [first_click(truth)]
    answer = None
    while True:
        answer = predictor.predict(
            embedding,
            points=[(one.x, one.y) for one in given],
            labels=[int(one.is_foreground) for one in given],
            mask_logits=None if answer is None else answer.logits[0],
            multimask=answer is None,
        ).best()
        another = next_click(truth, answer.masks[0], given)
        if another is None or len(given) == clicks:
            return answer
        given.append(another)


def measure(
    predictor: Predictor, targets: Iterator[Target], clicks: int, cache: EmbeddingCache | None
) -> list[Measured]:
    """Click all masks, and cut each answer both ways."""
    found = []
    for target in targets:
        image, embedding = target.image, None
        if cache is not None:
            embedding = cache.get(pixels_sha256(image), predictor.encoder_checksum)
        if embedding is None:
            embedding = predictor.embed(image)
        for truth in target.masks:
            answer = clicked(predictor, embedding, truth, clicks)
            fine = replace(answer, guide=image)
            start_s = time.process_time()
            masks = fine.masks
            seconds = time.process_time() - start_s
            plain = metrics(answer.masks[0], truth)
            found.append(
                Measured(
                    group=target.group,
                    plain=plain,
                    fine=metrics(masks[0], truth),
                    seconds=seconds,
                )
            )
    return found


def frames(folder: Path, places: list[float]) -> Iterator[Target]:
    """Frames of each sequence in a folder like DAVIS's, at shares of its length."""
    for sequence in sorted((folder / "images").iterdir()):
        files = sorted(sequence.iterdir())
        for place in places:
            file = files[int(place * (len(files) - 1))]
            truth = cv2.imread(
                str(folder / "masks" / sequence.name / f"{file.stem}.png"), cv2.IMREAD_GRAYSCALE
            )
            if np.count_nonzero(truth) >= 500:
                yield Target(group=sequence.name, image=read_image(file), masks=[truth > 0])


def samples(data: str, images: int, per_image: int, min_area_px: int) -> Iterator[Target]:
    """Images of a data set with some of their masks, chosen at random."""
    source = open_data(data)
    for index in range(min(images, len(source))):
        sample = source[index]
        order = np.random.default_rng(index).permutation(len(sample.rles))[:per_image]
        masks = [decode_rle(sample.rles[number]) for number in order]
        masks = [mask for mask in masks if np.count_nonzero(mask) >= min_area_px]
        yield Target(group=str(index), image=sample.image, masks=masks)


def show(name: str, found: list[Measured]) -> None:
    """Print the lines of one data set."""
    groups = [one.group for one in found]
    weights = draw_groups(len(set(groups)), np.random.default_rng(0))
    for number, metric in enumerate(METRICS):
        plain, fine = (
            GroupSums.of([(values[number], 1) for values in column], groups)
            for column in ([one.plain for one in found], [one.fine for one in found])
        )
        result = compare(plain, fine, weights)
        low, high = result.interval
        click.echo(
            f"| {name} | {len(found)} | {metric} | {result.baseline:.4f} | {result.value:.4f}"
            f" | {result.difference:+.4f} ({low:+.4f} to {high:+.4f}) |"
        )
    ms = 1000 * float(np.mean([one.seconds for one in found]))
    click.echo(f"{name}: {ms:.1f} ms for each mask")


@click.command()
@click.argument("data", nargs=-1)
@click.option("--frames", "folder", type=click.Path(path_type=Path), help="Folder like DAVIS's.")
@click.option("--place", "places", type=float, multiple=True, default=(1 / 3, 1.0))
@click.option("--model", default="mobile_sam", show_default=True)
@click.option("--clicks", default=5, show_default=True)
@click.option("--images", default=100, show_default=True, help="Images of a data set.")
@click.option("--per-image", default=8, show_default=True, help="Masks of an image.")
@click.option("--min-area", default=30, show_default=True, help="Smallest masks, in pixels.")
@click.option("--embeddings", type=click.Path(path_type=Path), help="Folder of embeddings to use.")
def main(
    *,
    data: tuple[str, ...],
    folder: Path | None,
    places: tuple[float, ...],
    model: str,
    clicks: int,
    images: int,
    per_image: int,
    min_area: int,
    embeddings: Path | None,
) -> None:
    """Measure masks with and without `fine`."""
    predictor = Predictor.load(model, threads=1)
    cache = None if embeddings is None else EmbeddingCache(embeddings, dtype="float16")
    click.echo("| images | masks | metric | plain | fine | difference (95% interval) |")
    click.echo("|---|---|---|---|---|---|")
    if folder is not None:
        found = measure(predictor, frames(folder, list(places)), clicks, cache)
        show(folder.name, found)
    for one in data:
        show(
            Path(one).parent.name,
            measure(predictor, samples(one, images, per_image, min_area), clicks, cache),
        )


if __name__ == "__main__":
    main()
