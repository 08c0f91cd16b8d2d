"""LabelMe files of polygons, which X-AnyLabeling reads too."""

from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw

from samkit.arrays import BoolArray
from samkit.formats.attributes import Attributes
from samkit.geometry import Ring, decode_rle_patch, joined_outline
from samkit.types import Masks

VERSION = "5.5.0"  # of LabelMe, whose form this is
MIN_POINTS = 3


def labelme_document(
    masks: Masks,
    *,
    image_path: str,
    labels: Sequence[str],
    extras: dict[str, Any],
    attributes: Sequence[Attributes] | None = None,
    tags: Sequence[str] = (),
) -> dict[str, Any]:
    """Build the file of one image, ready for JSON.

    Drawn as LabelMe draws them, outlines included, the polygons of one group are the mask again.
    Polygons have no holes: a line joins a hole with the outline, or the mask is cut. X-AnyLabeling
    has no other shape for masks.

    Args:
        masks: M masks; empty ones are left out.
        image_path: from the JSON file to the image, which X-AnyLabeling wants beside it.
        labels: the M masks' classes.
        extras: more fields of the file.
        attributes: the M masks' values by name: flags are LabelMe's, the others are in
            `attributes`, as from X-AnyLabeling.
        tags: of the image: flags of the file.

    Source: labelme.utils.shape.
    """
    shapes = []
    every = [{}] * len(masks) if attributes is None else attributes
    for number, (rle, box_xyxy, label, values) in enumerate(
        zip(masks.rles, masks.boxes_xyxy, labels, every, strict=True), start=1
    ):
        flags = {name: True for name, value in values.items() if value is True}
        others = {name: value for name, value in values.items() if value is not True}
        rings = list(mask_rings(decode_rle_patch(rle, box_xyxy)))
        shapes += [
            {
                "label": label,
                "points": (ring + box_xyxy[:2]).astype(float).tolist(),
                "group_id": number if len(rings) > 1 else None,
                "shape_type": "polygon",
                "flags": flags,
                "description": "",
                "mask": None,
                **({"attributes": others} if others else {}),
            }
            for ring in rings
        ]
    height, width = masks.size_hw
    return {
        "version": VERSION,
        "flags": dict.fromkeys(tags, True),
        "shapes": shapes,
        "imagePath": image_path,
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
        **extras,
    }


def mask_rings(mask: BoolArray) -> Iterator[Ring]:
    """Polygons (N, 2) through pixel centres, N >= 3, whose drawings together are the mask.

    A part whose outline does not draw it, such as one with a hole near a corner, is cut in halves.
    """
    num_parts, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    for part in range(1, num_parts):
        inside = parts == part
        ys, xs = np.nonzero(inside)
        corner_xy = np.array([xs.min(), ys.min()])
        patch = inside[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]
        ring = joined_outline(patch)
        ring = np.concatenate([ring, ring[-1:].repeat(max(MIN_POINTS - len(ring), 0), axis=0)])
        if np.array_equal(draw_polygon(ring, patch.shape), patch):
            yield np.add(ring, corner_xy)
            continue
        axis = int(np.argmax(patch.shape))
        middle = patch.shape[axis] // 2
        shift_xy = [middle * (axis == 1), middle * (axis == 0)]
        first, second = np.split(patch, [middle], axis=axis)
        yield from (np.add(one, corner_xy) for one in mask_rings(first))
        yield from (np.add(one, corner_xy + shift_xy) for one in mask_rings(second))


def draw_polygon(ring: Ring, size_hw: tuple[int, ...]) -> BoolArray:
    """Draw a polygon as LabelMe does: filled, with its outline."""
    canvas = Image.new("1", (size_hw[1], size_hw[0]))
    ImageDraw.Draw(canvas).polygon([(x, y) for x, y in ring.tolist()], outline=1, fill=1)
    return np.array(canvas, bool)
