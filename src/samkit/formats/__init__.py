"""File formats, each read and written in one place: images, and masks for other programs."""

from samkit.formats.coco import (
    OBJECT,
    UNLABELLED_MARK,
    CocoWriter,
    coco_dataset,
    coco_writer,
    write_coco,
    write_coco_records,
)
from samkit.formats.coco_reading import CocoFile, CocoImage, read_coco
from samkit.formats.folders import (
    FoundImages,
    find_image_files,
    find_images_below,
    left_out_summary,
    sort_out_images,
)
from samkit.formats.geojson import geojson_collection
from samkit.formats.image import (
    ImageLike,
    num_pages,
    read_image,
    read_image_bytes,
    read_image_file,
    read_image_frame,
    read_image_size,
    read_page_sizes,
)
from samkit.formats.label_images import LabelImage, read_labels
from samkit.formats.labelme import LabelMeFile, read_labelme
from samkit.formats.names import (
    IMAGE_SUFFIXES,
    base_name,
    flat_file_name,
    has_image_suffix,
    page_export_name,
    page_file,
    page_name,
    split_page,
)
from samkit.formats.pixels import MAX_PIXELS
from samkit.formats.png import (
    label_layers,
    label_map,
    label_rles,
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
from samkit.formats.tiff import TiffBands, is_tiff, open_tiff, picture_pages, tiff_bands
from samkit.formats.value_range import RangeLike, ValueRange, to_uint8
from samkit.formats.voc import voc_classes, voc_instances, voc_xml, write_voc_png
from samkit.formats.yolo import yolo_dataset_yaml, yolo_labels

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "OBJECT",
    "UNLABELLED_MARK",
    "CocoFile",
    "CocoImage",
    "CocoWriter",
    "FoundImages",
    "ImageLike",
    "LabelImage",
    "LabelMeFile",
    "RangeLike",
    "TiffBands",
    "ValueRange",
    "base_name",
    "check_image_size",
    "coco_dataset",
    "coco_writer",
    "find_image_files",
    "find_images_below",
    "flat_file_name",
    "geojson_collection",
    "has_image_suffix",
    "is_tiff",
    "label_layers",
    "label_map",
    "label_rles",
    "left_out_summary",
    "masks_from_sa1b",
    "num_pages",
    "open_tiff",
    "page_export_name",
    "page_file",
    "page_name",
    "picture_pages",
    "read_coco",
    "read_image",
    "read_image_bytes",
    "read_image_file",
    "read_image_frame",
    "read_image_size",
    "read_labelme",
    "read_labels",
    "read_numbered_rles",
    "read_page_sizes",
    "read_rles",
    "read_sa1b",
    "sa1b_document",
    "sa1b_rles",
    "segmentation_rle",
    "sort_out_images",
    "split_page",
    "tiff_bands",
    "to_uint8",
    "voc_classes",
    "voc_instances",
    "voc_xml",
    "write_coco",
    "write_coco_records",
    "write_mask_png",
    "write_png",
    "write_sa1b",
    "write_voc_png",
    "yolo_dataset_yaml",
    "yolo_labels",
]
