"""Writers of exports, one for each format: a project's images to the files its readers expect.

What other programs have no field for (the review, the stage) is in fields of ours, which they
ignore.
"""

import json
from pathlib import Path
from typing import Any, ClassVar

from samkit.dataengine.exchange.records import ALL, TRAIN, VAL, ImageRecord
from samkit.dataengine.exchange.writer import Writer
from samkit.dataengine.values import Annotation
from samkit.files import write_bytes
from samkit.formats import (
    CROWD,
    LABELS_FORMAT,
    OCCLUDED,
    category_entries,
    coco_writer,
    cvat_writer,
    datumaro_item,
    datumaro_writer,
    free_name,
    geojson_collection,
    label_layers,
    label_studio_config,
    label_studio_task,
    label_studio_writer,
    labelme_document,
    layer_folder,
    local_file_url,
    sa1b_document,
    voc_classes,
    voc_instances,
    voc_labelmap,
    voc_xml,
    write_png,
    write_voc_png,
    yolo_dataset_yaml,
    yolo_labels,
    yolo_path,
)

# CVAT's words for where a mask comes from.
CVAT_SOURCES = {
    "assisted-manual": "manual",
    "semi-automatic": "semi-auto",
    "fully-automatic": "auto",
    "imported": "file",
}
IS_CROWD = "is_crowd"  # in datumaro
ROBOFLOW_FOLDERS = {ALL: "train", TRAIN: "train", VAL: "valid"}


class CocoExport(Writer):
    """SPLIT.json; images go to SPLIT/. Masks are RLEs; numbers start at 1."""

    def open(self) -> None:
        self._files = {
            split: self.enter(coco_writer(self.place(self.file_name(split)), self.entries))
            for split in self.splits
        }

    def file_name(self, split: str) -> str:
        """Where a split's file is, below the folder."""
        return f"{split}.json"

    def entries(self) -> list[dict[str, Any]]:
        """The list of categories."""
        return category_entries(self.categories)

    def add(self, record: ImageRecord, split: str) -> None:
        masks = zip(record.annotations, self.numbers(record), strict=True)
        self._files[split].add_image(
            record.image.path,
            record.image.size_hw,
            (
                {
                    "category_id": number,
                    "iscrowd": int(CROWD in one.attributes),
                    **_mask_fields(one),
                    "attributes": _coco_attributes(one),
                    "samkit": _mask_extras(one),
                }
                | ({} if one.score is None else {"score": one.score})
                for one, number in masks
            ),
            samkit=_image_extras(record),
        )


class RoboflowExport(CocoExport):
    """COCO in Roboflow's folders, train/ and valid/, in a file beside the images.

    Category 0 is what the classes are kinds of; no mask has it.
    """

    def file_name(self, split: str) -> str:
        return f"{ROBOFLOW_FOLDERS[split]}/_annotations.coco.json"

    def image_path(self, record: ImageRecord, split: str) -> Path:
        return self.folder / ROBOFLOW_FOLDERS[split] / record.image.path

    def entries(self) -> list[dict[str, Any]]:
        kind = free_name("objects", self.categories.names())
        own = ({**entry, "supercategory": kind} for entry in super().entries())
        return [{"id": 0, "name": kind, "supercategory": "none"}, *own]


class Sa1bExport(Writer):
    """SPLIT/NAME.json beside the images, with `category` besides SA-1B's own fields."""

    def add(self, record: ImageRecord, split: str) -> None:
        path = self.claim(f"{split}/{record.base}.json", record)
        document = sa1b_document(record.masks(), file_name=record.image.path)
        document["image"]["samkit"] = _image_extras(record)
        both = zip(record.annotations, record.class_names, strict=True)
        for entry, (one, name) in zip(document["annotations"], both, strict=True):
            entry["category"] = name
            # In float64: the standard fields are rounded to float32.
            measures = {"score": one.score, "stability": one.stability}
            entry["samkit"] = _mask_extras(one) | measures | _own_attributes(one)
        _write_json(path, document)


class YoloExport(Writer):
    """labels/SPLIT/NAME.txt and data.yaml; images go to images/SPLIT/. See `yolo_labels`."""

    first_number: ClassVar[int] = 0
    holds_attributes: ClassVar[bool] = False
    holds_tags: ClassVar[bool] = False
    # As Ultralytics reads them.
    suffixes: ClassVar[tuple[str, ...]] = (
        ".avif",
        ".bmp",
        ".jp2",
        ".jpeg",
        ".jpg",
        ".png",
        ".tif",
        ".tiff",
        ".webp",
    )

    def open(self) -> None:
        self._num_images = dict.fromkeys(self.splits, 0)

    def image_path(self, record: ImageRecord, split: str) -> Path:
        return self.folder / "images" / split / yolo_path(record.image.path)

    def add(self, record: ImageRecord, split: str) -> None:
        path = self.claim(f"labels/{split}/{yolo_path(record.base)}.txt", record)
        lines = yolo_labels(record.masks(), class_numbers=self.numbers(record))
        write_bytes(path, lines.encode())
        self._num_images[split] += 1

    def finish(self) -> None:
        # Readers want both splits, with images in both.
        filled = [split for split in self.splits if self._num_images[split]] or self.splits
        text = yolo_dataset_yaml(self.categories.names(), train=filled[0], val=filled[-1])
        write_bytes(self.place("data.yaml"), text.encode())

    def is_readable(self, path: str) -> bool:
        return path.lower().endswith(self.suffixes)


