"""Masks as GeoJSON, in pixels: for programs that show and edit polygons over pictures."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from samkit.geometry.polygons import Ring, mask_polygons
from samkit.geometry.rle import decode_rle_patch
from samkit.types import Masks

DECIMALS = 6


def geojson_collection(
    masks: Masks, *, class_names: Sequence[str | None] | None = None
) -> dict[str, Any]:
    """A FeatureCollection with one feature for each mask, as JSON takes it.

    Coordinates are [x, y] in pixels, not degrees: x to the right, y downwards, the image's upper
    left corner [0, 0] and its lower right one [width, height]. Outlines run along the pixels'
    edges, so that areas are exact. Outer rings have a positive shoelace area in [x, y], holes a
    negative one, and the first point is repeated as the last.

    A mask of one part is a Polygon, one of several a MultiPolygon; an empty one has no geometry.
    Parts are connected by edges, not corners. The properties are score and stability (null if not
    measured), area in pixels, and, where `class_names` are given, class; `id` is the mask's number,
    from 1.

    Source: RFC 7946. Deviations: the coordinates, as said.
    """
    features = [
        {
            "type": "Feature",
            "id": index + 1,
            "geometry": _geometry(masks, index),
            "properties": {
                "score": _rounded(masks.scores[index]),
                "stability": _rounded(
                    np.nan if masks.stability is None else masks.stability[index]
                ),
                "area": int(masks.areas[index]),
            }
            | ({} if class_names is None else {"class": class_names[index]}),
        }
        for index in range(len(masks))
    ]
    return {"type": "FeatureCollection", "features": features}


def _rounded(value: np.float32 | float) -> float | None:
    """A measure as JSON takes it: null for NaN, which was not measured."""
    return None if np.isnan(value) else round(float(value), DECIMALS)


def _geometry(masks: Masks, index: int) -> dict[str, Any] | None:
    box_xyxy = masks.boxes_xyxy[index]
    polygons = [
        [_closed(ring + box_xyxy[:2]) for ring in (polygon.outer, *polygon.holes)]
        for polygon in mask_polygons(decode_rle_patch(masks.rles[index], box_xyxy))
    ]
    if not polygons:
        return None
    if len(polygons) == 1:
        return {"type": "Polygon", "coordinates": polygons[0]}
    return {"type": "MultiPolygon", "coordinates": polygons}


def _closed(ring: Ring) -> list[list[int]]:
    points: list[list[int]] = ring.tolist()
    return [*points, points[0]]
