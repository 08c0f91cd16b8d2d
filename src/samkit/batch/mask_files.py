"""Writing of one image's automatic masks in the chosen formats."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from samkit.batch.inputs import InputImage
    from samkit.types import Masks

# Suffix of each format's file, appended to the image's base. A COCO file holds all images, and a
# shard many.
SUFFIXES = {
    "sa1b": ".json",
    "yolo": ".txt",
    "label": "_labels.png",
    "png": "_masks",
    "geojson": ".geojson",
    "overlay": "_overlay.png",
}
COCO_NAME = "coco.json"
FORMATS = ("sa1b", "shards", "coco", "yolo", "label", "png", "geojson", "overlay")
DEFAULT_FORMATS = ("sa1b", "overlay")
MASK_NAME = "{number:04d}.png"


def write_mask_files(
    folder: Path,
    image: InputImage,
    pixels: npt.NDArray[np.uint8] | None,
    masks: Masks,
    formats: Collection[str],
    *,
    classes: Sequence[str] = (),
) -> dict[str, list[str]]:
    """Write one image's results below a folder.

    Args:
        image: image whose `base` names the results.
        pixels: image for the overlay; None if it is too large to be in memory.
        formats: keys of `SUFFIXES`; others are ignored.
        classes: all class names, in the order of YOLO's numbers.

    Returns:
        names of the files below the folder, by format.
    """
    from samkit.files import write_bytes
    from samkit.formats import geojson_collection, label_map, write_png, write_sa1b, yolo_labels

    paths = {name: folder / f"{image.base}{suffix}" for name, suffix in SUFFIXES.items()}
    paths["overlay"].parent.mkdir(parents=True, exist_ok=True)
    files = {name: [path] for name, path in paths.items() if name in formats}
    if "sa1b" in formats:
        write_sa1b(paths["sa1b"], masks, file_name=image.name)
    if "yolo" in formats:
        numbers = class_numbers(masks, classes)
        write_bytes(paths["yolo"], yolo_labels(masks, class_numbers=numbers).encode())
    if "label" in formats:
        write_png(paths["label"], label_map(masks))
    if "png" in formats:
        files["png"] = write_each_mask(paths["png"], masks)
    if "geojson" in formats:
        names = None if masks.phrases is None else [name or None for name in masks.phrases]
        document = geojson_collection(masks, class_names=names)
        write_bytes(paths["geojson"], json.dumps(document).encode())
    if "overlay" in formats:
        if pixels is None:
            files["overlay"] = []
        else:
            write_png(paths["overlay"], masks.overlay(pixels))
    return {
        name: [path.relative_to(folder).as_posix() for path in written]
        for name, written in files.items()
    }


def class_numbers(masks: Masks, classes: Sequence[str]) -> list[int] | None:
    """Return YOLO's class number of each mask; masks without a class get the next free number."""
    if masks.phrases is None:
        return None
    return [classes.index(one) if one in classes else len(classes) for one in masks.phrases]


def write_each_mask(folder: Path, masks: Masks) -> list[Path]:
    """Write each mask as a PNG of 0 and 255, numbered from 1; return the paths."""
    from samkit.formats import write_mask_png
    from samkit.geometry import decode_rle

    folder.mkdir(exist_ok=True)
    return [
        write_mask_png(folder / MASK_NAME.format(number=number), decode_rle(rle))
        for number, rle in enumerate(masks.rles, start=1)
    ]


def remove_stale_masks(output: Path, image: InputImage, written: Collection[str]) -> None:
    """Remove an image's mask pictures that an earlier run wrote but this one did not."""
    folder = output / f"{image.base}{SUFFIXES['png']}"
    for path in folder.glob("*.png"):
        is_ours = path.stem.isdecimal() and path.name == MASK_NAME.format(number=int(path.stem))
        if is_ours and path.relative_to(output).as_posix() not in written:
            path.unlink()