class VocExport(Writer):
    """VOC's folders Annotations/, SegmentationObject/, SegmentationClass/ and ImageSets/.

    Images go to JPEGImages/; ImageSets/Segmentation/SPLIT.txt lists them. Where masks overlap, the
    label images have the smaller one.
    """

    holds_tags: ClassVar[bool] = False

    def open(self) -> None:
        self._bases: dict[str, list[str]] = {split: [] for split in self.splits}

    def image_path(self, record: ImageRecord, split: str) -> Path:  # noqa: ARG002
        return self.folder / "JPEGImages" / record.image.path

    def add(self, record: ImageRecord, split: str) -> None:
        masks = record.masks()
        instances = voc_instances(masks)
        classes = voc_classes(instances, self.numbers(record))
        path = self.claim(f"SegmentationObject/{record.base}.png", record)
        write_voc_png(path, instances)
        write_voc_png(self.place(f"SegmentationClass/{record.base}.png"), classes)
        text = voc_xml(
            masks,
            file_name=record.image.path,
            class_names=self.names(record),
            attributes=self.attributes(record),
        )
        write_bytes(self.place(f"Annotations/{record.base}.xml"), text)
        self._bases[split].append(record.base)

    def finish(self) -> None:
        for split, bases in self._bases.items():
            path = self.place(f"ImageSets/Segmentation/{split}.txt")
            write_bytes(path, _lines(bases))
        names = self.categories.names()
        write_bytes(self.place("labels.txt"), _lines(names))
        write_bytes(self.place("labelmap.txt"), voc_labelmap(names).encode())


class LabelImagesExport(Writer):
    """Label images SPLIT/masks/NAME.png, and NAME.json with the class of each number.

    Masks that overlap earlier ones are in masks_2/, masks_3/, ..., so that none is cut off.
    """

    def image_path(self, record: ImageRecord, split: str) -> Path:
        return self.folder / split / "images" / record.image.path

    def add(self, record: ImageRecord, split: str) -> None:
        facts = self.claim(f"{split}/masks/{record.base}.json", record)
        rles = [one.rle for one in record.annotations]
        layers, numbers = label_layers(rles, record.image.size_hw)
        for number, layer in enumerate(layers, start=1):
            write_png(self.place(f"{split}/{layer_folder(number)}/{record.base}.png"), layer)
        entries = [
            {
                "layer": layer,
                "number": number,
                "class": name,
                "score": one.score,
                "stability": one.stability,
                **_mask_extras(one),
                **_own_attributes(one),
            }
            for one, name, (layer, number) in zip(
                record.annotations, record.class_names, numbers, strict=True
            )
        ]
        document = {"format": LABELS_FORMAT, **_image_fields(record), "masks": entries}
        _write_json(facts, document)


class GeoJsonExport(Writer):
    """SPLIT/NAME.geojson beside the images. See `geojson_collection`."""

    def add(self, record: ImageRecord, split: str) -> None:
        path = self.claim(f"{split}/{record.base}.geojson", record)
        document = geojson_collection(
            record.masks(),
            class_names=record.class_names,
            attributes=self.attributes(record),
        )
        _write_json(path, document | {"image": _image_fields(record)})


class LabelMeExport(Writer):
    """SPLIT/NAME.json beside the images, for LabelMe and X-AnyLabeling. See `labelme_document`."""

    def add(self, record: ImageRecord, split: str) -> None:
        path = self.claim(f"{split}/{record.base}.json", record)
        document = labelme_document(
            record.masks(),
            image_path=Path(record.image.path).name,
            labels=self.names(record),
            extras={"samkit": _image_extras(record)},
            attributes=self.attributes(record),
            tags=record.image.tags,
        )
        _write_json(path, document)


class CvatExport(Writer):
    """SPLIT.xml, CVAT's XML for images; images go to images/SPLIT/."""

    def open(self) -> None:
        self._tags = dict.fromkeys(self.labelling.tags)
        self._files = {
            split: self.enter(
                cvat_writer(
                    self.place(f"{split}.xml"),
                    self.categories.names,
                    attributes=self.specs,
                    tags=lambda: list(self._tags),
                )
            )
            for split in self.splits
        }

    def image_path(self, record: ImageRecord, split: str) -> Path:
        return self.folder / "images" / split / record.image.path

    def add(self, record: ImageRecord, split: str) -> None:
        sources = [CVAT_SOURCES[one.stage] for one in record.annotations]
        path = record.image.path
        self._tags.update(dict.fromkeys(record.image.tags))
        self._files[split].add_image(
            path,
            record.masks(),
            self.names(record),
            sources,
            attributes=self.attributes(record),
            tags=record.image.tags,
        )


