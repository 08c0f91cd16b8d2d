"""Writers of exports, one for each format: a split's images to the files its readers expect.

Each yields the path where the image itself belongs, for the export to copy it there. What other
programs have no field for (the review, the stage) is in fields of ours, which they ignore.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from samkit.dataengine.exchange.records import ALL, TRAIN, VAL, ImageRecord
from samkit.dataengine.values import Annotation
from samkit.files import write_bytes
from samkit.formats import (
    LABELS_FORMAT,
    OBJECT,
    UNLABELLED_MARK,
    coco_writer,
    geojson_collection,
    label_layers,
    layer_folder,
    sa1b_document,
    voc_classes,
    voc_instances,
    voc_xml,
    write_png,
    write_voc_png,
    yolo_dataset_yaml,
    yolo_labels,
)

# (images, folder, split, class names) -> each image with the path where it belongs
Placed: TypeAlias = "Iterator[tuple[ImageRecord, Path]]"
Writer: TypeAlias = Callable[[Iterable[ImageRecord], Path, str, Sequence[str]], Placed]


def export_coco(
    records: Iterable[ImageRecord], folder: Path, split: str, classes: Sequence[str]
) -> Placed:
    """Write SPLIT.json; images go to SPLIT/. Masks are RLEs; numbers start at 1."""
    numbers = {name: number for number, name in enumerate(classes, start=1)}
    mark = {"samkit": {UNLABELLED_MARK: True}}
    unlabelled = {"id": len(classes) + 1, "name": OBJECT, **mark}
    categories = [*({"id": number, "name": name} for name, number in numbers.items()), unlabelled]
    with coco_writer(folder / f"{split}.json", lambda: categories) as writer:
        for record in records:
            masks = zip(record.annotations, record.class_names, strict=True)
            writer.add_image(
                record.image.path,
                record.image.size_hw,
                (
                    {
                        "category_id": unlabelled["id"] if name is None else numbers[name],
                        "iscrowd": 0,
                        **_mask_fields(one),
                        "samkit": _mask_extras(one),
                    }
                    | ({} if one.score is None else {"score": one.score})
                    for one, name in masks
                ),
                samkit=_image_extras(record),
            )
            yield record, folder / split / record.image.path


def export_sa1b(
    records: Iterable[ImageRecord],
    folder: Path,
    split: str,
    classes: Sequence[str],  # noqa: ARG001
) -> Placed:
    """Write SPLIT/NAME.json beside the images, with `category` besides SA-1B's own fields."""
    for record in records:
        document = sa1b_document(record.masks(), file_name=record.image.path)
        document["image"]["samkit"] = _image_extras(record)
        both = zip(record.annotations, record.class_names, strict=True)
        for entry, (one, name) in zip(document["annotations"], both, strict=True):
            entry["category"] = name
            # In float64: the standard fields are rounded to float32.
            measures = {"score": one.score, "stability": one.stability}
            entry["samkit"] = _mask_extras(one) | measures
        _write_json(folder / split / f"{record.base}.json", document)
        yield record, folder / split / record.image.path


def export_yolo(
    records: Iterable[ImageRecord], folder: Path, split: str, classes: Sequence[str]
) -> Placed:
    """Write labels/SPLIT/NAME.txt and data.yaml; images go to images/SPLIT/. See `yolo_labels`."""
    numbers = {name: number for number, name in enumerate(classes)}
    unlabelled = len(classes)
    train, val = (ALL, ALL) if split == ALL else (TRAIN, VAL)
    text = yolo_dataset_yaml((*classes, OBJECT), train=train, val=val)
    _write(folder / "data.yaml", text.encode())
    for record in records:
        found = [unlabelled if n is None else numbers[n] for n in record.class_names]
        lines = yolo_labels(record.masks(), class_numbers=found)
        _write(folder / "labels" / split / f"{record.base}.txt", lines.encode())
        yield record, folder / "images" / split / record.image.path


