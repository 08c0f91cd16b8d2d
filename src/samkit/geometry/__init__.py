"""Pure array functions for coordinate spaces, boxes, outlines and run-length encoding."""

from samkit.geometry.boxes import boxes_from_masks
from samkit.geometry.coords import CoordMap
from samkit.geometry.rle import Rle, decode_rle, encode_rle

__all__ = ["CoordMap", "Rle", "boxes_from_masks", "decode_rle", "encode_rle"]
