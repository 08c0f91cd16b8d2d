"""A project's masks to files of other programs."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from samkit.dataengine.database import Store
from samkit.dataengine.exchange.records import ALL, TRAIN, VAL, ImageRecord, read_records, split_of
from samkit.dataengine.exchange.writers import WRITERS
from samkit.dataengine.values import check_choice
from samkit.dataengine.work import ImageSource, get_project, list_classes
from samkit.errors import OutputError
from samkit.files import replacing


@dataclass(frozen=True, kw_only=True)
class ExportReport:
    """What was written: images and masks of each split."""

    num_images: dict[str, int]
    num_masks: dict[str, int]


def export_project(
    store: Store,
    project_id: int,
    folder: str | os.PathLike[str],
    *,
    file_format: str,
    val_fraction: float = 0.0,
    accepted_only: bool = False,
    copy_images: bool = False,
    on_image: Callable[[int], None] | None = None,
) -> ExportReport:
    """Write a project's masks.

    Args:
        store: where they are.
        project_id: of the project.
        folder: where to; made if need be. Files of the same names are replaced.
        file_format: coco, geojson, png, sa1b, voc or yolo.
        val_fraction: of the images into a split for validation, chosen by their content.
        accepted_only: only images that a reviewer has accepted.
        copy_images: put the images where the format expects them; otherwise they stay where they
            are.
        on_image: told how many images are done.

    Raises:
        StoreError: no such project or format, or an image that shall be copied is missing.
        ConfigError: val_fraction makes no sense.
        OutputError: files cannot be written, or would have the same name.
        FormatError: more masks or classes than the format can hold.
    """
    check_choice("a format", file_format, tuple(WRITERS))
    root = get_project(store, project_id).root
    target = Path(folder)
    classes = [one.name for one in list_classes(store, project_id)]
    num_images, num_masks = {}, {}
    splits = (ALL,) if split_of("0" * 64, val_fraction) == ALL else (TRAIN, VAL)
    for split in splits:
        records = _of_split(store, project_id, split, val_fraction, accepted_only=accepted_only)
        num_images[split] = num_masks[split] = 0
        try:
            target.mkdir(parents=True, exist_ok=True)
            for record, place in WRITERS[file_format](records, target, split, classes):
                num_images[split] += 1
                num_masks[split] += len(record.annotations)
                if copy_images:
                    _copy(ImageSource(root), record, place)
                if on_image is not None:
                    on_image(sum(num_images.values()))
        except OSError as error:
            raise OutputError(f"cannot write to {target}: {error.strerror or error}") from error
    return ExportReport(num_images=num_images, num_masks=num_masks)


def _of_split(
    store: Store, project_id: int, split: str, val_fraction: float, *, accepted_only: bool
) -> Iterator[ImageRecord]:
    """Images of a split; two whose masks would go to files of the same name are refused."""
    seen: dict[str, str] = {}
    for record in read_records(store, project_id, accepted_only=accepted_only):
        path = record.image.path
        if split_of(record.image.sha256, val_fraction) != split:
            continue
        if record.base in seen:
            raise OutputError(
                f"{seen[record.base]} and {path} differ by their suffix only, and so would the"
                " files of their masks: rename one"
            )
        seen[record.base] = path
        yield record


def _copy(source: ImageSource, record: ImageRecord, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    with (
        source.open(record.image.path) as image,
        replacing(place) as temporary,
        temporary.open("wb") as file,
    ):
        shutil.copyfileobj(image, file)
