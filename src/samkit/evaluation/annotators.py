"""Ground truth by several annotators, each of whom segmented an image on their own."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from samkit.annotations import read_coco, read_rles
from samkit.datasets import Sample
from samkit.geometry import Rle

CHECKSUM_LENGTH = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class Annotators:
    """Who drew which masks.

    Each annotator's masks are a ground truth of their own: one predicted mask may match the same
    object of every annotator, but only one object of each.

    Attributes:
        segmentations: each annotator's COCO segmentations, by image key; an image that is missing
            here has one annotator.
    """

    segmentations: Mapping[str, Sequence[Sequence[Any]]]

    @cached_property
    def checksum(self) -> str:
        """Digest of the content, which tells results of different annotators apart."""
        text = json.dumps(self.segmentations, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:CHECKSUM_LENGTH]

    def of(self, sample: Sample) -> tuple[tuple[Rle, ...], ...]:
        """Masks of an image, grouped by annotator; without broken ones and void pixels."""
        people = self.segmentations.get(sample.key)
        if people is None:
            return (sample.without_void(sample.rles),)
        size_hw = (sample.image.shape[0], sample.image.shape[1])
        return tuple(sample.without_void(read_rles(own, size_hw)[0]) for own in people)


ONE_ANNOTATOR = Annotators(segmentations={})


def read_annotators(path: str | os.PathLike[str]) -> Annotators:
    """Read who drew which mask from a COCO file: the field `annotator` of its annotations.

    Images are identified by their `file_name`; annotations without the field are left out.

    Raises:
        DataError: not a COCO file.
    """
    found: dict[str, dict[str, list[Any]]] = {}
    for image in read_coco(path).images:
        for _, annotation in image.annotations:
            if "annotator" in annotation:
                people = found.setdefault(image.file_name, {})
                own = people.setdefault(str(annotation["annotator"]), [])
                own.append(annotation.get("segmentation"))
    return Annotators(
        segmentations={
            name: [own for _, own in sorted(people.items())] for name, people in found.items()
        }
    )


def read_image_names(path: str | os.PathLike[str]) -> dict[str, str]:
    """The `file_name` of each image of a COCO file by its id, as text.

    Raises:
        DataError: not a COCO file.
    """
    return read_coco(path).file_names()


def count_masks(groups: Sequence[Sequence[Rle]]) -> int:
    """Number of masks of all annotators."""
    return sum(len(group) for group in groups)
