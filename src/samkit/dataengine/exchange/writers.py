"""One writer for each format: images of one split into a folder, as the format's readers expect.

Each gives the path at which the image itself belongs, for the export to copy it there. Where other
programs have no place for something (the review, the stage), it is in fields that they pass over.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from samkit.dataengine.exchange.records import ALL, TRAIN, VAL, ImageRecord
from samkit.dataengine.values import Annotation
from samkit.files import replacing, write_bytes
from samkit.formats import geojson_collection, sa1b_document, write_png, yolo_labels
from samkit.formats.voc import voc_classes, voc_instances, voc_palette, voc_xml
from samkit.geometry import decode_rle

LABELS_FORMAT = "samkit-labels-1"
UNLABELLED = "object"  # the name of masks without a class, where a format needs one

# (images, folder, split, names of classes) -> each image with the path that it belongs at
Placed: TypeAlias = "Iterator[tuple[ImageRecord, Path]]"
Writer: TypeAlias = Callable[[Iterable[ImageRecord], Path, str, Sequence[str]], Placed]


def write_coco(
    records: Iterable[ImageRecord], folder: Path, split: str, classes: Sequence[str]
) -> Placed:
    """SPLIT.json, images in SPLIT/. Masks are run-length codes; numbers start at 1."""
    numbers = {name: number for number, name in enumerate(classes, start=1)}
    categories = [{"id": number, "name": name} for name, number in numbers.items()]
    # Told from a class of the same name by its mark.
    unlabelled = {"id": len(categories) + 1, "name": UNLABELLED, "samkit": {"unlabelled": True}}
    images: list[dict[str, Any]] = []
    count = 0
    with replacing(folder / f"{split}.json") as path, path.open("w", encoding="utf-8") as file:
        file.write('{"annotations": [')
        for image_id, record in enumerate(records, start=1):
            images.append({"id": image_id, **_image_fields(record)})
            for one, name in zip(record.annotations, record.class_names, strict=True):
                count += 1
                entry = {
                    "id": count,
                    "image_id": image_id,
                    "category_id": unlabelled["id"] if name is None else numbers[name],
                    "iscrowd": 0,
                    **_mask_fields(one),
                    "samkit": _mask_extras(one),
                }
                if one.score is not None:
                    entry["score"] = one.score
                file.write((", " if count > 1 else "") + json.dumps(entry))
            yield record, folder / split / record.image.path
        rest = json.dumps({"images": images, "categories": [*categories, unlabelled]})
        file.write(f"], {rest[1:]}")


def write_sa1b(
    records: Iterable[ImageRecord],
    folder: Path,
    split: str,
    classes: Sequence[str],  # noqa: ARG001
) -> Placed:
    """SPLIT/NAME.json beside the images; `category` besides SA-1B's own fields."""
    for record in records:
        document = sa1b_document(record.masks(), file_name=record.image.path)
        document["image"]["samkit"] = _image_extras(record)
        both = zip(record.annotations, record.class_names, strict=True)
        for entry, (one, name) in zip(document["annotations"], both, strict=True):
            entry["category"] = name
            # Doubles: the standard fields are rounded to float32.
            measures = {"score": one.score, "stability": one.stability}
            entry["samkit"] = _mask_extras(one) | measures
        _write_json(folder / split / f"{record.base}.json", document)
        yield record, folder / split / record.image.path


def write_yolo(
    records: Iterable[ImageRecord], folder: Path, split: str, classes: Sequence[str]
) -> Placed:
    """labels/SPLIT/NAME.txt, images in images/SPLIT/, and data.yaml. See `yolo_labels`."""
    numbers = {name: number for number, name in enumerate(classes)}
    unlabelled = len(classes)
    train, val = (ALL, ALL) if split == ALL else (TRAIN, VAL)
    names = "".join(f"  {i}: {json.dumps(name)}\n" for i, name in enumerate((*classes, UNLABELLED)))
    text = f"path: .\ntrain: images/{train}\nval: images/{val}\nnames:\n{names}"
    _write(folder / "data.yaml", text.encode())
    for record in records:
        found = [unlabelled if n is None else numbers[n] for n in record.class_names]
        lines = yolo_labels(record.masks(), class_numbers=found)
        _write(folder / "labels" / split / f"{record.base}.txt", lines.encode())
        yield record, folder / "images" / split / record.image.path


