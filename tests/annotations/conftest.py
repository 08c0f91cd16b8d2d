"""Reading annotation files and drawing their masks."""

from dataclasses import dataclass

import numpy as np
import pytest

from samkit.annotations import ReadOptions, draw_image, open_annotations
from samkit.errors import SamkitError
from samkit.geometry import decode_rle


@dataclass
class Read:
    """What a file held: masks (class, bool array) of each image by its name, and faults."""

    format_name: str
    masks: dict
    void: dict
    faults: list
    num_annotations: int
    num_left_out: int
    num_joined: int


def read_all(path, size_hw, options=None, format_name=None):
    """Read and draw everything; each annotation must be a mask or among the faults."""
    found = open_annotations(path, format_name, options or ReadOptions())
    result = Read(found.format_name, {}, {}, list(found.faults), 0, 0, 0)
    for index in range(len(found)):
        image = found.read(index)
        result.num_annotations += image.num_annotations
        try:
            drawn = draw_image(image, size_hw, 1)
        except SamkitError:  # another size: all of the image is left out, in one line
            result.num_left_out += image.num_annotations
            continue
        masks = [
            (m.class_name, decode_rle(r)) for m, r in zip(drawn.masks, drawn.rles, strict=True)
        ]
        assert all(mask.shape == size_hw for _, mask in masks)
        result.masks.setdefault(image.name, []).extend(masks)
        if drawn.void is not None:
            result.void[image.name] = decode_rle(drawn.void)
        result.faults += drawn.faults
        left_out = sum(one.num_annotations for one in drawn.faults)
        assert image.num_annotations == sum(m.num_annotations for m in drawn.masks) + left_out
        result.num_left_out += left_out
        result.num_joined += sum(one.num_annotations - 1 for one in drawn.masks)
    return result


@pytest.fixture
def read():
    return read_all


@pytest.fixture
def rectangle():
    """A mask of 20 x 30 pixels: rows y0 to y1, columns x0 to x1."""

    def draw(x0, y0, x1, y1, size_hw=(20, 30)):
        mask = np.zeros(size_hw, bool)
        mask[y0:y1, x0:x1] = True
        return mask

    return draw
