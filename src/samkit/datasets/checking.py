"""What a data set is, before it is imported or trained on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pycocotools import mask as coco_mask

from samkit.annotations import (
    AnnotatedImage,
    DrawnImage,
    Fault,
    draw_image,
    faults_of_nothing,
    find_duplicates,
    find_suspicions,
    place_notes,
)
from samkit.datasets.annotated import AnnotatedImages
from samkit.datasets.joined import JoinedData
from samkit.errors import DataError, ImageError
from samkit.files import file_sha256
from samkit.formats import read_size_and_orientation
from samkit.geometry import rle_area, rle_box_xyxy

# COCO's limits between small, medium and large objects, and of what nobody draws on purpose.
MAX_NAME = 200  # characters of a class's name in the data engine
SIZES_PX = {"at most 9 px": 0, "small": 10, "medium": 32**2, "large": 96**2}


@dataclass(frozen=True, kw_only=True)
class CheckedImage:
    """An image with its masks as they will be imported or trained on."""

    path: str
    size_hw: tuple[int, int]
    drawn: DrawnImage

    def annotations(self, category: Callable[[str | None], int]) -> Iterator[dict[str, Any]]:
        """Fields of COCO annotations: masks as RLEs, without those drawn twice or empty.

        Args:
            category: number of a class's category.
        """
        names = [one.class_name for one in self.drawn.masks]
        twice = find_duplicates(self.drawn.rles, names)
        pairs = zip(self.drawn.masks, self.drawn.rles, strict=True)
        for index, (mask, rle) in enumerate(pairs):
            area = rle_area(rle)
            if index not in twice:
                x0, y0, x1, y1 = rle_box_xyxy(rle)
                yield {
                    "category_id": category(mask.class_name),
                    "segmentation": rle,
                    "area": area,
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "iscrowd": int(mask.is_crowd),
                    **({} if mask.score is None else {"score": mask.score}),
                }


@dataclass(kw_only=True)
class DataReport:
    """What a data set holds.

    Attributes:
        path: file or folder of the annotations.
        format_name: their format.
        folder: folder of the images, or where they were looked for first.
        num_images: images that the annotations list.
        num_found: those that are there and can be read.
        num_annotations: annotations in the files: masks, parts of masks, and `num_left_out`.
        num_masks: masks that can be used.
        num_joined: annotations that are parts of these masks, besides the first of each.
        num_left_out: annotations that cannot.
        num_overlapping: images on which masks share pixels.
        shared_pixels: fraction of all masks' pixels that lie in more than one.
        sizes_hw: how many images have each size.
        classes: masks of each class; None for those without one.
        masks_by_size: masks of each size, as COCO names them.
        unannotated: images of the folder that no annotation names.
        duplicates: images with the same content within a split.
        files: split and path of each image that was found.
        faults: what would be left out, and why.
        warnings: what is valid but may not mean what it seems.
        notes: what is understood in an unusual way.
    """

    path: Path
    format_name: str
    folder: Path
    num_images: int = 0
    num_found: int = 0
    num_annotations: int = 0
    num_masks: int = 0
    num_joined: int = 0
    num_left_out: int = 0
    num_overlapping: int = 0
    shared_pixels: float = 0.0
    sizes_hw: Counter[tuple[int, int]] = field(default_factory=Counter)
    classes: Counter[str | None] = field(default_factory=Counter)
    masks_by_size: Counter[str] = field(default_factory=Counter)
    unannotated: list[str] = field(default_factory=list)
    duplicates: list[tuple[str, ...]] = field(default_factory=list)
    files: list[tuple[str, Path]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        """Whether nothing would be left out."""
        return not self.faults


def check_data(
    data: AnnotatedImages,
    *,
    on_image: Callable[[int], None] | None = None,
    on_checked: Callable[[CheckedImage], None] | None = None,
) -> DataReport:
    """Read all annotations and the images' headers, as import and training would.

    Args:
        data: the data set.
        on_image: called with the number of images done.
        on_checked: called with each image that can be used.
    """
    report = DataReport(
        path=data.path, format_name=data.annotations.format_name, folder=data.folder
    )
    check = _Check(data=data, report=report)
    check.leave_out("", data.annotations.faults, counted=True)
    for index in range(len(data)):
        image = data.annotations.read(index)
        checked = check.image(image)
        if checked is not None and on_checked is not None:
            on_checked(checked)
        if on_image is not None:
            on_image(index + 1)
    check.finish()
    return report


def find_shared(reports: Sequence[DataReport]) -> list[str]:
    """One line for each image whose content is in several splits, of one data set or of several."""
    several = len(reports) > 1
    files = [
        (f"{report.path} {split}".strip() if several else split, path)
        for report in reports
        for split, path in report.files
    ]
    found = []
    for group in _same_content(files):
        if len({split for split, _ in group}) > 1:
            places = ", ".join(f"{path} in {split}" for split, path in group)
            found.append(f"one image in several splits: {places}")
    return found


def find_shared_with(train: object, val: object) -> list[str]:
    """One line for each image of one data set whose content is also in the other.

    Only data sets of annotation files can be compared; of others, none is found.
    """
    files = [("train", path) for path in _files(train)] + [("val", path) for path in _files(val)]
    groups = (dict(group) for group in _same_content(files))
    return [f"{one['train']} and {one['val']}" for one in groups if len(one) > 1]


def _files(data: object) -> list[Path]:
    """Image files of data sets of annotation files; none of others."""
    if isinstance(data, JoinedData):
        return [path for part in data.parts for path in _files(part)]
    return data.files() if isinstance(data, AnnotatedImages) else []


def _same_content(files: Sequence[tuple[str, Path]]) -> Iterator[list[tuple[str, Path]]]:
    """Groups of files with the same content; only those of the same length are read."""
    by_length: dict[int, list[tuple[str, Path]]] = {}
    for split, path in files:
        by_length.setdefault(path.stat().st_size, []).append((split, path))
    for same_length in by_length.values():
        if len(same_length) < 2:
            continue
        by_content: dict[str, list[tuple[str, Path]]] = {}
        for split, path in same_length:
            by_content.setdefault(file_sha256(path), []).append((split, path))
        yield from (group for group in by_content.values() if len(group) > 1)


@dataclass(kw_only=True)
class _Check:
    """A running check."""

    data: AnnotatedImages
    report: DataReport
    mask_pixels: int = 0
    shared_pixels: int = 0

    def image(self, image: AnnotatedImage) -> CheckedImage | None:
        """Check an image; None if it cannot be used."""
        report = self.report
        report.num_annotations += image.num_annotations
        if not image.name:
            self.leave_out("", faults_of_nothing(image))
            return None
        report.num_images += 1
        try:
            path = self.data.locate(image)
            with (self.data.folder / path).open("rb") as file:
                size_hw, orientation = read_size_and_orientation(file, path)
            drawn = draw_image(image, size_hw, orientation)
        except (DataError, ImageError, OSError) as error:
            lost = sum(one.num_annotations for one in image.masks)
            self.leave_out(image.name, [Fault(text=str(error), num_annotations=lost)])
            self.leave_out(image.name, image.faults)
            return None
        report.num_found += 1
        report.files.append((image.split, self.data.folder / path))
        report.sizes_hw[size_hw] += 1
        notes = (*place_notes(image.name, path), *drawn.notes)
        report.notes += [f"{path}: {note}" for note in notes]
        self.leave_out(path, drawn.faults)
        self._masks(path, drawn)
        return CheckedImage(path=path, size_hw=size_hw, drawn=drawn)

    def _masks(self, path: str, drawn: DrawnImage) -> None:
        report = self.report
        names = [one.class_name for one in drawn.masks]
        areas = [rle_area(rle) for rle in drawn.rles]
        report.num_masks += len(names)
        report.num_joined += sum(one.num_annotations - 1 for one in drawn.masks)
        report.classes.update(names)
        report.masks_by_size.update(_size_name(area) for area in areas)
        suspicions = find_suspicions(drawn.rles, names)
        report.warnings += [f"{path}: {one}" for one in suspicions]
        if len(areas) > 1:
            # A pixel of two masks counts twice in the sum, and once in the union.
            shared = sum(areas) - int(coco_mask.area(coco_mask.merge(list(drawn.rles))))
            report.num_overlapping += shared > 0
            self.shared_pixels += shared
        self.mask_pixels += sum(areas)

    def finish(self) -> None:
        """Find what only the full data set shows."""
        report, data = self.report, self.data
        report.shared_pixels = self.shared_pixels / max(1, self.mask_pixels)
        named = {path.relative_to(data.folder).as_posix() for _, path in report.files}
        report.unannotated = sorted(set(data.image_paths()) - named)
        splits = dict.fromkeys(split for split, _ in report.files)
        for split in splits:
            own = [(one, path) for one, path in report.files if one == split]
            for group in _same_content(own):
                names = (path.relative_to(data.folder).as_posix() for _, path in group)
                report.duplicates.append(tuple(names))
        report.faults += find_shared([report])
        folded: dict[str, list[str]] = {}
        for name in filter(None, report.classes):
            folded.setdefault(name.strip().casefold(), []).append(name)
        report.warnings += [
            f"classes that differ in case or spaces alone: {', '.join(map(repr, sorted(names)))}"
            for names in folded.values()
            if len(names) > 1
        ]
        report.warnings += [
            f"the name of a class that imports refuse: {name!a:.60}"
            for name in filter(None, report.classes)
            if not name.isprintable() or len(name) > MAX_NAME
        ]

    def leave_out(self, name: str, faults: Iterable[Fault], *, counted: bool = False) -> None:
        """Record what would be left out; `counted`: it belongs to no image."""
        for fault in faults:
            self.report.faults.append(f"{name}: {fault.text}" if name else fault.text)
            self.report.num_left_out += fault.num_annotations
            if counted:
                self.report.num_annotations += fault.num_annotations


def _size_name(area_px: int) -> str:
    return max((limit, name) for name, limit in SIZES_PX.items() if area_px >= limit)[1]
