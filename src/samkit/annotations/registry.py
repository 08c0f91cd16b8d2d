"""The formats of annotations, and which of them a file or folder is in."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from samkit.annotations.coco import BESIDE_IMAGES, open_coco
from samkit.annotations.cvat import ROOT as CVAT_ROOT
from samkit.annotations.cvat import open_cvat
from samkit.annotations.datumaro import is_datumaro, open_datumaro
from samkit.annotations.label_images import open_label_images
from samkit.annotations.label_studio import is_label_studio, open_label_studio
from samkit.annotations.labelme import open_labelme
from samkit.annotations.model import AnnotationSet, ReadOptions, is_visible
from samkit.annotations.sa1b import open_sa1b
from samkit.annotations.voc import is_voc_folder, open_voc
from samkit.annotations.voc_objects import ROOT as VOC_ROOT
from samkit.annotations.xml_files import xml_root
from samkit.annotations.yolo import is_yolo_folder, is_yolo_text, open_yolo
from samkit.errors import ConfigError, DataError
from samkit.files import read_json, read_text
from samkit.formats import LABELS_FORMAT

FILES_TRIED = 20  # of a folder, to find its format


@dataclass(frozen=True, kw_only=True)
class AnnotationFormat:
    """A format of annotations.

    Attributes:
        open: called with a path and options.
        settings: options that mean something in this format, besides `boxes`.
        matches_folder: whether a folder's layout is this format's; None if only its files tell.
        matches_document: whether the content of a JSON file is this format's; None if it has none.
        xml_root: the first element of its XML files; empty if it has none.
    """

    open: Callable[[Path, ReadOptions], AnnotationSet]
    settings: tuple[str, ...] = ()
    matches_folder: Callable[[Path], bool] | None = None
    matches_document: Callable[[Any], bool] | None = None
    xml_root: str = ""


def open_annotations(
    path: Path, format_name: str | None = None, options: ReadOptions | None = None
) -> AnnotationSet:
    """Open the annotations of a file or folder.

    Args:
        path: the file or folder.
        format_name: a key of `FORMATS`; None: it is detected.
        options: what annotations are read as.

    Raises:
        DataError: it is missing, or not of this format, or of none.
        ConfigError: no such format.
    """
    name = detect_format(path) if format_name is None else format_name
    if name is None:
        known = ", ".join(FORMATS)
        raise DataError(f"{path} holds no annotations that are known: name their format ({known})")
    if name not in FORMATS:
        raise ConfigError(f"no format {name!r:.40}: expected one of {', '.join(FORMATS)}")
    return FORMATS[name].open(path, options or ReadOptions())


def detect_format(path: Path) -> str | None:
    """Name of the format of a file or folder; None if it is none of the known ones.

    Raises:
        DataError: it is missing, or a damaged file.
    """
    try:
        path.stat()
    except (OSError, ValueError) as error:
        raise DataError(f"no such file or folder: {path}") from error
    if path.suffix.lower() == ".zip" and path.is_file():
        raise DataError(f"{path} is a zip: unpack it, and name the folder that it gives")
    return _of_folder(path) if path.is_dir() else _of_file(path)


def _of_folder(folder: Path) -> str | None:
    for format_name, one in FORMATS.items():
        if one.matches_folder is not None and one.matches_folder(folder):
            return format_name
    # PNG files last: they may be the images.
    for suffixes in ((".json", ".xml", ".txt"), (".png",)):
        every = (path for path in sorted(folder.rglob("*")) if path.suffix.lower() in suffixes)
        for path in islice((path for path in every if is_visible(path, folder)), FILES_TRIED):
            with suppress(DataError):
                if (found := _of_file(path)) is not None:
                    return found
    return None


def _of_file(path: Path) -> str | None:
    suffix = path.suffix.lower()
    if suffix == ".json":
        return _of_document(read_json(path))
    if suffix == ".xml":
        return BY_XML_ROOT.get(xml_root(path))
    if suffix == ".txt":
        return "yolo" if is_yolo_text(read_text(path)) else None
    return {".png": "png", ".yaml": "yolo", ".yml": "yolo"}.get(suffix)


def _of_document(document: Any) -> str | None:
    for name, one in FORMATS.items():
        if one.matches_document is not None and one.matches_document(document):
            return name
    return None


def _has_keys(*names: str) -> Callable[[Any], bool]:
    return lambda document: isinstance(document, dict) and all(one in document for one in names)


def _is_roboflow(folder: Path) -> bool:
    return any(folder.glob(BESIDE_IMAGES)) or any(folder.glob(f"*/{BESIDE_IMAGES}"))


# In the order in which they are tried.
FORMATS: dict[str, AnnotationFormat] = {
    "coco": AnnotationFormat(
        open=open_coco,
        settings=("crowds",),
        matches_folder=_is_roboflow,
        matches_document=_has_keys("images", "annotations"),
    ),
    "yolo": AnnotationFormat(
        open=open_yolo,
        matches_folder=is_yolo_folder,
    ),
    "voc": AnnotationFormat(
        open=open_voc,
        settings=("void",),
        matches_folder=is_voc_folder,
        xml_root=VOC_ROOT,
    ),
    "cvat": AnnotationFormat(open=open_cvat, xml_root=CVAT_ROOT),
    "label-studio": AnnotationFormat(
        open=open_label_studio,
        matches_document=is_label_studio,
    ),
    "datumaro": AnnotationFormat(
        open=open_datumaro,
        settings=("crowds",),
        matches_document=is_datumaro,
    ),
    "labelme": AnnotationFormat(
        open=open_labelme,
        matches_document=_has_keys("shapes"),
    ),
    "sa1b": AnnotationFormat(
        open=open_sa1b,
        matches_document=_has_keys("annotations"),
    ),
    "png": AnnotationFormat(
        open=open_label_images,
        settings=("void", "binary", "threshold"),
        matches_document=lambda document: (
            isinstance(document, dict) and document.get("format") == LABELS_FORMAT
        ),
    ),
}
BY_XML_ROOT = {one.xml_root: name for name, one in FORMATS.items() if one.xml_root}
