"""Readers and writers: photos, mask pictures, COCO."""

from samkit.formats.image import MAX_PIXELS, ImageLike, read_image
from samkit.formats.masks import write_mask_png, write_png

__all__ = ["MAX_PIXELS", "ImageLike", "read_image", "write_mask_png", "write_png"]
