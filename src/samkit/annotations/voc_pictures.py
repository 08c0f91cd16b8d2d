"""Pascal VOC's pictures of instances and classes: palettes, or painted in colours."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from samkit.annotations.numbers import to_integer
from samkit.errors import DataError
from samkit.files import read_text
from samkit.formats import read_labels, voc_palette

VOID = 255  # pixels on outlines, which belong to nothing; painted as (224, 224, 192)
COLOR_MODES = ("RGB", "RGBA")
# The first line of lists of classes that begin with number 0, or with what is ignored.
BACKGROUNDS = ("background", "_background_", "__background__")
IGNORED = "__ignore__"
NAME_LISTS = ("labels.txt", "class_names.txt")
COLOR_LIST = "labelmap.txt"
FIELDS_AFTER_NAME = 3  # in it: colour, parts, actions

Numbers = npt.NDArray[np.int32]


@dataclass(frozen=True, kw_only=True)
class ClassTable:
    """Names of classes by their numbers, and numbers by the colours that they are painted in."""

    names: dict[int, str]
    colors: dict[int, int]

    def name(self, number: int) -> str:
        return self.names.get(number, f"class_{number}")


def color_key(red: int, green: int, blue: int) -> int:
    """A colour as one number."""
    return (red << 16) | (green << 8) | blue


def palette_colors() -> dict[int, int]:
    """Numbers by VOC's colours for them."""
    flat = voc_palette()
    return {color_key(*flat[3 * number : 3 * number + 3]): number for number in range(256)}


def read_class_table(folder: Path) -> ClassTable:
    """Read labelmap.txt, as CVAT and datumaro write it, or a list of names; neither need exist.

    Raises:
        DataError: it cannot be read.
    """
    if (folder / COLOR_LIST).is_file():
        return _read_color_list(folder / COLOR_LIST)
    for name in NAME_LISTS:
        if (folder / name).is_file():
            lines = [line.strip() for line in read_text(folder / name).strip().splitlines()]
            if lines and lines[0] == IGNORED:
                lines = lines[1:]
            first = 0 if lines and lines[0].lower() in BACKGROUNDS else 1
            return ClassTable(names=dict(enumerate(lines, first)), colors=palette_colors())
    return ClassTable(names={}, colors=palette_colors())


def _read_color_list(path: Path) -> ClassTable:
    """Read lines of name:red,green,blue:parts:actions; an empty colour is VOC's for the number."""
    names: dict[int, str] = {}
    colors: dict[int, int] = {}
    usual = {number: color for color, number in palette_colors().items()}
    lines = [line.strip() for line in read_text(path).splitlines()]
    for number, line in enumerate(one for one in lines if one and not one.startswith("#")):
        # Names may have colons, where a line has all of the fields after them.
        names[number], *rest = (part.strip() for part in line.rsplit(":", FIELDS_AFTER_NAME))
        color = rest[0] if rest else ""
        try:
            # Classes after the 256th need a colour of their own.
            red, green, blue = (to_integer(part.strip()) for part in color.split(","))
            key = color_key(red, green, blue)
        except (ValueError, OverflowError) as error:
            if color or number not in usual:
                raise DataError(f"{path}: no colour in {line!r:.60}") from error
            key = usual[number]
        colors.setdefault(key, number)
    colors.setdefault(usual[VOID], VOID)
    return ClassTable(names=names, colors=colors)


def read_numbers(path: Path, colors: dict[int, int]) -> Numbers:
    """Read the number at each pixel (H, W); colours without one get numbers from 256 on.

    Raises:
        DataError: missing, damaged, or neither a palette nor painted.
    """
    try:
        with Image.open(path) as opened:
            if opened.mode not in COLOR_MODES:
                # Void is told apart by who reads the numbers.
                return read_labels(path, void=0, binary=False).labels
            pixels = np.asarray(opened.convert("RGB"), np.int32)
    except DataError:
        raise
    except Exception as error:  # Pillow raises almost anything on damaged files
        raise DataError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    keys = (pixels[..., 0] << 16) | (pixels[..., 1] << 8) | pixels[..., 2]
    found, places = np.unique(keys, return_inverse=True)
    numbers = [
        colors.get(key, 256 + index) if key else 0 for index, key in enumerate(found.tolist())
    ]
    table = np.array(numbers, np.int32)
    return np.asarray(table[places.reshape(keys.shape)], np.int32)


def main_classes(instances: Numbers, classes: Numbers) -> dict[int, int]:
    """The number of the class that most pixels of each instance have, besides 0 and void."""
    inside = (instances > 0) & (classes > 0) & (classes != VOID)
    pairs, counts = np.unique(
        np.stack([instances[inside], classes[inside]]), axis=1, return_counts=True
    )
    best: dict[int, int] = {}
    for index in np.argsort(counts, kind="stable"):  # the most frequent one is last
        best[int(pairs[0, index])] = int(pairs[1, index])
    return best
