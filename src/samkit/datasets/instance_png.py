"""Images in `images/`, and in `masks/` a PNG of the same name whose pixels number the instances."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from pycocotools import mask as coco_mask

from samkit.datasets.sa1b import IMAGE_SUFFIXES
from samkit.datasets.sample import Sample
from samkit.errors import DataError
from samkit.formats import read_image
from samkit.geometry import Rle

IMAGES, MASKS = "images", "masks"
# Pillow's names of pictures of numbers: of 1, 8 and 16 bits, and with palettes, whose colours do
# not matter.
NUMBER_MODES = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L", "I;16N")
BACKGROUND = 0


class InstancePng:
    """A folder with `images/` and `masks/`: 0 is background, every other number one mask."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """List the images.

        Raises:
            DataError: there are none, or none has a PNG of its masks.
        """
        self.folder = Path(folder)
        found = (self.folder / IMAGES).rglob("*")
        self._images = sorted(path for path in found if path.suffix.lower() in IMAGE_SUFFIXES)
        if not any(self._mask_path(index).is_file() for index in range(len(self._images))):
            raise DataError(
                f"no image in {self.folder / IMAGES} has a PNG of the same name"
                f" in {self.folder / MASKS}"
            )

    def __len__(self) -> int:
        return len(self._images)

    def key(self, index: int) -> str:
        return self._images[index].relative_to(self.folder / IMAGES).as_posix()

    def __getitem__(self, index: int) -> Sample:
        image = read_image(self._images[index])
        labels = read_labels(self._mask_path(index))
        if labels.shape != image.shape[:2]:
            raise DataError(
                f"{self._mask_path(index)} must have its image's size {image.shape[:2]};"
                f" got {labels.shape}"
            )
        return Sample(key=self.key(index), image=image, rles=label_rles(labels))

    def _mask_path(self, index: int) -> Path:
        relative = self._images[index].relative_to(self.folder / IMAGES)
        return (self.folder / MASKS / relative).with_suffix(".png")


def read_labels(path: str | os.PathLike[str]) -> npt.NDArray[np.int32]:
    """The numbers (H, W) in a PNG of 1, 8 or 16 bits, or with a palette.

    Raises:
        DataError: missing, damaged, or a picture of colours.
    """
    try:
        with Image.open(path) as opened:
            mode = opened.mode
            labels = np.asarray(opened) if mode in NUMBER_MODES else None
    except FileNotFoundError as error:
        raise DataError(f"no such file: {path}") from error
    except Exception as error:  # Pillow raises almost anything on damaged files
        reason = " ".join(str(error).split())
        raise DataError(f"{path} cannot be read: {reason}") from error
    if labels is None:
        raise DataError(f"{path} must have one number at each pixel; its mode is {mode}")
    return labels.astype(np.int32)


def label_rles(labels: npt.NDArray[np.int32]) -> tuple[Rle, ...]:
    """Codes of the instances in a picture of numbers (H, W), in the order of their numbers.

    One pass for all of them: the picture is cut into runs of the same number.
    """
    height, width = labels.shape
    flat = labels.ravel(order="F")  # run-length codes go down the columns
    starts = np.flatnonzero(np.r_[True, flat[1:] != flat[:-1]])
    stops = np.r_[starts[1:], len(flat)]
    numbers = flat[starts]
    order = np.argsort(numbers, kind="stable")
    firsts = np.flatnonzero(np.r_[True, np.diff(numbers[order]) != 0])
    rles: list[Rle] = []
    for runs in np.split(order, firsts[1:]):
        if numbers[runs[0]] == BACKGROUND:
            continue
        turns = np.stack([starts[runs], stops[runs]], axis=-1).ravel()
        counts: Any = np.diff(turns, prepend=0, append=len(flat))
        if counts[-1] == 0:
            counts = counts[:-1]
        code = coco_mask.frPyObjects({"size": [height, width], "counts": counts}, height, width)
        rles.append({"size": [height, width], "counts": code["counts"].decode("ascii")})
    return tuple(rles)
