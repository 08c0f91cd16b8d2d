"""Images that several people have segmented, each on their own."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from samkit.datasets.coco import read_json
from samkit.datasets.sample import Sample
from samkit.errors import DataError
from samkit.formats.segmentations import read_rles
from samkit.geometry import Rle

CHECKSUM_LENGTH = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class Annotators:
    """Who has drawn which masks.

    What one person has drawn is a truth of its own: one found mask may answer the same object of
    each of them, but only one object of each.

    Attributes:
        segmentations: COCO segmentations of each person, by image; an image that is not there has
            one annotator.
    """

    segmentations: Mapping[str, Sequence[Sequence[Any]]]

    @cached_property
    def checksum(self) -> str:
        """Tells these annotators from others: results that were measured with them depend on it."""
        text = json.dumps(self.segmentations, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:CHECKSUM_LENGTH]

    def of(self, sample: Sample) -> tuple[tuple[Rle, ...], ...]:
        """All masks of an image, those of each annotator together; broken ones are left out."""
        people = self.segmentations.get(sample.key)
        if people is None:
            return (sample.rles,)
        size_hw = (sample.image.shape[0], sample.image.shape[1])
        return tuple(read_rles(own, size_hw)[0] for own in people)


ONE_ANNOTATOR = Annotators(segmentations={})


def read_annotators(path: str | os.PathLike[str]) -> Annotators:
    """Read from a COCO file who has drawn what: the field `annotator` of its annotations.

    Images are known by their `file_name`; annotations without the field, and those of crowds, are
    left out.

    Raises:
        DataError: not a COCO file.
    """
    document = read_json(Path(path))
    names = _image_names(document, path)
    images: dict[str, dict[str, list[Any]]] = {}
    for annotation in document["annotations"]:
        if not isinstance(annotation, dict) or annotation.get("iscrowd"):
            continue
        name = names.get(str(annotation.get("image_id")))
        if name is not None and "annotator" in annotation:
            people = images.setdefault(name, {})
            own = people.setdefault(str(annotation["annotator"]), [])
            own.append(annotation.get("segmentation"))
    return Annotators(
        segmentations={
            name: [own for _, own in sorted(people.items())] for name, people in images.items()
        }
    )


def read_image_names(path: str | os.PathLike[str]) -> dict[str, str]:
    """The `file_name` of each image of a COCO file, by its id as text.

    Raises:
        DataError: not a COCO file.
    """
    return _image_names(read_json(Path(path)), path)


def _image_names(document: Any, path: str | os.PathLike[str]) -> dict[str, str]:
    parts = document if isinstance(document, dict) else {}
    if not all(isinstance(parts.get(name), list) for name in ("images", "annotations")):
        raise DataError(
            f"{os.fspath(path)} is not a COCO file: expected the lists `images` and `annotations`"
        )
    return {
        str(image["id"]): image["file_name"]
        for image in parts["images"]
        if isinstance(image, dict) and "id" in image and isinstance(image.get("file_name"), str)
    }


def count_masks(groups: Sequence[Sequence[Rle]]) -> int:
    """Number of masks of all annotators."""
    return sum(len(group) for group in groups)
