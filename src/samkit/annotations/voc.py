"""Reading Pascal VOC data sets: pictures of instances, and XML files with their classes and boxes.

Supervision and Roboflow write XML files alone, with polygons. The old LabelMe for the web has
polygons of another form in its XML files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from samkit.annotations.model import (
    AnnotatedImage,
    AnnotatedMask,
    AnnotationFiles,
    Fault,
    ReadOptions,
    is_visible,
)
from samkit.annotations.segmentations import CocoSegmentation
from samkit.annotations.shapes import BOX_FAULT, box_shape
from samkit.annotations.voc_objects import VocObject, VocObjects, read_objects
from samkit.annotations.voc_pictures import (
    VOID,
    ClassTable,
    main_classes,
    palette_colors,
    read_class_table,
    read_numbers,
)
from samkit.errors import DataError
from samkit.files import read_text
from samkit.formats import has_image_suffix, label_rles
from samkit.geometry import Rle, encode_rle, rle_box_xyxy

SPLITS = ("train", "val", "test")
FORMAT = "voc"
XMLS, OBJECTS, CLASSES = "annotations", "segmentationobject", "segmentationclass"
PARTS = (XMLS, OBJECTS, CLASSES)  # folders of a data set, in lower case
PICTURES = (".png", ".tif", ".tiff", ".bmp")  # without loss
IMAGE_FOLDERS = ("JPEGImages", "images", "Images")
DEPTH = 2  # folders below the one that is read, in which data sets are looked for
MARGIN_PX, MARGIN = 3, 0.05  # by which an instance may lie outside of its box
MIN_BOX_IOU = 0.5  # of an instance and an object that are not in the same place of their lists


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """A data set: its folders and pictures, its classes, and each image's split.

    Attributes:
        folders: by their names in lower case.
        pictures: of instances and classes, by the folder's name and their path in it, without
            suffix.
        unread: files in these folders that look like pictures as well.
    """

    top: Path
    folders: dict[str, Path]
    pictures: dict[tuple[str, str], Path]
    unread: tuple[Path, ...]
    classes: ClassTable
    splits: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class _Pictures:
    """The instances of one image's pictures, with their numbers and the names of their classes."""

    rles: tuple[Rle, ...] = ()
    numbers: tuple[int, ...] = ()
    class_names: dict[int, str] = field(default_factory=dict)
    size_hw: tuple[int, int] | None = None
    void: Rle | None = None
    faults: tuple[Fault, ...] = ()


def is_voc_folder(folder: Path) -> bool:
    """Whether a folder, or one in it, has VOC's folders of pictures."""
    return any(OBJECTS in one or CLASSES in one for one in _data_sets(folder).values())


def open_voc(path: Path, options: ReadOptions) -> AnnotationFiles:
    """Read the XML files and pictures of a data set, or of all in a folder; or XML files alone.

    Raises:
        DataError: there are none, or a list of classes that cannot be read.
    """
    if not path.exists():
        raise DataError(f"no such file or folder: {path}")
    if path.is_file():
        inside = (one for one in path.parents if one.name.lower() in PARTS)
        top = next((one.parent for one in inside), path.parent)
        layouts, files, root = _layouts(top), [path], top
    else:
        layouts, root = _layouts(path), path
        files = [file for layout in layouts for file in _files(layout)]
        if not files:
            files = [one for one in sorted(path.rglob("*.xml")) if is_visible(one, path)]
    if not files:
        raise DataError(f"{path} has no XML files, and no pictures in SegmentationObject")
    reader = partial(_read, layouts=layouts)
    return AnnotationFiles(
        FORMAT,
        files,
        root=root,
        reader=reader,
        options=options,
        faults=[_unread_fault(one) for one in layouts if one.unread],
    )


def _unread_fault(layout: _Layout) -> Fault:
    count, first = len(layout.unread), layout.unread[0].relative_to(layout.top).as_posix()
    text = f"not read as pictures of instances or classes: {first}"
    text += f" and {count - 1} more" if count > 1 else ""
    expected = f"expected one of {', '.join(PICTURES)} for each image"
    return Fault(text=f"{text}; {expected}", num_annotations=0)


def _data_sets(folder: Path) -> dict[Path, dict[str, Path]]:
    """Folders that have VOC's, at most two levels down."""
    found: dict[Path, dict[str, Path]] = {}
    level = [folder]
    for _ in range(DEPTH + 1):
        below: list[Path] = []
        for place in level:
            inside = _folders(place)
            own = {one.name.lower(): one for one in inside if one.name.lower() in PARTS}
            if own:
                found[place] = own
            else:
                below += [one for one in inside if is_visible(one, folder)]
        level = below
    return found


