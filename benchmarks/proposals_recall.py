"""Recall of human segmentations in BSDS500 by automatic masks, compared with a reference.

    python benchmarks/proposals_recall.py reference torch:float32 openvino:bf16 --work recall.jsonl

compares "reference" (tests/reference: the plain decoder and the plain procedure, float32) with
`AutoMasker`, for each BACKEND[:PRECISION] that `Predictor.load` accepts. Masks are stored in the
--work file image by image: an interrupted run resumes, and images or procedures can be added.
Stored
masks are not recomputed after a change of the code: use a new file. Prints a Markdown table;
--output FOLDER also writes it, and the numbers as JSON.

Metrics. Each image of BSDS500 was segmented by about 5 people, each covering all of it with
disjoint regions. All regions of all annotators count equally, pooled over the images:

- average recall (AR): fraction of regions for which some mask has an IoU of at least t, averaged
  over t = 0.50, 0.55, ... 0.95, with at most 1000 masks per image, by predicted IoU. Masks are
  class-agnostic and may overlap.
- COCO matches masks and regions one to one. Here each annotator is evaluated separately (one mask
  may match the same object of two annotators), and among the disjoint regions of one annotator a
  mask can have an IoU over 0.5 with only one: the best mask of each region is the matching.
- annotators disagree on detail, so that no method can reach 1; only differences between procedures
  on the same images are meaningful. They are given with their standard error over images.
"""

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

HERE = Path(__file__).parent
DATA = HERE.parent / "../shared/data/bsds500"
IOU_THRESHOLDS = np.arange(0.50, 0.96, 0.05)
MAX_MASKS = 1000
MATCHED_IOU = 0.5  # minimum IoU of a found region, for the mean IoU of matched masks
PARTNER_IOUS = (0.9, 0.99)  # IoU of masks that equal the reference's, approximately and closely
# The answers equal those of batches of 64, as in the reference, which are slower on a CPU.
REFERENCE_POINTS_AT_ONCE = 8

Array = npt.NDArray[Any]
Segment = Callable[[Array], tuple[list[dict[str, Any]], list[float]]]


def reference_procedure(model_name: str, points_per_side: int) -> Segment:
    """The plain procedure on the plain decoder."""
    sys.path.insert(0, str(HERE.parent / "tests"))
    from reference.automask import Settings, find_masks, reference_model
    from samkit.geometry import encode_rle
    from samkit.weights.load import load_model

    model = reference_model(load_model(model_name).model)
    settings = Settings(
        points_per_side=points_per_side, points_at_once=REFERENCE_POINTS_AT_ONCE, crop_layers=0
    )

    def segment(image: Array) -> tuple[list[dict[str, Any]], list[float]]:
        found = find_masks(model, image, settings)
        return [dict(encode_rle(mask)) for mask in found.masks], found.scores.tolist()

    return segment


def auto_masker(spec: str, model_name: str, points_per_side: int) -> Segment:
    """`AutoMasker` on BACKEND or BACKEND:PRECISION."""
    import samkit
    from samkit.proposals import AutoMaskConfig, AutoMasker

    backend, _, precision = spec.partition(":")
    chosen = {"backend": backend} | ({"precision": precision} if precision else {})
    predictor = samkit.Predictor.load(model_name, **chosen)
    masker = AutoMasker(predictor, AutoMaskConfig(points_per_side=points_per_side, crop_layers=0))

    def segment(image: Array) -> tuple[list[dict[str, Any]], list[float]]:
        masks = masker.generate(image)
        return [dict(rle) for rle in masks.rles], masks.scores.tolist()

    return segment


@dataclass(frozen=True, kw_only=True)
class InputImage:
    """An image of BSDS500 with the regions of all annotators."""

    name: str
    path: Path
    regions: list[dict[str, Any]]