class LabelStudioExport(Writer):
    """SPLIT.json, tasks for Label Studio, and config.xml, the labelling interface.

    Label Studio finds the images in its local storage, whose document root is to be the folder of
    the export if it has the images, else that of the project.
    """

    def open(self) -> None:
        self._files = {
            split: self.enter(label_studio_writer(self.place(f"{split}.json")))
            for split in self.splits
        }
        self._num_tasks = 0
        self._tags = dict.fromkeys(self.labelling.tags)

    def image_path(self, record: ImageRecord, split: str) -> Path:
        return self.folder / "images" / split / record.image.path

    def add(self, record: ImageRecord, split: str) -> None:
        self._num_tasks += 1
        self._tags.update(dict.fromkeys(record.image.tags))
        copy = self.image_path(record, split).relative_to(self.folder).as_posix()
        task = label_studio_task(
            self._num_tasks,
            local_file_url(copy if self.has_images else record.image.path),
            record.masks(),
            self.names(record),
            extras={"samkit": _image_extras(record) | {"file_name": record.image.path}},
            attributes=self.attributes(record),
            choices=[one.name for one in self.labelling.attributes if one.kind == "choice"],
            tags=record.image.tags,
        )
        self._files[split].add(task)

    def finish(self) -> None:
        text = label_studio_config(
            self.categories.names(), attributes=self.specs(), tags=self._tags
        )
        write_bytes(self.place("config.xml"), text.encode())


class DatumaroExport(Writer):
    """annotations/SPLIT.json, Datumaro's own format; images go to images/SPLIT/."""

    first_number: ClassVar[int] = 0

    def open(self) -> None:
        self._files = {
            split: self.enter(
                datumaro_writer(self.place(f"annotations/{split}.json"), self.categories.names)
            )
            for split in self.splits
        }

    def image_path(self, record: ImageRecord, split: str) -> Path:
        return self.folder / "images" / split / record.image.path

    def add(self, record: ImageRecord, split: str) -> None:
        self.claim(f"images/{split}/{record.base}", record)
        item = datumaro_item(
            record.masks(),
            item_id=record.base,
            image_path=record.image.path,
            label_ids=self.numbers(record),
            attributes=[_datumaro_attributes(one) for one in record.annotations],
        )
        self._files[split].add(item | {"attr": _image_extras(record)})


WRITERS: dict[str, type[Writer]] = {
    "coco": CocoExport,
    "cvat": CvatExport,
    "datumaro": DatumaroExport,
    "geojson": GeoJsonExport,
    "labelme": LabelMeExport,
    "label-studio": LabelStudioExport,
    "png": LabelImagesExport,
    "roboflow": RoboflowExport,
    "sa1b": Sa1bExport,
    "voc": VocExport,
    "yolo": YoloExport,
}


def _image_fields(record: ImageRecord) -> dict[str, Any]:
    height, width = record.image.size_hw
    size = {"file_name": record.image.path, "width": width, "height": height}
    return size | {"samkit": _image_extras(record)}


def _image_extras(record: ImageRecord) -> dict[str, Any]:
    image = record.image
    tags = {"tags": list(image.tags)} if image.tags else {}
    return {"sha256": image.sha256, "review": image.review, "comment": image.comment, **tags}


def _mask_fields(one: Annotation) -> dict[str, Any]:
    x0, y0, x1, y1 = one.box_xyxy
    return {"segmentation": one.rle, "area": one.area_px, "bbox": [x0, y0, x1 - x0, y1 - y0]}


def _mask_extras(one: Annotation) -> dict[str, Any]:
    return {"stage": one.stage, "stability": one.stability}


def _own_attributes(one: Annotation) -> dict[str, Any]:
    return {"attributes": dict(one.attributes)} if one.attributes else {}


def _coco_attributes(one: Annotation) -> dict[str, Any]:
    """Attributes as CVAT writes them; a crowd is `iscrowd`."""
    values = {name: value for name, value in one.attributes.items() if name != CROWD}
    return {OCCLUDED: False, **values}


def _datumaro_attributes(one: Annotation) -> dict[str, Any]:
    """Attributes with datumaro's name for a crowd, and ours where the names are free."""
    values = {IS_CROWD if name == CROWD else name: one.attributes[name] for name in one.attributes}
    return {"score": one.score, **_mask_extras(one), **values}


def _lines(texts: list[str]) -> bytes:
    return "".join(f"{text}\n" for text in texts).encode()


def _write_json(path: Path, document: dict[str, Any]) -> None:
    write_bytes(path, json.dumps(document).encode())
