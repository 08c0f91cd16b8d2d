"""Recall of annotated objects by automatic masks, and time, for presets and proposers.

    python benchmarks/proposals_presets.py coco705/val.json voc632/val.json --images 20 --work FILE

compares the procedures of `PROCEDURES` on the first images of COCO files: average recall of masks
at 10, 100 and 1000 masks per image, ranked by their scores, by COCO's matching without classes, and
recall at IoU 0.5 and 0.75 by the objects' size; CPU seconds of one thread and wall seconds, beyond
the embedding, which all have in common and which is measured by itself. All procedures of an image
run one after the other, so that ratios are of the same minute. Results are stored in the --work
file image by image; an interrupted run resumes. --head FILE takes another proposal head, and
--embeddings FOLDER is a cache of embeddings. --plot FILE draws recall over time.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import samkit
from samkit.datasets import Sample, open_data
from samkit.evaluation.coco_matching import AREAS, IOU_THRESHOLDS, found_truths, match_masks
from samkit.predict import EmbeddingCache, Predictor, pixels_sha256
from samkit.proposals import PRESETS, AutoMaskConfig, AutoMasker

PROCEDURES = {
    "grid 32 x 32": AutoMaskConfig(),
    "grid 32 x 32, adaptive": AutoMaskConfig(adaptive=True),
    "grid 16 x 16": AutoMaskConfig(points_per_side=16),
    "fast": PRESETS["fast"],
    "instant": PRESETS["instant"],
}
LIMITS = (10, 100, 1000)
SHOWN_IOUS = (0.5, 0.75)
EMBED = "embedding"

Record = dict[str, Any]


class Embedded:
    """A predictor for one image that is embedded already."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self.embedding: samkit.ImageEmbedding | None = None

    def embed(self, image: object) -> samkit.ImageEmbedding:  # noqa: ARG002 - always the same
        assert self.embedding is not None
        return self.embedding

    def __getattr__(self, name: str) -> Any:
        return getattr(self._predictor, name)


def measure(args: argparse.Namespace, work: Path) -> None:
    """Generate the masks that the work file lacks."""
    predictor = samkit.Predictor.load(args.model, threads=args.threads)
    cache = None if args.embeddings is None else EmbeddingCache(args.embeddings, dtype="float16")
    embedded = Embedded(predictor)
    maskers = {}
    for name in args.procedures:
        config = PROCEDURES[name]
        if args.head is not None and config.proposer == "learned":
            config = replace(config, proposer=str(args.head))
        maskers[name] = AutoMasker(embedded, config)
    done = {(one["data"], one["key"], one["procedure"]) for one in read(work)}
    with work.open("a") as file:
        for data, sample in samples(args.data, args.images):
            missing = [name for name in args.procedures if (data, sample.key, name) not in done]
            if not missing:
                continue
            seconds = embed(embedded, sample, cache)
            truths = sample.without_void(sample.rles)
            for name in missing:
                started, cpu = time.perf_counter(), time.process_time()
                masks = maskers[name].generate(sample.image)
                record = {
                    "data": data,
                    "key": sample.key,
                    "procedure": name,
                    "wall_s": time.perf_counter() - started,
                    "cpu_s": time.process_time() - cpu,
                    "embed_s": seconds,
                    "masks": len(masks),
                    **matched(masks, truths),
                }
                file.write(json.dumps(record) + "\n")
                file.flush()
                print(
                    f"{data} {sample.key} {name}: {len(masks)} masks, {record['cpu_s']:.2f} s",
                    file=sys.stderr,
                )


def embed(embedded: Embedded, sample: Sample, cache: EmbeddingCache | None) -> float | None:
    """Embed an image; return the CPU seconds, or None if it was in the cache."""
    predictor, key = embedded._predictor, pixels_sha256(sample.image)  # noqa: SLF001
    found = None if cache is None else cache.get(key, predictor.encoder_checksum)
    seconds = None
    if found is None:
        started = time.process_time()
        found = predictor.embed(sample.image)
        seconds = time.process_time() - started
        if cache is not None:
            found = cache.put(key, found)
    predictor.decoder.prepare(found)
    embedded.embedding = found
    return seconds


def matched(masks: samkit.Masks, truths: Any) -> Record:
    """Numbers of true masks, and of those found, by area, limit and IoU threshold."""
    matches = match_masks(masks.rles, masks.scores, truths, max_masks=LIMITS[-1])
    found = [found_truths(one, LIMITS).tolist() for one in matches]
    return {"truths": [one.truths for one in matches], "found": found}