def read_images(data: Path, count: int) -> list[InputImage]:
    """The first images of the validation part, by id."""
    coco = json.loads((data / "val.json").read_text())
    regions = defaultdict(list)
    for annotation in coco["annotations"]:
        regions[annotation["image_id"]].append(annotation["segmentation"])
    images = sorted(coco["images"], key=lambda image: image["id"])[:count]
    return [
        InputImage(
            name=image["file_name"],
            path=data / "val" / image["file_name"],
            regions=regions[image["id"]],
        )
        for image in images
    ]


class MaskStore:
    """Masks generated so far: one JSON line per procedure and image."""

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self.path, self.settings = path, settings
        self.records: dict[tuple[str, str], dict[str, Any]] = {}
        lines = path.read_text().splitlines() if path.exists() else []
        for line in lines:
            try:
                record = json.loads(line)
            except json.JSONDecodeError:  # the run was interrupted while writing
                continue
            if record["settings"] == settings:
                self.records[record["procedure"], record["image"]] = record

    def add(self, procedure: str, image: str, result: dict[str, Any]) -> None:
        record = {"settings": self.settings, "procedure": procedure, "image": image, **result}
        self.records[procedure, image] = record
        with self.path.open("a") as file:
            file.write(json.dumps(record) + "\n")


def make_masks(args: argparse.Namespace, images: list[InputImage], stored: MaskStore) -> None:
    """Segment all images that are not stored yet, one procedure after the other."""
    from samkit.formats import read_image

    for procedure in args.procedures:
        missing = [image for image in images if (procedure, image.name) not in stored.records]
        if not missing:
            continue
        if procedure == "reference":
            segment = reference_procedure(args.model, args.points)
        else:
            segment = auto_masker(procedure, args.model, args.points)
        segment(read_image(missing[0].path))  # backends compile at first use
        for number, image in enumerate(missing, start=1):
            pixels = read_image(image.path)
            start = time.perf_counter()
            rles, scores = segment(pixels)
            seconds = time.perf_counter() - start
            stored.add(procedure, image.name, {"seconds": seconds, "rles": rles, "scores": scores})
            print(
                f"{procedure}: {image.name}, {number} of {len(missing)},"
                f" {len(rles)} masks, {seconds:.1f} s",
                file=sys.stderr,
            )


def best_ious(targets: list[dict[str, Any]], masks: list[dict[str, Any]]) -> Array:
    """IoU (T,) of the best mask for each target."""
    if not masks or not targets:
        return np.zeros(len(targets))
    best: Array = coco_mask.iou(masks, targets, [0] * len(targets)).max(axis=0)
    return best


def recall_at(ious: Array, thresholds: Array) -> Array:
    """Fraction of regions found at each threshold; 5e-10 allows for rounding."""
    return (ious[:, None] >= thresholds - 5e-10).mean(axis=0)


