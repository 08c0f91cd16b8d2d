"""COCO data sets: one JSON file of instance masks, and a folder of images."""

import json
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from samkit.datasets.sample import Sample
from samkit.errors import DataError
from samkit.formats import read_image
from samkit.formats.segmentations import read_numbered_rles

IMAGES_TRIED = 32  # to find the folder: so many of the first may be missing
PREFIX = "instances_"  # COCO's own names: annotations/instances_val2017.json beside val2017/


class CocoData:
    """Images and masks of a COCO JSON file.

    Masks may be polygons, run-length codes or such with plain counts. Annotations of crowds
    (`iscrowd`) are no instances and left out. What a mask is called is its category's name.

    Attributes:
        path: the JSON file.
        folder: where the images are.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, images: str | os.PathLike[str] | None = None
    ) -> None:
        """Read the JSON file and find the images.

        Args:
            path: the JSON file.
            images: folder of the images; by default a folder with the JSON file's name (or what
                follows `instances_` in it) beside the file or its folder, or the file's own folder.

        Raises:
            DataError: not a COCO file, or none of its images are found.
        """
        self.path = Path(path)
        document = read_json(self.path)
        entries, annotations = _lists(document, self.path)
        self._images = entries
        self._segmentations = _by_image(entries, annotations)
        self._names = _category_names(document)
        self._keys = _unique_keys(entries)
        self.folder = _find_folder(self.path, entries, None if images is None else Path(images))

    def __len__(self) -> int:
        return len(self._images)

    def key(self, index: int) -> str:
        return self._keys[index]

    def __getitem__(self, index: int) -> Sample:
        entry, key = self._images[index], self.key(index)
        if not _is_image(entry):
            raise DataError(f"{self.path}: not an image's entry: {entry!r:.60}")
        image = read_image(self.folder / entry["file_name"])
        height, width = image.shape[:2]
        check_size(self.folder / entry["file_name"], entry, (height, width))
        annotations = json.loads(self._segmentations[index])
        rles, faults = read_numbered_rles((one for one, _ in annotations), (height, width))
        return Sample(
            key=key,
            image=image,
            rles=tuple(rles.values()),
            faults=faults,
            phrases=tuple(self._names.get(repr(annotations[place][1]), "") for place in rles),
        )


def read_json(path: Path) -> Any:
    """Any JSON file.

    Raises:
        DataError: missing, or not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON: {error}") from error


def check_size(name: object, entry: Mapping[str, Any], size_hw: tuple[int, int]) -> None:
    """Check an image's size against what its entry says, where it does.

    Raises:
        DataError: it is another; masks would lie in the wrong place.
    """
    said = (entry.get("height", size_hw[0]), entry.get("width", size_hw[1]))
    if said != size_hw:
        raise DataError(
            f"{name} is {size_hw[1]} x {size_hw[0]} pixels, but"
            f" {said[1]!r:.20} x {said[0]!r:.20} in its annotations"
        )


def _is_image(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("file_name"), str)
        and isinstance(entry.get("id"), int | str)
    )


def _lists(document: Any, path: Path) -> tuple[list[Any], list[Any]]:
    """The images and annotations of a document."""
    parts = document if isinstance(document, dict) else {}
    images, annotations = parts.get("images"), parts.get("annotations")
    if not isinstance(images, list) or not isinstance(annotations, list):
        raise DataError(f"{path} is not a COCO file: expected the lists `images` and `annotations`")
    if not images:
        raise DataError(f"{path} lists no images")
    return images, annotations


def _by_image(images: list[Any], annotations: list[Any]) -> list[bytes]:
    """The segmentations of each image with their categories' numbers, as JSON.

    As bytes they take a fifth of the memory that lists of numbers do, and workers that are forked
    go on sharing it.
    """
    found: dict[Any, list[Any]] = {entry["id"]: [] for entry in images if _is_image(entry)}
    for annotation in annotations:
        # What is no annotation of a known image belongs to none that could be skipped for it.
        if not isinstance(annotation, dict) or annotation.get("iscrowd"):
            continue
        image = annotation.get("image_id")
        if isinstance(image, int | str) and image in found:
            found[image].append([annotation.get("segmentation"), annotation.get("category_id")])
    return [json.dumps(found[one["id"]] if _is_image(one) else []).encode() for one in images]


def _category_names(document: Any) -> dict[str, str]:
    """Names of categories by their numbers, as Python writes these."""
    categories = document.get("categories")
    return {
        repr(one.get("id")): one["name"]
        for one in (categories if isinstance(categories, list) else [])
        if isinstance(one, dict) and isinstance(one.get("name"), str)
    }


def _unique_keys(images: list[Any]) -> list[str]:
    """File names; where two images share one, their numbers besides."""
    names = [one["file_name"] if _is_image(one) else f"entry {i}" for i, one in enumerate(images)]
    shared = Counter(names)
    return [f"{name}#{i}" if shared[name] > 1 else name for i, name in enumerate(names)]


def _find_folder(path: Path, images: list[Any], given: Path | None) -> Path:
    """The folder where the first images are."""
    folder, stem = path.parent, path.stem.removeprefix(PREFIX)
    places = [folder / path.stem, folder / stem, folder.parent / stem, folder / "images", folder]
    tried = list(dict.fromkeys(places)) if given is None else [given]
    names = [one["file_name"] for one in images if _is_image(one)][:IMAGES_TRIED]
    for place in tried:
        if any((place / name).is_file() for name in names):
            return place
    listed = ", ".join(str(place) for place in tried)
    raise DataError(
        f"none of the images of {path} are in {listed}: name their folder (coco:{path},images=...)"
    )
