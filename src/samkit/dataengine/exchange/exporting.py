"""A project's masks to files of other programs."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from samkit.dataengine.database import Store
from samkit.dataengine.exchange.records import ALL, TRAIN, VAL, PhotoRecord, read_records, split_of
from samkit.dataengine.exchange.writers import WRITERS
from samkit.dataengine.projects import get_project, list_classes
from samkit.dataengine.sources import PhotoSource
from samkit.dataengine.values import check_choice
from samkit.errors import OutputError
from samkit.files import replacing


@dataclass(frozen=True, kw_only=True)
class ExportReport:
    """What was written: photos and masks of each split."""

    num_photos: dict[str, int]
    num_masks: dict[str, int]


def export_project(
    store: Store,
    project_id: int,
    folder: str | os.PathLike[str],
    *,
    file_format: str,
    val_fraction: float = 0.0,
    accepted_only: bool = False,
    copy_photos: bool = False,
    on_photo: Callable[[int], None] | None = None,
) -> ExportReport:
    """Write a project's masks.

    Args:
        store: where they are.
        project_id: of the project.
        folder: where to; made if need be. Files of the same names are replaced.
        file_format: coco, geojson, png, sa1b, voc or yolo.
        val_fraction: of the photos into a split for validation, chosen by their content.
        accepted_only: only photos that a reviewer has accepted.
        copy_photos: put the photos where the format expects them; otherwise they stay where they
            are.
        on_photo: told how many photos are done.

    Raises:
        StoreError: no such project or format, or a photo that shall be copied is missing.
        ConfigError: val_fraction makes no sense.
        OutputError: files cannot be written, or would have the same name.
        FormatError: more masks or classes than the format can hold.
    """
    check_choice("a format", file_format, tuple(WRITERS))
    root = get_project(store, project_id).root
    target = Path(folder)
    classes = [one.name for one in list_classes(store, project_id)]
    num_photos, num_masks = {}, {}
    splits = (ALL,) if split_of("0" * 64, val_fraction) == ALL else (TRAIN, VAL)
    for split in splits:
        records = _of_split(store, project_id, split, val_fraction, accepted_only=accepted_only)
        num_photos[split] = num_masks[split] = 0
        try:
            target.mkdir(parents=True, exist_ok=True)
            for record, place in WRITERS[file_format](records, target, split, classes):
                num_photos[split] += 1
                num_masks[split] += len(record.annotations)
                if copy_photos:
                    _copy(PhotoSource(root), record, place)
                if on_photo is not None:
                    on_photo(sum(num_photos.values()))
        except OSError as error:
            raise OutputError(f"cannot write to {target}: {error.strerror or error}") from error
    return ExportReport(num_photos=num_photos, num_masks=num_masks)


def _of_split(
    store: Store, project_id: int, split: str, val_fraction: float, *, accepted_only: bool
) -> Iterator[PhotoRecord]:
    """Photos of a split; two whose masks would go to files of the same name are refused."""
    seen: dict[str, str] = {}
    for record in read_records(store, project_id, accepted_only=accepted_only):
        path = record.photo.path
        if split_of(record.photo.sha256, val_fraction) != split:
            continue
        if record.base in seen:
            raise OutputError(
                f"{seen[record.base]} and {path} differ by their suffix only, and so would the"
                " files of their masks: rename one"
            )
        seen[record.base] = path
        yield record


def _copy(source: PhotoSource, record: PhotoRecord, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    with (
        source.open(record.photo.path) as photo,
        replacing(place) as temporary,
        temporary.open("wb") as file,
    ):
        shutil.copyfileobj(photo, file)
