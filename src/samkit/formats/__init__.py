"""File formats: reading and writing images, and writing masks for other programs.

Annotations of other programs are read by `samkit.annotations`.
"""

from samkit.formats.attributes import (
    CROWD,
    OCCLUDED,
    Attributes,
    AttributeSpec,
    attribute_text,
    parse_attribute,
)
from samkit.formats.categories import Categories, free_name
from samkit.formats.clips import (
    ClipFrame,
    ClipTrack,
    ClipTracks,
    coco_clips,
    cvat_clip,
    davis_label_image,
    davis_objects,
    mot_clip,
    overlapping_frames,
)
from samkit.formats.coco import (
    UNLABELLED_MARK,
    CocoWriter,
    category_entries,
    coco_dataset,
    coco_writer,
    write_coco,
    write_coco_records,
)
from samkit.formats.cvat_writing import CvatWriter, cvat_writer
from samkit.formats.datumaro_writing import datumaro_item, datumaro_writer
from samkit.formats.folders import (
    FoundImages,
    find_image_files,
    find_images_below,
    is_hidden,
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
    read_image_size,
    read_page_sizes,
    read_size_and_orientation,
)
from samkit.formats.json_list import JsonList
from samkit.formats.label_images import LabelImage, read_labels
from samkit.formats.label_studio_writing import (
    FLAGS_NAME,
    TAGS_NAME,
    BrushCode,
    brush_rle,
    label_studio_config,
    label_studio_task,
    label_studio_writer,
    local_file_url,
)
from samkit.formats.labelme_writing import labelme_document
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
from samkit.formats.notices import notify
from samkit.formats.pixels import MAX_PIXELS, SIDEWAYS, TO_UPRIGHT, UPRIGHT
from samkit.formats.png import (
    LABELS_FORMAT,
    label_layers,
    label_map,
    label_rles,
    layer_folder,
    write_mask_png,
    write_png,
)
from samkit.formats.pyramid import TILE_SIDE, Pyramid, make_pyramid
from samkit.formats.region import Region, level_sizes
from samkit.formats.sa1b import (
    masks_from_sa1b,
    read_sa1b,
    sa1b_document,
    write_sa1b,
)
from samkit.formats.tiff import TiffBands, is_tiff, open_tiff, picture_pages, tiff_bands
from samkit.formats.upright import copy_upright
from samkit.formats.value_pyramid import SeenValues, ValuePyramid, is_deep, make_value_pyramid
from samkit.formats.value_range import RangeLike, ValueRange, to_uint8
from samkit.formats.values import read_values
from samkit.formats.video_tracks import TrackedMask, coco_video, frame_line, mot_lines
from samkit.formats.vips_source import MAX_TILED_PIXELS
from samkit.formats.voc import (
    VOC_FLAGS,
    voc_classes,
    voc_instances,
    voc_labelmap,
    voc_palette,
    voc_xml,
    write_voc_png,
)
from samkit.formats.yolo import yolo_dataset_yaml, yolo_labels, yolo_path

__all__ = [
    "CROWD",
    "FLAGS_NAME",
    "IMAGE_SUFFIXES",
    "LABELS_FORMAT",
    "MAX_PIXELS",
    "MAX_TILED_PIXELS",
    "OCCLUDED",
    "SIDEWAYS",
    "TAGS_NAME",
    "TILE_SIDE",
    "TO_UPRIGHT",
    "UNLABELLED_MARK",
    "UPRIGHT",
    "VOC_FLAGS",
    "AttributeSpec",
    "Attributes",
    "BrushCode",
    "Categories",
    "ClipFrame",
    "ClipTrack",
    "ClipTracks",
    "CocoWriter",
    "CvatWriter",
    "FoundImages",
    "ImageLike",
    "JsonList",
    "LabelImage",
    "Pyramid",
    "RangeLike",
    "Region",
    "SeenValues",
    "TiffBands",
    "TrackedMask",
    "ValuePyramid",
    "ValueRange",
    "attribute_text",
    "base_name",
    "brush_rle",
    "category_entries",
    "coco_clips",
    "coco_dataset",
    "coco_video",
    "coco_writer",
    "copy_upright",
    "cvat_clip",
    "cvat_writer",
    "datumaro_item",
    "datumaro_writer",
    "davis_label_image",
    "davis_objects",
    "find_image_files",
    "find_images_below",
    "flat_file_name",
    "frame_line",
    "free_name",
    "geojson_collection",
    "has_image_suffix",
    "is_deep",
    "is_hidden",
    "is_tiff",
    "label_layers",
    "label_map",
    "label_rles",
    "label_studio_config",
    "label_studio_task",
    "label_studio_writer",
    "labelme_document",
    "layer_folder",
    "left_out_summary",
    "level_sizes",
    "local_file_url",
    "make_pyramid",
    "make_value_pyramid",
    "masks_from_sa1b",
    "mot_clip",
    "mot_lines",
    "notify",
    "num_pages",
    "open_tiff",
    "overlapping_frames",
    "page_export_name",
    "page_file",
    "page_name",
    "parse_attribute",
    "picture_pages",
    "read_image",
    "read_image_bytes",
    "read_image_file",
    "read_image_size",
    "read_labels",
    "read_page_sizes",
    "read_sa1b",
    "read_size_and_orientation",
    "read_values",
    "sa1b_document",
    "sort_out_images",
    "split_page",
    "tiff_bands",
    "to_uint8",
    "voc_classes",
    "voc_instances",
    "voc_labelmap",
    "voc_palette",
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
