"""PNG files of masks: one file per mask, or label images with one number per instance.

In a label image 0 is background, and every other number is one instance.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from pycocotools import mask as coco_mask

from samkit.arrays import BoolArray
from samkit.errors import DataError, FormatError
from samkit.files import replacing
from samkit.geometry import Rle, decode_rle, decode_rle_patch
from samkit.types import Masks

# The JSON files beside label images that samkit exports.
LABELS_FORMAT = "samkit-labels-1"
MAX_LABEL = 2**16 - 1  # the largest number in a PNG of 16 bits
BACKGROUND = 0
# Pillow's modes of one number per pixel: 1, 8 and 16 bits, and palettes, whose colours do not
# matter.
LABEL_MODES = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L", "I;16N")

Labels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]


def write_png(
    path: str | os.PathLike[str], image: Labels, *, palette: Sequence[int] | None = None
) -> Path:
    """Write an array as a PNG file; return its path.

    Args:
        path: the file, which need not end in .png.
        image: uint8 (H, W) or (H, W, 3), or uint16 (H, W).
        palette: colours of the labels in a uint8 image (H, W), as R, G, B, R, G, B, ...

    Raises:
        OutputError: the file cannot be written.
    """
    picture = Image.fromarray(image)
    if palette is not None:
        picture.putpalette(palette)
    with replacing(path) as temporary:
        picture.save(temporary, format="PNG")
    return Path(path)


def write_mask_png(path: str | os.PathLike[str], mask: BoolArray) -> Path:
    """Write a mask (H, W) as a PNG file of 0 and 255; return its path."""
    return write_png(path, mask.astype(np.uint8) * 255)


def label_map(masks: Masks) -> npt.NDArray[np.uint16]:
    """Draw all masks into one label image (H, W); mask i has the label i + 1.

    Smaller masks cover larger ones; of two of the same size, the later one covers the other.

    Raises:
        FormatError: more masks than 16 bits can number.
    """
    if len(masks) > MAX_LABEL:
        raise FormatError(f"a label image holds at most {MAX_LABEL} masks; got {len(masks)}")
    labels = np.zeros(masks.size_hw, np.uint16)
    for index in np.argsort(-masks.areas, kind="stable"):
        x0, y0, x1, y1 = masks.boxes_xyxy[index]
        patch = decode_rle_patch(masks.rles[index], masks.boxes_xyxy[index])
        labels[y0:y1, x0:x1][patch] = index + 1
    return labels


def label_layers(
    rles: Sequence[Rle], size_hw: tuple[int, int]
) -> tuple[list[npt.NDArray[np.uint16]], list[tuple[int, int]]]:
    """Draw masks into as many label images as needed for none to cover another.

    Returns:
        label images (H, W), at least one; for each mask its layer and its label there, both from 1.
    """
    layers = [np.zeros(size_hw, np.uint16)]
    counts = [0]
    numbers = []
    for rle in rles:
        mask = decode_rle(rle)
        index = next(
            (i for i, at in enumerate(layers) if counts[i] < MAX_LABEL and not at[mask].any()),
            len(layers),
        )
        if index == len(layers):
            layers.append(np.zeros(size_hw, np.uint16))
            counts.append(0)
        counts[index] += 1
        layers[index][mask] = counts[index]
        numbers.append((index + 1, counts[index]))
    return layers, numbers


def layer_folder(number: int) -> str:
    """Folder of a layer's label images; layers are numbered from 1."""
    return "masks" if number == 1 else f"masks_{number}"


def read_labels(path: str | os.PathLike[str]) -> npt.NDArray[np.int32]:
    """Read a label image (H, W) from a PNG file of 1, 8 or 16 bits, or with a palette.

    Raises:
        DataError: the file is missing, damaged, or a colour image.
    """
    try:
        with Image.open(path) as opened:
            mode = opened.mode
            labels = np.asarray(opened) if mode in LABEL_MODES else None
    except FileNotFoundError as error:
        raise DataError(f"no such file: {path}") from error
    except Exception as error:  # Pillow raises almost anything on damaged files
        reason = " ".join(str(error).split())
        raise DataError(f"{path} cannot be read: {reason}") from error
    if labels is None:
        raise DataError(f"{path} must have one number at each pixel; its mode is {mode}")
    return labels.astype(np.int32)


def label_rles(labels: npt.NDArray[np.int32]) -> tuple[Rle, ...]:
    """RLEs of the instances in a label image (H, W), in the order of their numbers.

    One pass over the pixels for all instances: the image is split into runs of equal labels.
    """
    height, width = labels.shape
    flat = labels.ravel(order="F")  # RLEs go down the columns
    starts = np.flatnonzero(np.r_[True, flat[1:] != flat[:-1]])
    stops = np.r_[starts[1:], len(flat)]
    numbers = flat[starts]
    order = np.argsort(numbers, kind="stable")
    firsts = np.flatnonzero(np.r_[True, np.diff(numbers[order]) != 0])
    rles: list[Rle] = []
    for runs in np.split(order, firsts[1:]):
        if numbers[runs[0]] == BACKGROUND:
            continue
        edges = np.stack([starts[runs], stops[runs]], axis=-1).ravel()
        counts: Any = np.diff(edges, prepend=0, append=len(flat))
        if counts[-1] == 0:
            counts = counts[:-1]
        rle = coco_mask.frPyObjects({"size": [height, width], "counts": counts}, height, width)
        rles.append({"size": [height, width], "counts": rle["counts"].decode("ascii")})
    return tuple(rles)