def _folders(place: Path) -> list[Path]:
    """Folders in a folder; none in one that cannot be read."""
    try:
        return sorted(one for one in place.iterdir() if one.is_dir())
    except OSError:
        return []


def _layouts(folder: Path) -> tuple[_Layout, ...]:
    return tuple(_layout(top, folders) for top, folders in _data_sets(folder).items())


def _layout(top: Path, folders: dict[str, Path]) -> _Layout:
    pictures: dict[tuple[str, str], Path] = {}
    unread: list[Path] = []
    for part in (one for one in (OBJECTS, CLASSES) if one in folders):
        for file in _visible(folders[part], top):
            key = (part, _base(file, folders[part]))
            if file.suffix.lower() in PICTURES and key not in pictures:
                pictures[key] = file
            elif has_image_suffix(file):
                unread.append(file)
    return _Layout(
        top=top,
        folders=folders,
        pictures=pictures,
        unread=tuple(unread),
        classes=read_class_table(top),
        splits=_read_splits(top),
    )


def _visible(folder: Path, top: Path) -> Iterator[Path]:
    """Files in a folder and below."""
    return (one for one in sorted(folder.rglob("*")) if one.is_file() and is_visible(one, top))


def _read_splits(top: Path) -> dict[str, str]:
    """Splits by the images' names without suffix, as the lists for segmentation have them."""
    splits: dict[str, str] = {}
    for name in SPLITS:
        path = top / "ImageSets" / "Segmentation" / f"{name}.txt"
        if path.is_file():
            for line in read_text(path).splitlines():
                splits.setdefault(line.strip().strip('"'), name)
    return splits


def _files(layout: _Layout) -> list[Path]:
    """The XML file of each image; where there is none, its picture."""
    files: dict[str, Path] = {}
    if (folder := layout.folders.get(XMLS)) is not None:
        for file in _visible(folder, layout.top):
            if file.suffix.lower() == ".xml":
                files.setdefault(_base(file, folder), file)
    for (_, base), picture in layout.pictures.items():
        files.setdefault(base, picture)
    return [files[base] for base in sorted(files)]


def _base(file: Path, folder: Path) -> str:
    """A file's path in its folder, without its suffix."""
    return file.relative_to(folder).with_suffix("").as_posix()


def _read(
    file: Path, root: Path, options: ReadOptions, *, layouts: tuple[_Layout, ...]
) -> AnnotatedImage:
    """Read one image's annotations.

    Raises:
        DataError: a file is missing, damaged, or of another kind.
    """
    layout = next((one for one in layouts if _is_of(file, one)), None)
    found = read_objects(file) if file.suffix.lower() == ".xml" else VocObjects()
    if layout is None:
        base, folder, pictures = file.with_suffix("").name, file.parent, _Pictures()
    else:
        own = next(one for one in layout.folders.values() if file.is_relative_to(one))
        base, folder = _base(file, own), _image_folder(layout)
        pictures = _read_pictures(layout, base, options)
    sizes = {one for one in (found.size_hw, pictures.size_hw) if one is not None}
    if len(sizes) > 1:
        raise DataError(f"{file}: its size is not that of the picture of instances")
    masks, faults = _join(pictures, found.objects, options)
    relative = folder.relative_to(root)
    return AnnotatedImage(
        name=base,
        has_suffix=False,
        file=file,
        folder="" if relative == Path() else relative.as_posix(),
        split="" if layout is None else layout.splits.get(base, ""),
        size_hw=next(iter(sizes), None),
        masks=masks,
        void=pictures.void,
        faults=(*found.faults, *pictures.faults, *faults),
    )


def _is_of(file: Path, layout: _Layout) -> bool:
    return any(file.is_relative_to(folder) for folder in layout.folders.values())


def _image_folder(layout: _Layout) -> Path:
    places = [layout.top / name for name in IMAGE_FOLDERS]
    return next((one for one in places if one.is_dir()), places[0])


