"""Files of other programs, image by image: what is broken is told, and leaves the others."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samkit.dataengine.exchange.writers import LABELS_FORMAT, layer_folder
from samkit.datasets.coco import read_json
from samkit.datasets.instance_png import label_rles, read_labels
from samkit.errors import DataError, FormatError
from samkit.formats.labelme import read_labelme
from samkit.geometry import encode_rle


@dataclass(frozen=True, kw_only=True)
class ForeignMask:
    """A mask as it came, not checked yet: `segmentation` is COCO's."""

    segmentation: Any
    class_name: str | None = None
    score: float | None = None
    stability: float | None = None
    stage: str = ""


@dataclass(frozen=True, kw_only=True)
class ForeignImage:
    """An image's name and masks; `review` is empty where the file does not tell."""

    name: str
    masks: tuple[ForeignMask, ...] = ()
    review: str = ""
    comment: str = ""
    faults: tuple[str, ...] = ()


def read_coco(path: Path) -> Iterator[ForeignImage]:
    """A COCO JSON file; annotations of crowds are no instances and left out.

    Raises:
        DataError: not a COCO file.
    """
    document = read_json(path)
    parts = document if isinstance(document, dict) else {}
    images, annotations = parts.get("images"), parts.get("annotations")
    if not isinstance(images, list) or not isinstance(annotations, list):
        raise DataError(f"{path} is not a COCO file: expected the lists `images` and `annotations`")
    names = _categories(parts.get("categories"))
    by_image: dict[str, list[Mapping[str, Any]]] = {}
    for one in annotations:
        if isinstance(one, dict) and not one.get("iscrowd"):
            by_image.setdefault(repr(one.get("image_id")), []).append(one)
    for entry in images:
        if not isinstance(entry, dict) or not isinstance(entry.get("file_name"), str):
            yield ForeignImage(name=str(path), faults=(f"not an image's entry: {entry!r:.60}",))
            continue
        masks = tuple(
            _mask(one, names.get(repr(one.get("category_id"))), one.get("score"))
            for one in by_image.get(repr(entry.get("id")), ())
        )
        yield _image(entry["file_name"], masks, entry.get("samkit"))


def read_sa1b_files(folder: Path) -> Iterator[ForeignImage]:
    """All JSON files of SA-1B in a folder and those in it.

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
        except DataError as error:  # noqa: PERF203 - of one, the others are not affected
            yield ForeignImage(name=str(path), faults=(str(error),))
        except (KeyError, TypeError, AttributeError) as error:
            reason = f"not as in SA-1B: {type(error).__name__} {error}"
            yield ForeignImage(name=str(path), faults=(reason,))
        else:
            yield image


def read_labelme_files(folder: Path) -> Iterator[ForeignImage]:
    """All JSON files of LabelMe in a folder and those in it.

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


def read_label_pngs(folder: Path) -> Iterator[ForeignImage]:
    """All PNGs of numbers in a folder and those in it; NAME.json tells classes, as exports do.

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
                rles = label_rles(read_labels(path))
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
    """Masks of an export, with their classes; those that overlap are in folders beside."""
    if facts["format"] != LABELS_FORMAT:
        raise DataError(f"{name}.json is not of the format {LABELS_FORMAT}")
    layers = {}
    for number in sorted({int(one["layer"]) for one in facts["masks"]}):
        place = folder if number == 1 else folder.parent / layer_folder(number)
        layers[number] = read_labels(place / f"{name}.png")
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


def _categories(entries: Any) -> dict[str, str]:
    """Names of classes by their numbers; without what only says that there is no class."""
    found = {}
    for one in entries if isinstance(entries, list) else []:
        if isinstance(one, dict) and isinstance(one.get("name"), str):
            extras = one.get("samkit")
            if not (isinstance(extras, dict) and extras.get("unlabelled")):
                found[repr(one.get("id"))] = one["name"]
    return found


def _mask(entry: Mapping[str, Any], class_name: str | None, score: Any) -> ForeignMask:
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
    except OverflowError:  # a whole number of hundreds of digits
        return None
