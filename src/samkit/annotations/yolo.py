"""Reading YOLO's label files for instance segmentation: a text file per image, a line per mask.

Masks are drawn as Ultralytics draws them. Lines of four coordinates are boxes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from samkit.annotations.model import (
    BROKEN,
    AnnotatedImage,
    AnnotatedMask,
    AnnotationFiles,
    Drawn,
    Fault,
    ReadOptions,
    Shape,
    describe,
    fault_of,
    is_visible,
)
from samkit.annotations.numbers import to_integer
from samkit.annotations.segmentations import CocoSegmentation
from samkit.annotations.shapes import BOX_FAULT, PixelPolygon
from samkit.errors import DataError
from samkit.files import read_text

FORMAT = "yolo"
SETTINGS = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
# Label Studio's, and those of darknet and CVAT, and Roboflow.
NAME_LISTS = ("classes.txt", "obj.names", "_darknet.labels")
OTHER_LIST = "labels.txt"  # also of other formats: it names classes, but does not tell the format
SPLITS = ("train", "val", "valid", "validation", "test")
LABELS, IMAGES = "labels", "images"
DARKNET = "obj_*_data"  # folders of images with their labels beside them
# Text files beside labels that are lists, unless they turn out to be labels of such images.
LISTS = ("classes", "class_names", "labels", "requirements", "notes", *SPLITS)
FOLDERS_UP = 3  # above label files, in which class names are looked for
MAX_FRACTION, MIN_FRACTION = 1.01, -0.01  # as in Ultralytics
BOX_VALUES = 4
MAX_CLASSES = 100_000
MIN_VALUES = 6  # three points
TRACK_VALUES = 6  # a box, its confidence, and the number of a track
FILES_TRIED = 20  # to tell outlines of three points from boxes of tracks
UNNAMED = "no list of class names was found: classes are called class_0, class_1, ..."
TRACK_FAULT = "it is a box with its confidence and track, not an outline"


@dataclass(frozen=True, kw_only=True)
class _Settings:
    """What a data set says about its label files.

    Attributes:
        names: of classes by their numbers; None if it does not say.
        has_keypoints: lines are boxes with keypoints.
        has_tracks: lines are boxes with their confidence and track.
        folders: the folders of images that it lists.
    """

    names: tuple[str, ...] | dict[int, str] | None = None
    has_keypoints: bool = False
    has_tracks: bool = False
    folders: tuple[Path, ...] = ()


@dataclass(frozen=True)
class _RelativeBox:
    """A box of all its pixels: centre and sides in fractions of the image's."""

    center_xywh: tuple[float, float, float, float]

    def draw(self, space_hw: tuple[int, int], size_hw: tuple[int, int]) -> Drawn:
        x, y, width, height = self.center_xywh
        x0, x1 = ((x + sign * width / 2) * space_hw[1] for sign in (-1, 1))
        y0, y1 = ((y + sign * height / 2) * space_hw[0] for sign in (-1, 1))
        return CocoSegmentation([x0, y0, x1, y0, x1, y1, x0, y1]).draw(space_hw, size_hw)


def is_yolo_folder(folder: Path) -> bool:
    """Whether a folder has YOLO's settings, or label files beside a list of class names."""
    named = any((folder / name).is_file() for name in (*SETTINGS, *NAME_LISTS))
    return named and bool(_label_files(folder))


def is_yolo_text(text: str) -> bool:
    """Whether a text file begins with a line of YOLO's labels."""
    first = next((line.split() for line in text.splitlines() if line.strip()), [])
    try:
        to_integer(first[0])
        values = [float(one) for one in first[1:]]
    except (IndexError, *BROKEN):
        return False
    return len(values) >= BOX_VALUES


def open_yolo(path: Path, options: ReadOptions) -> AnnotationFiles:
    """Read the label files of a data set.

    Args:
        path: its data.yaml; its folder; or a folder of label files, with class names in a
            data.yaml, classes.txt, obj.names, _darknet.labels or labels.txt in it or up to three
            folders above, or in the only other YAML file there that has `names`.
        options: what annotations are read as.

    Raises:
        DataError: there are no label files, or class names that cannot be read.
    """
    top = path if path.is_dir() else path.parent
    if path.suffix.lower() == ".txt" and not path.is_dir():
        settings, files = _find_settings(top), [path]
    else:
        settings = _find_settings(top) if path.is_dir() else _read_settings(path)
        files = _label_files(top)
        known = {file.resolve() for file in files}
        more = (file for folder in settings.folders for file in _texts(_labels_of(folder)))
        files += [file for file in dict.fromkeys(more) if file.resolve() not in known]
    if not files:
        raise DataError(f"{path} has no label files: expected .txt files in a folder {LABELS}")
    files, root = _below_root(files, top)
    settings = replace(settings, has_tracks=_have_tracks(files[:FILES_TRIED]))
    reader = partial(_read_labels, settings=settings, first=files[0])
    return AnnotationFiles(FORMAT, files, root=root, reader=reader, options=options)


