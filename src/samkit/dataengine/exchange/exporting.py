"""Export of a project's masks to the file formats of other programs."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from samkit.dataengine.database import Store
from samkit.dataengine.exchange.export_folder import export_folder
from samkit.dataengine.exchange.history import export_history
from samkit.dataengine.exchange.records import ALL, TRAIN, VAL, ImageRecord, read_records, split_of
from samkit.dataengine.exchange.writer import Writer
from samkit.dataengine.exchange.writers import WRITERS
from samkit.dataengine.values import FINISHED, Review, check_choice, check_states
from samkit.dataengine.work import get_labelling, get_project, list_classes, open_image_file
from samkit.errors import FormatError, ImageError, StoreError
from samkit.files import make_folder
from samkit.formats import copy_upright, read_image_file, write_png

HISTORY_NAME = "history.jsonl"


@dataclass(frozen=True, kw_only=True)
class ExportReport:
    """Result of an export.

    Attributes:
        num_images: exported images by split.
        num_masks: exported masks by split.
        num_lines: of the history; None if it was not exported.
        faults: one line for each image that was left out.
        notes: one line for each thing that readers of the export may stumble over.
    """

    num_images: dict[str, int]
    num_masks: dict[str, int]
    num_lines: int | None
    faults: tuple[str, ...]
    notes: tuple[str, ...]


def export_project(
    store: Store,
    project_id: int,
    folder: str | os.PathLike[str],
    *,
    file_format: str,
    val_fraction: float = 0.0,
    states: Sequence[Review] = FINISHED,
    copy_images: bool = False,
    with_history: bool = False,
    on_image: Callable[[int], None] | None = None,
) -> ExportReport:
    """Export a project's masks to a folder of their own.

    An earlier export of the project in this format is replaced as a whole, or on any error not at
    all; samkit-export.manifest in the folder says what was exported, and lists the files.

    Args:
        folder: created if missing; empty, or of an earlier export.
        file_format: coco, cvat, datumaro, geojson, labelme, label-studio, png, roboflow, sa1b, voc
            or yolo.
        val_fraction: fraction of images for a validation split, chosen by their content.
        states: export only images in these states of review. Images without masks are exported
            only if they are submitted or accepted: nobody has said of the others that they are
            empty.
        copy_images: also copy the images to where the format expects them; those that EXIF turns
            are written upright, since not all programs know EXIF.
        with_history: also write history.jsonl, see `export_history`.
        on_image: called with the number of images done.

    Raises:
        StoreError: no such project, format or state.
        ConfigError: val_fraction is out of range.
        OutputError: the folder has something else in it, files cannot be written, or two would
            have the same name.
    """
    check_choice("a format", file_format, tuple(WRITERS))
    check_states(states)
    project = get_project(store, project_id)
    splits = (ALL,) if split_of("0" * 64, val_fraction) == ALL else (TRAIN, VAL)
    options = {"val_fraction": val_fraction, "states": list(states)}
    facts = {"project": project.name, "file_format": file_format, "options": options}
    with export_folder(Path(folder), facts) as opened:
        task = _Export(
            splits=splits,
            val_fraction=val_fraction,
            images=store if copy_images else None,
        )
        classes = [one.name for one in list_classes(store, project_id)]
        with ExitStack() as stack:
            writer = WRITERS[file_format](
                opened.staging,
                splits,
                classes,
                stack,
                has_images=copy_images,
                labelling=get_labelling(store, project_id),
            )
            task.run(writer, read_records(store, project_id, states=states), on_image)
        num_lines = None
        if with_history:
            path = opened.staging / HISTORY_NAME
            num_lines = export_history(store, project_id, path, states=states)
        report = task.report(num_lines)
        opened.facts |= {
            "num_images": report.num_images,
            "num_masks": report.num_masks,
            "faults": report.faults,
            "notes": report.notes,
        }
    return report


@dataclass(kw_only=True)
class _Export:
    """A running export; `images` is the store whose images are copied, None if they are not."""

    splits: tuple[str, ...]
    val_fraction: float
    images: Store | None
    num_images: dict[str, int] = field(init=False)
    num_masks: dict[str, int] = field(init=False)
    num_turned: int = 0
    num_open: int = 0  # without masks, and not submitted
    num_plain: int = 0  # masks whose attributes the format cannot hold
    num_untagged: int = 0  # images whose tags it cannot hold
    faults: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.num_images = dict.fromkeys(self.splits, 0)
        self.num_masks = dict.fromkeys(self.splits, 0)

    def run(
        self,
        writer: Writer,
        records: Iterator[ImageRecord],
        on_image: Callable[[int], None] | None,
    ) -> None:
        for number, record in enumerate(records, start=1):
            if record.annotations or record.image.review in FINISHED:
                self._add(writer, record)
            else:
                self.num_open += 1
            if on_image is not None:
                on_image(number)
        writer.finish()

    def _add(self, writer: Writer, record: ImageRecord) -> None:
        """Write one image, or note what is wrong with it."""
        split = split_of(record.image.sha256, self.val_fraction)
        try:
            self._write(writer, record, split)
        except (StoreError, ImageError, FormatError) as error:
            text = str(error)
            named = text.startswith((f"{record.source} ", f"{record.source}:"))
            self.faults.append(text if named else f"{record.source}: {text}")
        else:
            self.num_images[split] += 1
            self.num_masks[split] += len(record.annotations)
            if not writer.holds_attributes:
                self.num_plain += sum(bool(one.attributes) for one in record.annotations)
            if not writer.holds_tags:
                self.num_untagged += bool(record.image.tags)

    def _write(self, writer: Writer, record: ImageRecord, split: str) -> None:
        """Write one image's masks, and the image; neither if one of them is impossible."""
        place, copy = writer.claim_image(record, split), None
        if self.images is not None:
            copy = place
            make_folder(copy.parent)
            self._copy(self.images, record, copy)
        try:
            writer.add(record, split)
        except FormatError:
            if copy is not None:
                copy.unlink()
            raise
        if copy is not None and not writer.is_readable(record.image.path):
            self.unreadable.append(record.image.path)

    def _copy(self, store: Store, record: ImageRecord, place: Path) -> None:
        """Copy an image upright; of a page of a file write what is seen of it."""
        image = replace(record.image, path=record.source)
        with open_image_file(store, image) as file:
            if image.page == 1:
                self.num_turned += copy_upright(file, place, image.path)
                return
            pixels = read_image_file(
                file, image.path, page=image.page, value_range=image.value_range
            )
            write_png(place, pixels)

    def report(self, num_lines: int | None) -> ExportReport:
        return ExportReport(
            num_images=self.num_images,
            num_masks=self.num_masks,
            num_lines=num_lines,
            faults=tuple(self.faults),
            notes=tuple(self._notes()),
        )

    def _notes(self) -> Iterator[str]:
        total = sum(self.num_images.values())
        for split in self.splits:
            if total and not self.num_images[split]:
                yield (
                    f"{split}: no image fell into it, of {total} with a validation fraction of"
                    f" {self.val_fraction:g}; splits go by the images' content"
                )
        if self.num_open:
            yield (
                f"{self.num_open:,} image{'' if self.num_open == 1 else 's'} without masks left"
                " out: nobody has submitted them, so that they may not be empty"
            )
        if self.num_plain:
            yield (
                f"the attributes of {self.num_plain:,} mask{'' if self.num_plain == 1 else 's'} are"
                " not in the export: the format has no place for them"
            )
        if self.num_untagged:
            yield (
                f"the tags of {self.num_untagged:,} image{'' if self.num_untagged == 1 else 's'}"
                " are not in the export: the format has no place for them"
            )
        if self.num_turned:
            one = self.num_turned == 1
            yield (
                f"{self.num_turned:,} copied image{'' if one else 's'} {'was' if one else 'were'}"
                f" turned upright, as {'its' if one else 'their'} EXIF data says"
            )
        if self.unreadable:
            first, more = self.unreadable[0], len(self.unreadable) - 1
            yield (
                f"{first}{f' and {more} more' if more else ''}: the format's readers do not take"
                " images of this kind: convert them"
            )