def export_voc(
    records: Iterable[ImageRecord], folder: Path, split: str, classes: Sequence[str]
) -> Placed:
    """Write VOC's folders Annotations/, SegmentationObject/, SegmentationClass/ and ImageSets/.

    Images go to JPEGImages/; ImageSets/Segmentation/SPLIT.txt lists them. Where masks overlap, the
    label images have the smaller one.
    """
    numbers = {name: number for number, name in enumerate(classes, start=1)}
    unlabelled = len(classes) + 1
    bases = []
    for record in records:
        masks = record.masks()
        found = [unlabelled if name is None else numbers[name] for name in record.class_names]
        instances = voc_instances(masks)
        _write_voc_png(folder / "SegmentationObject" / f"{record.base}.png", instances)
        pixels = voc_classes(instances, found)
        _write_voc_png(folder / "SegmentationClass" / f"{record.base}.png", pixels)
        names = [name or OBJECT for name in record.class_names]
        text = voc_xml(masks, file_name=record.image.path, class_names=names)
        _write(folder / "Annotations" / f"{record.base}.xml", text)
        bases.append(f"{record.base}\n")
        yield record, folder / "JPEGImages" / record.image.path
    _write(folder / "ImageSets" / "Segmentation" / f"{split}.txt", "".join(bases).encode())
    _write(folder / "labels.txt", "".join(f"{n}\n" for n in (*classes, OBJECT)).encode())


def export_labels(
    records: Iterable[ImageRecord],
    folder: Path,
    split: str,
    classes: Sequence[str],  # noqa: ARG001
) -> Placed:
    """Write label images SPLIT/masks/NAME.png, and NAME.json with the class of each number.

    Masks that overlap earlier ones are in masks_2/, masks_3/, ..., so that none is cut off.
    """
    for record in records:
        layers, numbers = label_layers(
            [one.rle for one in record.annotations], record.image.size_hw
        )
        for number, layer in enumerate(layers, start=1):
            path = folder / split / layer_folder(number) / f"{record.base}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_png(path, layer)
        entries = [
            {
                "layer": layer,
                "number": number,
                "class": name,
                "score": one.score,
                "stability": one.stability,
                **_mask_extras(one),
            }
            for one, name, (layer, number) in zip(
                record.annotations, record.class_names, numbers, strict=True
            )
        ]
        document = {"format": LABELS_FORMAT, **_image_fields(record), "masks": entries}
        _write_json(folder / split / "masks" / f"{record.base}.json", document)
        yield record, folder / split / "images" / record.image.path


def export_geojson(
    records: Iterable[ImageRecord],
    folder: Path,
    split: str,
    classes: Sequence[str],  # noqa: ARG001
) -> Placed:
    """Write SPLIT/NAME.geojson beside the images. See `geojson_collection`."""
    for record in records:
        document = geojson_collection(record.masks(), class_names=record.class_names)
        document["image"] = _image_fields(record)
        _write_json(folder / split / f"{record.base}.geojson", document)
        yield record, folder / split / record.image.path


WRITERS: dict[str, Writer] = {
    "coco": export_coco,
    "geojson": export_geojson,
    "png": export_labels,
    "sa1b": export_sa1b,
    "voc": export_voc,
    "yolo": export_yolo,
}


def _image_fields(record: ImageRecord) -> dict[str, Any]:
    height, width = record.image.size_hw
    size = {"file_name": record.image.path, "width": width, "height": height}
    return size | {"samkit": _image_extras(record)}


def _image_extras(record: ImageRecord) -> dict[str, Any]:
    image = record.image
    return {"sha256": image.sha256, "review": image.review, "comment": image.comment}


def _mask_fields(one: Annotation) -> dict[str, Any]:
    x0, y0, x1, y1 = one.box_xyxy
    return {"segmentation": one.rle, "area": one.area_px, "bbox": [x0, y0, x1 - x0, y1 - y0]}


def _mask_extras(one: Annotation) -> dict[str, Any]:
    return {"stage": one.stage, "stability": one.stability}


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, data)


def _write_json(path: Path, document: dict[str, Any]) -> None:
    _write(path, json.dumps(document).encode())


def _write_voc_png(path: Path, labels: npt.NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_voc_png(path, labels)
