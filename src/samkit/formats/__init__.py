"""File formats, each read and written in one place: images, and masks for other programs."""

from samkit.formats.categories import Categories, free_name
from samkit.formats.coco import (
    UNLABELLED_MARK,
    CocoWriter,
    category_entries,
    coco_dataset,
    coco_writer,
    write_coco,
    write_coco_records,
)
from samkit.formats.coco_reading import CocoFile, CocoImage, read_coco
from samkit.formats.cvat_writing import CvatWriter, cvat_writer
from samkit.formats.datumaro_writing import datumaro_item, datumaro_writer
from samkit.formats.geojson import geojson_collection
from samkit.formats.image import (
    MAX_PIXELS,
    ImageLike,
    read_image,
    read_image_bytes,
    read_image_size,
)
from samkit.formats.json_list import JsonList
from samkit.formats.label_studio_writing import (
    label_studio_config,
    label_studio_task,
    label_studio_writer,
    local_file_url,
)
from samkit.formats.labelme import LabelMeFile, read_labelme
from samkit.formats.labelme_writing import labelme_document
from samkit.formats.names import IMAGE_SUFFIXES, base_name, flat_file_name, has_image_suffix
from samkit.formats.png import (
    label_layers,
    label_map,
    label_rles,
    read_labels,
    write_mask_png,
    write_png,
)
from samkit.formats.sa1b import (
    masks_from_sa1b,
    read_sa1b,
    sa1b_document,
    sa1b_rles,
    write_sa1b,
)
from samkit.formats.segmentations import (
    check_image_size,
    read_numbered_rles,
    read_rles,
    segmentation_rle,
)
from samkit.formats.upright import copy_upright
from samkit.formats.voc import voc_classes, voc_instances, voc_labelmap, voc_xml, write_voc_png
from samkit.formats.yolo import yolo_dataset_yaml, yolo_labels, yolo_path

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "UNLABELLED_MARK",
    "Categories",
    "CocoFile",
    "CocoImage",
    "CocoWriter",
    "CvatWriter",
    "ImageLike",
    "JsonList",
    "LabelMeFile",
    "base_name",
    "category_entries",
    "check_image_size",
    "coco_dataset",
    "coco_writer",
    "copy_upright",
    "cvat_writer",
    "datumaro_item",
    "datumaro_writer",
    "flat_file_name",
    "free_name",
    "geojson_collection",
    "has_image_suffix",
    "label_layers",
    "label_map",
    "label_rles",
    "label_studio_config",
    "label_studio_task",
    "label_studio_writer",
    "labelme_document",
    "local_file_url",
    "masks_from_sa1b",
    "read_coco",
    "read_image",
    "read_image_bytes",
    "read_image_size",
    "read_labelme",
    "read_labels",
    "read_numbered_rles",
    "read_rles",
    "read_sa1b",
    "sa1b_document",
    "sa1b_rles",
    "segmentation_rle",
    "voc_classes",
    "voc_instances",
    "voc_labelmap",
    "voc_xml",
    "write_coco",
    "write_coco_records",
    "write_mask_png",
    "write_png",
    "write_sa1b",
    "write_voc_png",
    "yolo_dataset_yaml",
    "yolo_labels",
    "yolo_path",
]
