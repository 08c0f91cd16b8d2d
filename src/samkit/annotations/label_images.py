"""Reading label images: PNG files, and others, in which every number but 0 is one instance."""

from pathlib import Path
from typing import Any

from samkit.annotations.model import (
    AnnotatedImage,
    AnnotatedMask,
    AnnotationFiles,
    ReadOptions,
    files_and_root,
    named_values,
    text_or_empty,
    with_size,
    words_of,
)
from samkit.annotations.numbers import number_or_none
from samkit.annotations.segmentations import CocoSegmentation
from samkit.errors import DataError
from samkit.files import read_json
from samkit.formats import LABELS_FORMAT, label_rles, layer_folder, read_labels
from samkit.geometry import encode_rle

FORMAT = "png"
SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".jpg", ".jpeg")


def open_label_images(path: Path, options: ReadOptions) -> AnnotationFiles:
    """Read the pictures in a folder and its subfolders.

    Raises:
        DataError: there are none.
    """
    files, root = files_and_root(path, *SUFFIXES)
    files = _choose(files) if path.is_dir() else files
    return AnnotationFiles(FORMAT, files, root=root, reader=read_label_image, options=options)


def _choose(files: list[Path]) -> list[Path]:
    """The label images among pictures: of an export, those with a JSON file of their facts."""
    beside = [path for path in files if path.with_suffix(".json").is_file()]
    return beside if beside and _is_export(beside[0]) else files


def _is_export(path: Path) -> bool:
    try:
        document = read_json(path.with_suffix(".json"))
    except DataError:
        return False
    return isinstance(document, dict) and document.get("format") == LABELS_FORMAT


def read_label_image(path: Path, root: Path, options: ReadOptions) -> AnnotatedImage:
    """Read a label image; NAME.json beside NAME.png, as exports write it, has the classes and more.

    Raises:
        DataError: the file is missing, damaged, or no picture of instances.
    """
    facts = path.with_suffix(".json")
    if facts.is_file():
        document = read_json(facts)
        if isinstance(document, dict) and document.get("format") == LABELS_FORMAT:
            return _read_layers(path, root, document)
    image = read_labels(path, void=options.void, binary=options.binary, threshold=options.threshold)
    masks = tuple(
        AnnotatedMask(where=f"instance {number}", shape=CocoSegmentation(rle))
        for number, rle in enumerate(label_rles(image.labels), start=1)
    )
    return AnnotatedImage(
        name=path.relative_to(root).with_suffix("").as_posix(),
        has_suffix=False,
        file=path,
        size_hw=image.labels.shape[:2],
        masks=masks,
        void=None if image.void is None else encode_rle(image.void),
    )


def _read_layers(path: Path, root: Path, facts: dict[str, Any]) -> AnnotatedImage:
    """Read an export's masks with their classes; masks that overlap are in folders beside."""
    layers = {}
    first = next((one for one in path.parents if one.name == layer_folder(1)), root)
    for number in sorted({int(one["layer"]) for one in facts["masks"]}):
        layer = first if number == 1 else first.parent / layer_folder(number)
        numbers = read_labels(layer / path.relative_to(first), void=0, binary=False)
        layers[number] = numbers.labels
    masks = []
    for index, one in enumerate(facts["masks"], start=1):
        name = one["class"]
        mask = layers[int(one["layer"])] == int(one["number"])
        masks.append(
            AnnotatedMask(
                where=f"mask {index}",
                shape=CocoSegmentation(encode_rle(mask)),
                class_name=name if isinstance(name, str) else None,
                score=number_or_none(one["score"]),
                stability=number_or_none(one["stability"]),
                stage=text_or_empty(one["stage"]),
                attributes=named_values(one.get("attributes")),
            )
        )
    found = facts.get("samkit")
    extras = found if isinstance(found, dict) else {}
    if not text_or_empty(facts["file_name"]).strip():
        raise DataError(f"{path.with_suffix('.json')}: file_name must be an image's name")
    image = AnnotatedImage(
        name=facts["file_name"],
        file=path,
        masks=tuple(masks),
        review=text_or_empty(extras.get("review")),
        comment=text_or_empty(extras.get("comment")),
        tags=words_of(extras.get("tags")),
    )
    return with_size(image, facts.get("height"), facts.get("width"))
