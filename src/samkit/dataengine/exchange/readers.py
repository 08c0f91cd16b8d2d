"""Readers of other programs' files, image by image, which tolerate broken parts."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samkit.dataengine.exchange.writers import LABELS_FORMAT, layer_folder
from samkit.errors import DataError, FormatError
from samkit.files import read_json
from samkit.formats import label_rles, read_coco, read_labelme, read_labels
from samkit.geometry import encode_rle


@dataclass(frozen=True, kw_only=True)
class ForeignMask:
    """A mask as the file has it, not checked yet: `segmentation` is COCO's."""

    segmentation: Any
    class_name: str | None = None
    score: float | None = None
    stability: float | None = None
    stage: str = ""


@dataclass(frozen=True, kw_only=True)
class ForeignImage:
    """An image's name and masks; `review` is empty if the file does not state it."""

    name: str
    masks: tuple[ForeignMask, ...] = ()
    review: str = ""
    comment: str = ""
    faults: tuple[str, ...] = ()


def read_coco_images(path: Path) -> Iterator[ForeignImage]:
    """Read a COCO JSON file; annotations of crowds are not instances and are left out.

    Raises:
        DataError: not a COCO file.
    """
    file = read_coco(path)
    for image in file.images:
        try:
            name = image.file_name
        except DataError as error:
            yield ForeignImage(name=str(path), faults=(str(error),))
            continue
        masks = tuple(
            _mask(one, file.class_name(one), one.get("score")) for one in image.annotations
        )
        yield _image(name, masks, image.entry.get("samkit"))


def read_sa1b_images(folder: Path) -> Iterator[ForeignImage]:
    """Read all SA-1B JSON files in a folder and its subfolders.

    Raises:
        DataError: there are none.
    """
    for path in _files(folder, ".json"):
        try:
            document = read_json(path)
            entry, annotations = document["image"], document["annotations"]
            image = _image(
                str(entry["file_name"]),
                tuple(
                    _mask(one, _text(one.get("category")), one.get("predicted_iou"))
                    for one in annotations
                ),
                entry.get("samkit"),
            )
        except DataError as error:  # noqa: PERF203 - one broken file leaves the others
            yield ForeignImage(name=str(path), faults=(str(error),))
        except (KeyError, TypeError, AttributeError) as error:
            reason = f"not as in SA-1B: {type(error).__name__} {error}"
            yield ForeignImage(name=str(path), faults=(reason,))
        else:
            yield image


def read_labelme_images(folder: Path) -> Iterator[ForeignImage]:
    """Read all LabelMe JSON files in a folder and its subfolders.

    Raises:
        DataError: there are none.
    """
    for path in _files(folder, ".json"):
        try:
            file = read_labelme(path)
        except FormatError as error:
            yield ForeignImage(name=str(path), faults=(str(error),))
            continue
        masks = tuple(
            ForeignMask(segmentation=rle, class_name=label)
            for label, rle in zip(file.labels, file.rles, strict=True)
        )
        yield ForeignImage(name=file.image, masks=masks, faults=file.faults)


def read_label_images(folder: Path) -> Iterator[ForeignImage]:
    """Read all label images (PNG) in a folder and its subfolders.

    NAME.json beside NAME.png, as exports write it, has the classes and more.

    Raises:
        DataError: there are none.
    """
    for path in _files(folder, ".png"):
        name = path.relative_to(folder).with_suffix("").as_posix()
        facts = path.with_suffix(".json")
        try:
            if facts.is_file():
                image = _read_layers(folder, name, read_json(facts))
            else:
                rles = label_rles(read_labels(path).labels)
                masks = tuple(ForeignMask(segmentation=rle) for rle in rles)
                image = ForeignImage(name=name, masks=masks)
        except DataError as error:
            yield ForeignImage(name=name, faults=(str(error),))
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
            reason = f"{facts} is not as samkit writes it: {type(error).__name__} {error}"
            yield ForeignImage(name=name, faults=(reason,))
        else:
            yield image


def _read_layers(folder: Path, name: str, facts: Any) -> ForeignImage:
    """Read an export's masks with their classes; masks that overlap are in folders beside."""
    if facts["format"] != LABELS_FORMAT:
        raise DataError(f"{name}.json is not of the format {LABELS_FORMAT}")
    layers = {}
    for number in sorted({int(one["layer"]) for one in facts["masks"]}):
        layer = folder if number == 1 else folder.parent / layer_folder(number)
        layers[number] = read_labels(layer / f"{name}.png").labels
    masks = tuple(
        ForeignMask(
            segmentation=encode_rle(layers[int(one["layer"])] == int(one["number"])),
            class_name=_text(one["class"]),
            score=_number(one["score"]),
            stability=_number(one["stability"]),
            stage=str(one["stage"]),
        )
        for one in facts["masks"]
    )
    return _image(str(facts["file_name"]), masks, facts.get("samkit"))


def _files(folder: Path, suffix: str) -> list[Path]:
    found = sorted(folder.rglob(f"*{suffix}")) if folder.is_dir() else []
    if not found:
        raise DataError(f"{folder} has no {suffix} files")
    return found


def _mask(entry: Mapping[str, Any], class_name: str | None, score: Any) -> ForeignMask:
    """Mask of an annotation; samkit's own fields, if any, are more exact than the standard ones."""
    found = entry.get("samkit")
    extras = found if isinstance(found, dict) else {}
    return ForeignMask(
        segmentation=entry.get("segmentation"),
        class_name=class_name,
        score=_number(extras.get("score", score)),
        stability=_number(extras.get("stability", entry.get("stability_score"))),
        stage=str(extras.get("stage", "")),
    )


def _image(name: str, masks: tuple[ForeignMask, ...], found: Any) -> ForeignImage:
    extras = found if isinstance(found, dict) else {}
    return ForeignImage(
        name=name,
        masks=masks,
        review=str(extras.get("review", "")),
        comment=str(extras.get("comment", "")),
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    try:
        return float(value) if is_number else None
    except OverflowError:  # an integer of hundreds of digits
        return None