def ranked(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The masks that count, sorted by predicted IoU."""
    order = np.argsort(-np.array(record["scores"]), kind="stable")[:MAX_MASKS]
    return [record["rles"][i] for i in order]


def measure(procedure: str, images: list[InputImage], stored: MaskStore) -> dict[str, Any]:
    """All numbers of one procedure."""
    records = [stored.records[procedure, image.name] for image in images]
    ious = [
        best_ious(image.regions, ranked(record))
        for image, record in zip(images, records, strict=True)
    ]
    pooled = np.concatenate(ious)
    recalls = recall_at(pooled, IOU_THRESHOLDS)
    found = pooled[pooled >= MATCHED_IOU]
    by_iou = zip(IOU_THRESHOLDS, recalls, strict=True)
    out = {
        "procedure": procedure,
        "images": len(images),
        "regions": len(pooled),
        "average_recall": float(recalls.mean()),
        "recall_by_iou": {f"{t:.2f}": float(r) for t, r in by_iou},
        "mean_iou_of_matched": float(found.mean()) if len(found) else 0.0,
        "masks_per_image": float(np.mean([len(record["rles"]) for record in records])),
        "seconds_per_image": float(np.median([record["seconds"] for record in records])),
        "average_recall_by_image": [float(recall_at(i, IOU_THRESHOLDS).mean()) for i in ious],
    }
    if procedure != "reference" and all(("reference", p.name) in stored.records for p in images):
        out["against_reference"] = against_reference(out, images, stored)
    return out


def against_reference(
    measured: dict[str, Any], images: list[InputImage], stored: MaskStore
) -> dict[str, float]:
    """Difference in recall per image, and the fractions of masks with a counterpart."""
    reference = measure("reference", images, stored)
    differences = np.subtract(
        measured["average_recall_by_image"], reference["average_recall_by_image"]
    )
    forth, back = [], []
    for image in images:
        own = stored.records[measured["procedure"], image.name]["rles"]
        theirs = stored.records["reference", image.name]["rles"]
        forth.append(best_ious(theirs, own))
        back.append(best_ious(own, theirs))
    forth_ious, back_ious = np.concatenate(forth), np.concatenate(back)
    out = {
        "average_recall": measured["average_recall"] - reference["average_recall"],
        "average_recall_by_image": float(differences.mean()),
        "standard_error": float(differences.std(ddof=1) / len(images) ** 0.5)
        if len(images) > 1
        else float("nan"),
    }
    for iou in PARTNER_IOUS:
        out[f"reference_masks_with_partner_{iou}"] = float((forth_ious >= iou).mean())
        out[f"own_masks_with_partner_{iou}"] = float((back_ious >= iou).mean())
    return out


def table(results: list[dict[str, Any]]) -> str:
    """Markdown table with one row per procedure."""
    partner_heads = [f"reference's masks found again (IoU {iou})" for iou in PARTNER_IOUS]
    heads = [
        "procedure",
        "AR@1000",
        "recall at IoU 0.5",
        "recall at IoU 0.75",
        "mean IoU of matched",
        "masks per image",
        "AR per image, minus the reference's",
        *partner_heads,
    ]
    rows = [heads, ["---"] * len(heads)]
    for result in results:
        other = result.get("against_reference")
        row = [
            result["procedure"],
            f"{result['average_recall']:.4f}",
            f"{result['recall_by_iou']['0.50']:.4f}",
            f"{result['recall_by_iou']['0.75']:.4f}",
            f"{result['mean_iou_of_matched']:.4f}",
            f"{result['masks_per_image']:.1f}",
        ]
        if other:
            row += [f"{other['average_recall_by_image']:+.4f} ± {other['standard_error']:.4f}"]
            row += [f"{other[f'reference_masks_with_partner_{iou}']:.1%}" for iou in PARTNER_IOUS]
        else:
            row += [""] * (len(heads) - len(row))
        rows.append(row)
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> None:
    """Generate missing masks, then measure all procedures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("procedures", nargs="+", help='"reference" or BACKEND[:PRECISION]')
    parser.add_argument(
        "--work", type=Path, required=True, help="JSON lines file for the generated masks"
    )
    parser.add_argument("--images", type=int, default=40, help="number of images (default 40)")
    parser.add_argument("--points", type=int, default=16, help="points per side (default 16)")
    parser.add_argument("--model", default="mobile_sam", help="name or checkpoint")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of BSDS500 as COCO")
    parser.add_argument("--output", type=Path, help="folder for proposals_recall.md and .json")
    args = parser.parse_args()

    images = read_images(args.data, args.images)
    stored = MaskStore(args.work, {"model": args.model, "points_per_side": args.points})
    make_masks(args, images, stored)
    results = [measure(procedure, images, stored) for procedure in args.procedures]
    title = (
        f"{args.model}, {args.points} x {args.points} points, {len(images)} images of BSDS500 val,"
        f" {results[0]['regions']} regions of all annotators"
    )
    text = f"{title}\n\n{table(results)}\n"
    print(text)
    if args.output:
        args.output.mkdir(parents=True, exist_ok=True)
        (args.output / "proposals_recall.md").write_text(text)
        content = {"title": title, "results": results}
        (args.output / "proposals_recall.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