def samples(files: list[Path], images: int) -> Iterator[tuple[str, Sample]]:
    """The first images of each file, in turns."""
    sources = [(path.parent.name, open_data(f"coco:{path}")) for path in files]
    for index in range(images):
        for name, source in sources:
            if index < len(source):
                yield name, source[index]


def read(work: Path) -> list[Record]:
    """The records of a work file."""
    return [json.loads(line) for line in work.read_text().splitlines()] if work.exists() else []


def table(records: list[Record], procedures: list[str]) -> str:
    """Markdown table, one row for each procedure and data set."""
    heads = ["data", "procedure", "images", *(f"AR@{limit}" for limit in LIMITS)]
    heads += [f"recall at {iou:g}, {area}" for iou in SHOWN_IOUS for area in AREAS]
    rows = [[*heads, "masks", "CPU s, median", "of the first"], ["---"] * (len(heads) + 3)]
    for data in dict.fromkeys(record["data"] for record in records):
        own = {
            name: {
                one["key"]: one
                for one in records
                if (one["data"], one["procedure"]) == (data, name)
            }
            for name in procedures
        }
        common = set.intersection(*(set(by_key) for by_key in own.values()))
        for name in procedures:
            of_name = [own[name][key] for key in sorted(common)]
            first = [own[procedures[0]][key] for key in sorted(common)]
            rows.append(row(data, name, of_name, first))
    return "\n".join(f"| {' | '.join(one)} |" for one in rows)


def row(data: str, name: str, records: list[Record], first: list[Record]) -> list[str]:
    """One row of the table."""
    truths = np.sum([one["truths"] for one in records], axis=0)
    found = np.sum([one["found"] for one in records], axis=0)
    recall: npt.NDArray[np.float64] = found / np.maximum(truths, 1)[:, None, None]
    cells = [f"{value:.3f}" for value in recall[0].mean(axis=1)]
    for iou in SHOWN_IOUS:
        at = int(np.argmin(np.abs(IOU_THRESHOLDS - iou)))
        cells += [f"{value:.3f}" for value in recall[:, -1, at]]
    share = sum(one["cpu_s"] for one in records) / sum(one["cpu_s"] for one in first)
    seconds = np.median([one["cpu_s"] for one in records])
    masks = np.mean([one["masks"] for one in records])
    return [data, name, str(len(records)), *cells, f"{masks:.0f}", f"{seconds:.2f}", f"{share:.3f}"]


def draw(records: list[Record], procedures: list[str], path: Path) -> None:
    """Draw average recall at 100 masks over the seconds of a thread, a panel for each data set."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    sets = list(dict.fromkeys(record["data"] for record in records))
    figure, axes = plt.subplots(1, len(sets), figsize=(5 * len(sets), 4), squeeze=False)
    for axis, data in zip(axes[0], sets, strict=True):
        for name in procedures:
            own = [one for one in records if (one["data"], one["procedure"]) == (data, name)]
            if not own:
                continue
            found = np.sum([one["found"] for one in own], axis=0)[0]
            truths = np.sum([one["truths"] for one in own], axis=0)[0]
            seconds = np.median([one["cpu_s"] for one in own])
            recall = found[LIMITS.index(100)].mean() / truths
            axis.plot(seconds, recall, "o", label=name, markersize=9)
        axis.set(title=data, xlabel="seconds of one thread, after the embedding")
        axis.set_ylabel("average recall at 100 masks")
        axis.set_xlim(left=0)
        axis.margins(y=0.15)
        axis.grid(alpha=0.3)
    axes[0, -1].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Generate missing masks, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="+", type=Path, help="COCO files")
    parser.add_argument("--work", type=Path, required=True, help="JSON lines of the results")
    parser.add_argument("--images", type=int, default=20, help="of each file (default 20)")
    parser.add_argument("--procedures", nargs="+", default=list(PROCEDURES), choices=PROCEDURES)
    parser.add_argument("--model", default="mobile_sam_tuned", help="name or checkpoint")
    parser.add_argument("--head", type=Path, help="a proposal head instead of the package's")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    parser.add_argument("--embeddings", type=Path, help="folder of cached embeddings")
    parser.add_argument("--plot", type=Path, help="PNG of recall over time")
    args = parser.parse_args()
    measure(args, args.work)
    print(table(read(args.work), args.procedures))
    if args.plot is not None:
        draw(read(args.work), args.procedures, args.plot)


if __name__ == "__main__":
    main()
