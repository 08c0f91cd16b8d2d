"""Readers and writers: images, mask pictures, and masks for other programs."""

from samkit.formats.coco import coco_annotations, coco_dataset, write_coco
from samkit.formats.geojson import geojson_collection
from samkit.formats.image import MAX_PIXELS, ImageLike, read_image, read_image_size
from samkit.formats.labels import label_map
from samkit.formats.masks import write_mask_png, write_png
from samkit.formats.sa1b import masks_from_sa1b, read_sa1b, sa1b_document, write_sa1b
from samkit.formats.yolo import yolo_labels

__all__ = [
    "MAX_PIXELS",
    "ImageLike",
    "coco_annotations",
    "coco_dataset",
    "geojson_collection",
    "label_map",
    "masks_from_sa1b",
    "read_image",
    "read_image_size",
    "read_sa1b",
    "sa1b_document",
    "write_coco",
    "write_mask_png",
    "write_png",
    "write_sa1b",
    "yolo_labels",
]
