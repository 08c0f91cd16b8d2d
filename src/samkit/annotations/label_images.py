"""Reading label images: PNG files, and others, in which every number but 0 is one instance."""

from pathlib import Path
from typing import Any

from samkit.annotations.model import (
    AnnotatedImage,
    AnnotatedMask,
    AnnotationFiles,
    ReadOptions,
    find_files,
    with_size,
)
from samkit.annotations.numbers import number_or_none
from samkit.annotations.segmentations import CocoSegmentation
from samkit.annotations.text import read_json_text
from samkit.errors import DataError
from samkit.formats import LABELS_FORMAT, label_rles, layer_folder, read_labels
from samkit.geometry import encode_rle

FORMAT = "png"
SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".jpg", ".jpeg")


def open_label_images(path: Path, options: ReadOptions) -> AnnotationFiles:
    """Read the pictures in a folder and its subfolders.

    Raises:
        DataError: there are none.
    """
    files, root = [path], path.parent
    if not path.is_file():
        files, root = find_files(path, *SUFFIXES), path
    return AnnotationFiles(FORMAT, files, root=root, reader=read_label_image, options=options)


def read_label_image(path: Path, root: Path, options: ReadOptions) -> AnnotatedImage:
    """Read a label image; NAME.json beside NAME.png, as exports write it, has the classes and more.

    Raises:
        DataError: the file is missing, damaged, or no picture of instances.
    """
    facts = path.with_suffix(".json")
    if facts.is_file():
        document = read_json_text(facts)
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
    relative = path.relative_to(root)
    for number in sorted({int(one["layer"]) for one in facts["masks"]}):
        layer = root if number == 1 else root.parent / layer_folder(number)
        layers[number] = read_labels(layer / relative, void=0, binary=False).labels
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
                stage=str(one["stage"]),
            )
        )
    found = facts.get("samkit")
    extras = found if isinstance(found, dict) else {}
    if not isinstance(facts["file_name"], str):
        raise DataError(f"{path.with_suffix('.json')}: file_name must be text")
    image = AnnotatedImage(
        name=facts["file_name"],
        file=path,
        masks=tuple(masks),
        review=str(extras.get("review", "")),
        comment=str(extras.get("comment", "")),
    )
    return with_size(image, facts.get("height"), facts.get("width"))