def _read_pictures(layout: _Layout, base: str, options: ReadOptions) -> _Pictures:
    """Read an image's pictures of instances and classes, as far as there are any."""
    path, classes_path = (layout.pictures.get((part, base)) for part in (OBJECTS, CLASSES))
    if path is None and classes_path is None:
        return _Pictures()
    classes = None
    if classes_path is not None:
        classes = read_numbers(classes_path, layout.classes.colors)
    void_number = VOID if options.void is None else options.void
    if path is None:
        assert classes is not None
        kinds = [one for one in np.unique(classes).tolist() if one not in (0, void_number)]
        text = f"{classes_path} has {len(kinds)} classes, but its instances are not separate"
        return _Pictures(faults=(Fault(text=text, num_annotations=len(kinds)),) if kinds else ())
    instances = read_numbers(path, palette_colors())
    is_void = instances == void_number
    instances = np.where(is_void, 0, instances)
    class_names: dict[int, str] = {}
    faults: list[Fault] = []
    if classes is not None and classes.shape != instances.shape:
        text = f"{classes_path} has another size than the picture of instances"
        faults.append(Fault(text=text, num_annotations=0))
    elif classes is not None:
        best = main_classes(instances, classes)
        class_names = {number: layout.classes.name(one) for number, one in best.items()}
    return _Pictures(
        rles=label_rles(instances),
        numbers=tuple(np.unique(instances[instances != 0]).tolist()),
        class_names=class_names,
        size_hw=(instances.shape[0], instances.shape[1]),
        void=encode_rle(is_void) if is_void.any() else None,
        faults=tuple(faults),
    )


def _join(
    pictures: _Pictures, objects: Sequence[VocObject], options: ReadOptions
) -> tuple[tuple[AnnotatedMask, ...], tuple[Fault, ...]]:
    """Masks of instances, with the names of their objects; and of objects without an instance."""
    matched = _match(pictures, objects)
    masks, faults = [], []
    for number, rle in zip(pictures.numbers, pictures.rles, strict=True):
        index = matched.get(number)
        found = VocObject(where="") if index is None else objects[index]
        masks.append(
            AnnotatedMask(
                where=f"instance {number}",
                shape=CocoSegmentation(rle),
                class_name=found.class_name or pictures.class_names.get(number),
                attributes=found.attributes,
            )
        )
    taken = set(matched.values())
    for one in (one for index, one in enumerate(objects) if index not in taken):
        shape = one.shape
        if shape is None and not one.problem and one.box_xyxy is not None and options.boxes:
            shape = box_shape(*one.box_xyxy)
        if shape is None:
            usual = BOX_FAULT if one.box_xyxy is not None else "it has neither a mask nor a box"
            faults.append(Fault(text=f"{one.where}: {one.problem or usual}"))
        else:
            masks.append(
                AnnotatedMask(
                    where=one.where,
                    shape=shape,
                    class_name=one.class_name,
                    attributes=one.attributes,
                )
            )
    return tuple(masks), tuple(faults)


def _match(pictures: _Pictures, objects: Sequence[VocObject]) -> dict[int, int]:
    """Indices of objects by the numbers of their instances.

    Number i is the i-th object in VOC; if boxes do not fit that, they tell which is which.
    """
    boxes = {
        number: rle_box_xyxy(rle)
        for number, rle in zip(pictures.numbers, pictures.rles, strict=True)
    }
    in_order = {number: number - 1 for number in boxes if number <= len(objects)}
    fits = (_fits(boxes[number], objects[at].box_xyxy) for number, at in in_order.items())
    if len(in_order) == len(boxes) and all(fits):
        return in_order
    pairs = [
        (_iou(box, one.box_xyxy), number, index)
        for number, box in boxes.items()
        for index, one in enumerate(objects)
        if one.box_xyxy is not None
    ]
    found: dict[int, int] = {}
    for iou, number, index in sorted(pairs, key=lambda pair: -pair[0]):
        if iou >= MIN_BOX_IOU and number not in found and index not in found.values():
            found[number] = index
    return found


def _fits(
    inner_xyxy: tuple[int, int, int, int], box_xyxy: tuple[float, float, float, float] | None
) -> bool:
    """Whether an instance lies in a box, or just outside: parts of it may be covered."""
    if box_xyxy is None:
        return True
    x0, y0, x1, y1 = box_xyxy
    margin = MARGIN_PX + MARGIN * max(x1 - x0, y1 - y0)
    left, top, right, bottom = inner_xyxy
    return (
        left >= x0 - margin
        and top >= y0 - margin
        and right <= x1 + margin
        and bottom <= y1 + margin
    )


def _iou(
    one_xyxy: tuple[int, int, int, int], other_xyxy: tuple[float, float, float, float]
) -> float:
    width = min(one_xyxy[2], other_xyxy[2]) - max(one_xyxy[0], other_xyxy[0])
    height = min(one_xyxy[3], other_xyxy[3]) - max(one_xyxy[1], other_xyxy[1])
    inside = max(width, 0.0) * max(height, 0.0)
    areas = ((box[2] - box[0]) * (box[3] - box[1]) for box in (one_xyxy, other_xyxy))
    return inside / max(sum(areas) - inside, 1e-9)
