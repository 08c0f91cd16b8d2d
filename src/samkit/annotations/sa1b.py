"""Reading JSON files as in SA-1B: one per image, beside it.

Only the masks are needed: files of other programs with nothing but `segmentation` in each
annotation suffice.
"""

from pathlib import Path
from typing import Any

from samkit.annotations.model import (
    BROKEN,
    AnnotatedImage,
    AnnotatedMask,
    AnnotationFiles,
    Fault,
    ReadOptions,
    describe,
    files_and_root,
    folder_of,
    named_values,
    text_or_empty,
    with_size,
    words_of,
)
from samkit.annotations.numbers import number_or_none
from samkit.annotations.segmentations import CocoSegmentation
from samkit.errors import DataError
from samkit.files import read_json

FORMAT = "sa1b"


def open_sa1b(path: Path, options: ReadOptions) -> AnnotationFiles:
    """Read the JSON files in a folder and its subfolders, or one file.

    Raises:
        DataError: there are none.
    """
    files, root = files_and_root(path, ".json")
    return AnnotationFiles(FORMAT, files, root=root, reader=read_sa1b_file, options=options)


def read_sa1b_file(path: Path, root: Path, _options: ReadOptions) -> AnnotatedImage:
    """Read one image's JSON file.

    Raises:
        DataError: the file is missing, damaged, or of another kind.
    """
    return sa1b_image(read_json(path), path, folder_of(path, root))


def sa1b_image(document: Any, path: Path, folder: str) -> AnnotatedImage:
    """Read an image's annotations from a document.

    Args:
        document: content of a JSON file.
        path: the file.
        folder: see `AnnotatedImage`.

    Raises:
        DataError: it has no list of annotations.
    """
    parts = document if isinstance(document, dict) else {}
    found, entry = parts.get("image"), parts.get("annotations")
    if not isinstance(entry, list):
        raise DataError("its JSON file has no list of annotations")
    image: dict[str, Any] = found if isinstance(found, dict) else {}
    stated, extras = image.get("file_name"), image.get("samkit")
    extras = extras if isinstance(extras, dict) else {}
    masks, faults = [], []
    for index, one in enumerate(entry, start=1):
        try:
            masks.append(_mask(one, f"annotation {index}"))
        except BROKEN as error:  # noqa: PERF203 - one broken annotation leaves the others
            faults.append(Fault(text=f"annotation {index} is broken: {describe(error)}"))
    annotated = AnnotatedImage(
        name=stated if isinstance(stated, str) and stated else path.with_suffix("").name,
        has_suffix=isinstance(stated, str) and bool(stated),
        file=path,
        folder=folder,
        masks=tuple(masks),
        review=text_or_empty(extras.get("review")),
        comment=text_or_empty(extras.get("comment")),
        tags=words_of(extras.get("tags")),
        faults=tuple(faults),
    )
    return with_size(annotated, image.get("height"), image.get("width"))


def _mask(annotation: Any, where: str) -> AnnotatedMask:
    """Read an annotation; samkit's own fields, if any, are more exact than the standard ones."""
    if not isinstance(annotation, dict):
        raise TypeError(f"{annotation!r:.60}")
    found, category = annotation.get("samkit"), annotation.get("category")
    extras = found if isinstance(found, dict) else {}
    return AnnotatedMask(
        where=where,
        shape=CocoSegmentation(annotation.get("segmentation")),
        class_name=category if isinstance(category, str) and category else None,
        score=number_or_none(extras.get("score", annotation.get("predicted_iou"))),
        stability=number_or_none(extras.get("stability", annotation.get("stability_score"))),
        stage=text_or_empty(extras.get("stage")),
        attributes=named_values(extras.get("attributes")),
    )
