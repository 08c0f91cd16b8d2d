"""Export of a project's masks to the file formats of other programs."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from samkit.dataengine.database import Store
from samkit.dataengine.exchange.records import ALL, TRAIN, VAL, ImageRecord, read_records, split_of
from samkit.dataengine.exchange.writers import WRITERS
from samkit.dataengine.values import FINISHED, Review, check_choice, check_states
from samkit.dataengine.work import ImageSource, get_project, list_classes
from samkit.errors import OutputError
from samkit.files import replacing
from samkit.formats import read_image_file, split_page, write_png


@dataclass(frozen=True, kw_only=True)
class ExportReport:
    """Numbers of exported images and masks by split."""

    num_images: dict[str, int]
    num_masks: dict[str, int]


def export_project(
    store: Store,
    project_id: int,
    folder: str | os.PathLike[str],
    *,
    file_format: str,
    val_fraction: float = 0.0,
    states: Sequence[Review] = FINISHED,
    copy_images: bool = False,
    on_image: Callable[[int], None] | None = None,
) -> ExportReport:
    """Export a project's masks.

    Args:
        folder: output folder, created if missing. Files of the same names are replaced.
        file_format: coco, geojson, png, sa1b, voc or yolo.
        val_fraction: fraction of images for a validation split, chosen by their content.
        states: export only images in these states of review. Images without masks are exported
            only if they are submitted or accepted: nobody has said of the others that they are
            empty.
        copy_images: also copy the images to where the format expects them.
        on_image: called with the number of images done.

    Raises:
        StoreError: no such project, format or state, or an image to copy is missing.
        ConfigError: val_fraction is out of range.
        OutputError: files cannot be written, or two would have the same name.
        FormatError: more masks or classes than the format can hold.
    """
    check_choice("a format", file_format, tuple(WRITERS))
    check_states(states)
    root = get_project(store, project_id).root
    target = Path(folder)
    classes = [one.name for one in list_classes(store, project_id)]
    num_images, num_masks = {}, {}
    splits = (ALL,) if split_of("0" * 64, val_fraction) == ALL else (TRAIN, VAL)
    for split in splits:
        records = _of_split(store, project_id, split, val_fraction, states)
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
    store: Store, project_id: int, split: str, val_fraction: float, states: Sequence[Review]
) -> Iterator[ImageRecord]:
    """Iterate over a split's images; refuse two whose mask files would have the same name."""
    seen: dict[str, str] = {}
    for record in read_records(store, project_id, states=states):
        path = record.image.path
        if split_of(record.image.sha256, val_fraction) != split:
            continue
        if record.base in seen:
            raise OutputError(
                f"{seen[record.base]} and {path} differ only in their suffix, so that their"
                " mask files would have the same name: rename one"
            )
        seen[record.base] = path
        yield record


def _copy(source: ImageSource, record: ImageRecord, place: Path) -> None:
    """Copy an image's file; of a page write what is seen of it, as PNG."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with source.open(record.source) as image:
        page = split_page(record.source)[1]
        if page is not None:
            pixels = read_image_file(
                image, record.source, page=page, value_range=record.image.value_range
            )
            write_png(place, pixels)
            return
        with replacing(place) as temporary, temporary.open("wb") as file:
            shutil.copyfileobj(image, file)