def _below_root(files: list[Path], top: Path) -> tuple[list[Path], Path]:
    """Files, and a folder that they are below: above labels/, if the top is in it."""
    above = next((one.parent for one in (top, *top.parents) if one.name == LABELS), top)
    if all(one.is_relative_to(above) for one in files):
        return files, above
    files = [one.resolve() for one in files]
    return files, Path(os.path.commonpath([above.resolve(), *files]))


def _texts(folder: Path) -> list[Path]:
    """Text files that may be labels, in a folder and below."""
    every = folder.rglob("*") if folder.is_dir() else iter(())
    found = sorted(one for one in every if one.suffix.lower() == ".txt")
    return [one for one in found if is_visible(one, folder) and not _is_list(one)]


def _is_list(file: Path) -> bool:
    stem = file.stem.lower()
    if stem.startswith("readme"):
        return True
    return stem in LISTS and not is_yolo_text(read_text(file))


def _label_files(top: Path) -> list[Path]:
    """Text files in the folders that programs use for labels; if there are none, all."""
    texts = _texts(top)
    return [one for one in texts if _label_folder(one, top) is not None] or texts


def _label_folder(file: Path, top: Path) -> Path | None:
    """The folder in which names of label files begin, such as labels/; None if there is none."""
    for folder in file.relative_to(top).parents:
        if folder.name == LABELS or folder.match(DARKNET):
            return folder
    return None


def _labels_of(images: Path) -> Path:
    """Folder of the labels of images: the last "images" in its path becomes "labels"."""
    parts = list(images.parts)
    for index in range(len(parts) - 1, -1, -1):
        if parts[index] == IMAGES:
            return Path(*parts[:index], LABELS, *parts[index + 1 :])
    return images


def _find_settings(folder: Path) -> _Settings:
    """Read the nearest settings or list of names, in a folder or above."""
    above = list(folder.absolute().parents)[:FOLDERS_UP]
    for place in (folder, *above):
        for name in SETTINGS:
            if (place / name).is_file():
                return _read_settings(place / name)
        if (other := _other_settings(place)) is not None:
            return _read_settings(other)
        for name in (*NAME_LISTS, OTHER_LIST):
            if (place / name).is_file() and not is_yolo_text(text := read_text(place / name)):
                return _Settings(names=tuple(line.strip() for line in text.rstrip().splitlines()))
    return _Settings()


def _other_settings(place: Path) -> Path | None:
    """The only YAML file in a folder that lists names; None if none or several do."""
    every = place.glob("*")  # none in a folder that cannot be read
    files = [one for one in every if one.suffix.lower() in (".yaml", ".yml")]
    found = [one for one in files if one.is_file() and _lists_names(one)]
    return found[0] if len(found) == 1 else None


def _lists_names(path: Path) -> bool:
    try:
        document = yaml.load(read_text(path), yaml.BaseLoader)  # noqa: S506 - makes text only
    except (DataError, yaml.YAMLError, *BROKEN):
        return False
    names = document.get("names") if isinstance(document, dict) else None
    return isinstance(names, list | dict) and bool(names)


def _have_tracks(files: list[Path]) -> bool:
    """Whether all lines of files are what tracking writes: class, box, confidence and track.

    They look like outlines of three points, if the track's number is 0 or 1.
    """
    lines = []
    for file in files:
        try:
            lines += [line.split() for line in read_text(file).splitlines() if line.strip()]
        except DataError:  # noqa: PERF203 - told when it is read
            continue
    return bool(lines) and all(_is_track(line) for line in lines)


def _is_track(line: list[str]) -> bool:
    try:
        x, y, width, height, confidence, track = (float(one) for one in line[1:])
    except ValueError:  # also another number of values
        return False
    sides = ((x, width), (y, height))
    is_inside = all(
        0 < side <= 1 and center - side / 2 >= MIN_FRACTION and center + side / 2 <= MAX_FRACTION
        for center, side in sides
    )
    return is_inside and 0 <= confidence <= 1 and track >= 0 and track.is_integer()


def _read_settings(path: Path) -> _Settings:
    """Read a data.yaml.

    Raises:
        DataError: it is not YAML, or has no classes.
    """
    try:
        # All values stay text: a class named `no` is no truth value.
        document = yaml.load(read_text(path), yaml.BaseLoader)  # noqa: S506 - makes text only
    except (yaml.YAMLError, *BROKEN) as error:
        raise DataError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    parts = document if isinstance(document, dict) else {}
    try:
        names = _class_names(parts)
    except BROKEN as error:
        raise DataError(f"{path}: its class names cannot be read: {describe(error)}") from error
    if not names:
        raise DataError(f"{path} has no class names: expected `names`, or their number `nc`")
    return _Settings(
        names=names,
        has_keypoints="kpt_shape" in parts,
        folders=tuple(_split_folders(parts, path.parent)),
    )


