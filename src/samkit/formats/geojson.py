"""Masks as GeoJSON in pixels, for programs that show and edit polygons over images."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from samkit.formats.attributes import Attributes
from samkit.geometry import Ring, decode_rle_patch, mask_polygons
from samkit.types import Masks

DECIMALS = 6


def geojson_collection(
    masks: Masks,
    *,
    class_names: Sequence[str | None] | None = None,
    attributes: Sequence[Attributes] | None = None,
) -> dict[str, Any]:
    """Build a FeatureCollection with one feature for each mask, ready for JSON.

    Coordinates are [x, y] in pixels, not degrees: x to the right, y downwards, from [0, 0] at the
    image's upper left corner to [width, height] at its lower right one. Outlines run along pixel
    edges, so that areas are exact. Outer rings have a positive shoelace area in [x, y], holes a
    negative one, and the first point is repeated as the last.

    A mask of one part is a Polygon, one of several parts a MultiPolygon; an empty mask has no
    geometry. Pixels are connected by edges, not corners. Properties are score and stability (null
    if not measured), area in pixels, and, where they are given, class and attributes. `id` is the
    mask's number, from 1.

    Source: RFC 7946. Deviation: coordinates in pixels.
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
            | ({} if class_names is None else {"class": class_names[index]})
            | ({} if attributes is None else {"attributes": dict(attributes[index])}),
        }
        for index in range(len(masks))
    ]
    return {"type": "FeatureCollection", "features": features}


def _rounded(value: np.float32 | float) -> float | None:
    """A score for JSON; null for NaN, which means not measured."""
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
