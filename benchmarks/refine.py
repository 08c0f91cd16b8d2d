"""How much better clicks are used by `refine="fast"` and `refine="best"`, by size of the object.

    python benchmarks/refine.py coco.json --model tuned.safetensors --per-size 60

Prints, for each level and size, NoC@85, @90 and @95 at most 20 clicks, the IoU after 1, 2, 3 and 5
clicks, milliseconds per click with the encoding of crops, and crops encoded per mask. Masks are
chosen as `samkit evaluate` does, of images in a fixed random order. One image after another, one
thread; all masks of an image are clicked one by one, as a person does.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from samkit import Predictor
from samkit.datasets import SampleSource, open_data
from samkit.evaluation import MaskChoice
from samkit.evaluation.interactive import click_masks, clicks_to_reach
from samkit.geometry import decode_rle
from samkit.predict import REFINE_LEVELS, EmbeddingCache, pixels_sha256

SIZES = {"< 1%": 0.01, "1-10%": 0.1, "> 10%": 1.01}
TARGETS = (0.85, 0.90, 0.95)
MASKS_PER_IMAGE = 4  # of one size, so that a crowded image does not decide


@dataclass(frozen=True, kw_only=True)
class Clicked:
    """One mask: IoU after each click, and what it cost."""

    size: str
    ious: list[float]
    seconds: float
    crops: int


class CountingPredictor:
    """A predictor that counts the crops it encodes and the calls it answers."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor, self.crops = predictor, 0
        encode = predictor.crops.encode

        def counted(pixels: Any) -> Any:
            self.crops += 1
            return encode(pixels)

        predictor.crops.encode = counted


def chosen_masks(source: SampleSource, per_size: int, seed: int) -> list[tuple[int, int, str]]:
    """Choose masks: image, mask and size, image by image."""
    left = dict.fromkeys(SIZES, per_size)
    found = []
    for index in np.random.default_rng(seed).permutation(len(source)).tolist():
        if not any(left.values()):
            break
        sample = source[index]
        own = dict.fromkeys(SIZES, 0)
        for number in MaskChoice().choose(sample):
            share = float(decode_rle(sample.rles[number]).mean())
            size = next(name for name, limit in SIZES.items() if share < limit)
            if left[size] and own[size] < MASKS_PER_IMAGE:
                left[size] -= 1
                own[size] += 1
                found.append((index, number, size))
    return found


def measure(
    counting: CountingPredictor,
    source: SampleSource,
    chosen: list[tuple[int, int, str]],
    *,
    refine: Any,
    max_clicks: int,
    cache: EmbeddingCache | None,
) -> list[Clicked]:
    """Click the chosen masks at one level."""
    predictor, found = counting.predictor, []
    last, sample, embedding = None, None, None
    for index, number, size in chosen:
        if index != last:
            last, sample = index, source[index]
            embedding = None
            if cache is not None:
                key = pixels_sha256(sample.image), predictor.encoder_checksum
                embedding = cache.get(*key)
            if embedding is None:
                embedding = predictor.embed(sample.image)
            predictor.decoder.prepare(embedding)
        assert sample is not None
        assert embedding is not None
        crops, start_s = counting.crops, time.process_time()
        mask = decode_rle(sample.rles[number])
        (clicked,) = click_masks(
            predictor,
            embedding,
            [mask],
            max_clicks=max_clicks,
            refine=refine,
            image=sample.image,
        )
        seconds = time.process_time() - start_s
        found.append(
            Clicked(size=size, ious=clicked.ious, seconds=seconds, crops=counting.crops - crops)
        )
    return found


def row(name: str, found: list[Clicked], max_clicks: int) -> str:
    """A line of the table."""
    nocs = [
        np.mean([clicks_to_reach(one.ious, target, max_clicks) for one in found])
        for target in TARGETS
    ]
    after = [
        np.mean([one.ious[min(clicks, len(one.ious)) - 1] for one in found])
        for clicks in (1, 2, 3, 5)
    ]
    ms = 1000 * sum(one.seconds for one in found) / sum(len(one.ious) for one in found)
    crops = sum(one.crops for one in found) / len(found)
    values = " | ".join([*(f"{n:.2f}" for n in nocs), *(f"{a:.3f}" for a in after)])
    return f"| {name} | {len(found)} | {values} | {ms:.0f} | {crops:.2f} |"


@click.command()
@click.argument("data", nargs=-1, required=True)
@click.option("--model", default="mobile_sam", show_default=True)
@click.option("--per-size", default=60, show_default=True, help="Masks of each size and data set.")
@click.option("--max-clicks", default=20, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--refine", "levels", multiple=True, default=REFINE_LEVELS, show_default=True)
@click.option("--embeddings", type=click.Path(path_type=Path), help="Folder of embeddings to use.")
def main(
    *,
    data: tuple[str, ...],
    model: str,
    per_size: int,
    max_clicks: int,
    seed: int,
    levels: tuple[str, ...],
    embeddings: Path | None,
) -> None:
    """Measure all levels on the same masks."""
    counting = CountingPredictor(Predictor.load(model, threads=1))
    cache = None if embeddings is None else EmbeddingCache(embeddings, dtype="float16")
    sources = {one: open_data(one) for one in data}
    chosen = {one: chosen_masks(source, per_size, seed) for one, source in sources.items()}
    click.echo("| size | masks | NoC@85 | @90 | @95 | IoU 1 | 2 | 3 | 5 | ms/click | crops/mask |")
    click.echo("|---|---|---|---|---|---|---|---|---|---|---|")
    for level in levels:
        found = []
        for one, source in sources.items():
            found += measure(
                counting,
                source,
                chosen[one],
                refine=level,
                max_clicks=max_clicks,
                cache=cache,
            )
        for size in SIZES:
            own = [one for one in found if one.size == size]
            if own:
                click.echo(row(f"{level}, {size}", own, max_clicks))
        click.echo(row(f"{level}, all", found, max_clicks))


if __name__ == "__main__":
    main()