def _class_names(parts: dict[Any, Any]) -> tuple[str, ...] | dict[int, str]:
    names = parts.get("names")
    if isinstance(names, dict):
        return {to_integer(number): _checked_name(name) for number, name in names.items()}
    if isinstance(names, list):
        return tuple(_checked_name(name) for name in names)
    count = to_integer(parts["nc"]) if "nc" in parts else 0
    return tuple(f"class_{number}" for number in range(min(count, MAX_CLASSES)))


def _checked_name(name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError(f"not a name: {name!r:.40}")
    return name


def _split_folders(parts: dict[Any, Any], folder: Path) -> Iterator[Path]:
    """Folders of images, of those that the settings list: themselves or by text files of paths."""
    base = parts.get("path")
    bases = [folder / base, folder] if isinstance(base, str) and base else [folder]
    for split in SPLITS:
        found = parts.get(split)
        for one in found if isinstance(found, list) else [found]:
            if not isinstance(one, str) or not one:
                continue
            # Roboflow writes ../train/images for what is beside its data.yaml.
            places = [place / name for place in bases for name in (one, one.removeprefix("../"))]
            existing = next((place for place in places if _exists(place)), None)
            if existing is not None and existing.is_dir():
                yield existing
            elif existing is not None:
                lines = read_text(existing).splitlines()
                listed = {(existing.parent / line.strip()).parent for line in lines}
                yield from sorted(one for one in listed if _exists(one) and one.is_dir())


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # too long, or with NUL
        return False


def _read_labels(
    path: Path, root: Path, options: ReadOptions, *, settings: _Settings, first: Path
) -> AnnotatedImage:
    """Read the label file of one image; the first one tells that classes have no names.

    Raises:
        DataError: it is missing, or no text.
    """
    masks, faults = [], []
    known: dict[str, int] = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        where = f"line {number}"
        if (earlier := known.setdefault(line, number)) != number:
            faults.append(Fault(text=f"{where}: it repeats line {earlier}"))
            continue
        try:
            masks.append(_read_line(line, where, settings, options))
        except (DataError, *BROKEN) as error:
            faults.append(fault_of(error, where))
    name, folder = _name(path, root)
    return AnnotatedImage(
        name=name,
        has_suffix=False,
        file=path,
        folder=folder,
        split=next((part for part in path.relative_to(root).parts if part in SPLITS), ""),
        masks=tuple(masks),
        faults=tuple(faults),
        notes=(UNNAMED,) if settings.names is None and path == first else (),
    )


def _name(path: Path, root: Path) -> tuple[str, str]:
    """An image's name, and its folder: images/ beside labels/, or where the label file is."""
    labels = _label_folder(path, root)
    relative = path.relative_to(root)
    if labels is None:
        return relative.with_suffix("").name, _posix(relative.parent)
    name = relative.relative_to(labels).with_suffix("").as_posix()
    return name, _posix(labels.parent / IMAGES if labels.name == LABELS else labels)


def _posix(folder: Path) -> str:
    return "" if folder == Path() else folder.as_posix()


def _read_line(line: str, where: str, settings: _Settings, options: ReadOptions) -> AnnotatedMask:
    if "," in line:
        raise DataError("numbers must have a point, not a comma, and blanks between them")
    first, *rest = line.split()
    number = to_integer(first)
    return AnnotatedMask(
        where=where,
        shape=_shape(tuple(float(one) for one in rest), settings, options),
        class_name=_class_name(number, settings.names),
    )


def _shape(values: tuple[float, ...], settings: _Settings, options: ReadOptions) -> Shape:
    if settings.has_tracks and not options.boxes:
        raise DataError(TRACK_FAULT)
    is_box = len(values) == BOX_VALUES or settings.has_keypoints or settings.has_tracks
    if not is_box and (len(values) < MIN_VALUES or len(values) % 2):
        hint = " (a confidence at the end?)" if len(values) % 2 and len(values) > BOX_VALUES else ""
        text = f"expected a class and pairs of x and y; got {len(values)} coordinates{hint}"
        raise DataError(text)
    checked = values[:BOX_VALUES] if is_box else values
    if not all(MIN_FRACTION <= one <= MAX_FRACTION for one in checked):
        worst = next(one for one in checked if not MIN_FRACTION <= one <= MAX_FRACTION)
        raise DataError(f"coordinates must be fractions of the image, from 0 to 1; got {worst:g}")
    if not is_box:
        return PixelPolygon(values, is_relative=True)
    if not options.boxes:
        raise DataError(BOX_FAULT)
    x, y, width, height = checked
    return _RelativeBox((x, y, width, height))


def _class_name(number: int, names: tuple[str, ...] | dict[int, str] | None) -> str:
    """A class's name; without names, as Ultralytics calls it."""
    if names is None and number >= 0:
        return f"class_{number}"
    known = names if isinstance(names, dict) else dict(enumerate(names or ()))
    if number not in known:
        raise DataError(f"its class {number} is not one of the {len(known)} that are named")
    return known[number]