def write_voc(
    records: Iterable[ImageRecord], folder: Path, split: str, classes: Sequence[str]
) -> Placed:
    """Annotations/, SegmentationObject/, SegmentationClass/, and ImageSets/Segmentation/SPLIT.txt.

    Where masks overlap, the smaller one is in the pictures.
    """
    numbers = {name: number for number, name in enumerate(classes, start=1)}
    unlabelled = len(classes) + 1
    bases = []
    for record in records:
        masks = record.masks()
        found = [unlabelled if name is None else numbers[name] for name in record.class_names]
        instances = voc_instances(masks)
        _write_palette(folder / "SegmentationObject" / f"{record.base}.png", instances)
        pixels = voc_classes(instances, found)
        _write_palette(folder / "SegmentationClass" / f"{record.base}.png", pixels)
        names = [name or UNLABELLED for name in record.class_names]
        text = voc_xml(masks, file_name=record.image.path, class_names=names)
        _write(folder / "Annotations" / f"{record.base}.xml", text)
        bases.append(f"{record.base}\n")
        yield record, folder / "JPEGImages" / record.image.path
    _write(folder / "ImageSets" / "Segmentation" / f"{split}.txt", "".join(bases).encode())
    _write(folder / "labels.txt", "".join(f"{n}\n" for n in (*classes, UNLABELLED)).encode())


def write_labels(
    records: Iterable[ImageRecord],
    folder: Path,
    split: str,
    classes: Sequence[str],  # noqa: ARG001
) -> Placed:
    """SPLIT/masks/NAME.png of numbers, and NAME.json beside it with the class of each number.

    Masks that overlap earlier ones are in masks_2/, masks_3/, ..., so that none is cut.
    """
    for record in records:
        layers, places = _layers(record)
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
                record.annotations, record.class_names, places, strict=True
            )
        ]
        document = {"format": LABELS_FORMAT, **_image_fields(record), "masks": entries}
        _write_json(folder / split / "masks" / f"{record.base}.json", document)
        yield record, folder / split / "images" / record.image.path


def write_geojson(
    records: Iterable[ImageRecord],
    folder: Path,
    split: str,
    classes: Sequence[str],  # noqa: ARG001
) -> Placed:
    """SPLIT/NAME.geojson beside the images. See `geojson_collection`."""
    for record in records:
        document = geojson_collection(record.masks(), class_names=record.class_names)
        document["image"] = _image_fields(record)
        _write_json(folder / split / f"{record.base}.geojson", document)
        yield record, folder / split / record.image.path


WRITERS: dict[str, Writer] = {
    "coco": write_coco,
    "geojson": write_geojson,
    "png": write_labels,
    "sa1b": write_sa1b,
    "voc": write_voc,
    "yolo": write_yolo,
}


def layer_folder(number: int) -> str:
    """Folder of the pictures of a layer, from 1."""
    return "masks" if number == 1 else f"masks_{number}"


def _layers(record: ImageRecord) -> tuple[list[npt.NDArray[np.uint16]], list[tuple[int, int]]]:
    """Pictures of numbers in which no masks overlap, and each mask's layer and number, from 1."""
    layers = [np.zeros(record.image.size_hw, np.uint16)]
    counts = [0]
    places = []
    for one in record.annotations:
        mask = decode_rle(one.rle)
        full = np.iinfo(np.uint16).max
        index = next(
            (i for i, at in enumerate(layers) if counts[i] < full and not at[mask].any()),
            len(layers),
        )
        if index == len(layers):
            layers.append(np.zeros(record.image.size_hw, np.uint16))
            counts.append(0)
        counts[index] += 1
        layers[index][mask] = counts[index]
        places.append((index + 1, counts[index]))
    return layers, places


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


def _write_palette(path: Path, numbers: npt.NDArray[np.uint8]) -> None:
    """A picture of numbers with VOC's colours."""
    picture = Image.fromarray(numbers)
    picture.putpalette(voc_palette())
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        picture.save(temporary, format="PNG")
