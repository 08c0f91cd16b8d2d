"""First clicks answered by selection among masks of everything, beside the mask decoder's answers.

    python benchmarks/proposals_selection.py coco705/val.json --images 20 --masks-per-image 5

The click is in the middle of each true mask, as in the protocol `one-click`. `samkit.select`
answers it with the masks of the preset "instant", and, for what a better rule could reach at most,
with the best of the masks that contain the click; the decoder answers it with its top-ranked
candidate. Milliseconds are wall time of one click, without the embedding and, for the selection,
without the masks of everything, whose time is given by itself.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

import samkit
from proposals_presets import Embedded
from samkit.datasets import open_data
from samkit.evaluation.robot import first_click
from samkit.geometry import Rle, decode_rle, encode_rle, rle_area
from samkit.predict import EmbeddingCache, pixels_sha256
from samkit.proposals import PRESETS, AutoMasker

MIN_AREA_PX = 100
SEED = 0


def iou(one: Rle, other: Rle) -> float:
    """IoU of two masks of one image."""
    return float(coco_mask.iou([one], [other], [0])[0, 0])


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="COCO file")
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--masks-per-image", type=int, default=5)
    parser.add_argument("--model", default="mobile_sam_tuned")
    parser.add_argument("--head", type=Path, help="a proposal head instead of the package's")
    parser.add_argument("--embeddings", type=Path, help="folder of cached embeddings")
    args = parser.parse_args()
    predictor = samkit.Predictor.load(args.model, threads=1)
    config = PRESETS["instant"]
    if args.head is not None:
        config = replace(config, proposer=str(args.head))
    embedded = Embedded(predictor)
    masker = AutoMasker(embedded, config)
    source = open_data(f"coco:{args.data}")
    cache = None if args.embeddings is None else EmbeddingCache(args.embeddings, dtype="float16")
    ious: dict[str, list[float]] = {"selection": [], "best containing": [], "decoder": []}
    ms: dict[str, list[float]] = {"selection": [], "decoder": [], "everything": []}
    for index in range(min(args.images, len(source))):
        sample = source[index]
        key = pixels_sha256(sample.image)
        found = None if cache is None else cache.get(key, predictor.encoder_checksum)
        embedding = predictor.embed(sample.image) if found is None else found
        predictor.decoder.prepare(embedding)
        embedded.embedding = embedding
        started = time.perf_counter()
        masks = masker.generate(sample.image)
        ms["everything"].append(1000 * (time.perf_counter() - started))
        for truth in chosen(sample.without_void(sample.rles), index, args.masks_per_image):
            click = first_click(decode_rle(truth))
            point = [click.x, click.y]
            started = time.perf_counter()
            answer = samkit.select(masks, points=point)
            ms["selection"].append(1000 * (time.perf_counter() - started))
            ious["selection"].append(iou(answer.rles[0], truth) if len(answer) else 0.0)
            containing = [rle for rle in masks.rles if decode_rle(rle)[point[1], point[0]]]
            ious["best containing"].append(max((iou(rle, truth) for rle in containing), default=0))
            started = time.perf_counter()
            best = predictor.predict(embedding, points=[point], labels=[1]).best().masks[0]
            ms["decoder"].append(1000 * (time.perf_counter() - started))
            ious["decoder"].append(iou(encode_rle(best), truth))
    result = {
        "clicks": len(ious["decoder"]),
        "miou": {name: round(float(np.mean(values)), 3) for name, values in ious.items()},
        "median_ms": {name: round(float(np.median(values)), 1) for name, values in ms.items()},
    }
    print(json.dumps(result, indent=2))


def chosen(rles: tuple[Rle, ...], index: int, count: int) -> list[Rle]:
    """Masks of an image, drawn at random among those that are large enough."""
    large = [rle for rle in rles if rle_area(rle) >= MIN_AREA_PX]
    order: npt.NDArray[np.int64] = np.random.default_rng([SEED, index]).permutation(len(large))
    return [large[number] for number in order[:count].tolist()]


if __name__ == "__main__":
    main()
