"""GeoJSON in pixels."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as any_arrays

from samkit.formats import geojson_collection
from samkit.types import Masks


def shoelace(ring):
    x, y = np.array(ring, float).T
    return (x[:-1] @ y[1:] - x[1:] @ y[:-1]) / 2


def polygons_of(geometry):
    if geometry["type"] == "Polygon":
        return [geometry["coordinates"]]
    assert geometry["type"] == "MultiPolygon"
    return geometry["coordinates"]


def test_features_are_the_masks(masks):
    collection = json.loads(json.dumps(geojson_collection(masks)))
    assert collection["type"] == "FeatureCollection"
    features = collection["features"]
    assert [feature["type"] for feature in features] == ["Feature"] * 5
    assert [feature["id"] for feature in features] == [1, 2, 3, 4, 5]
    kinds = [feature["geometry"]["type"] for feature in features]
    assert kinds == ["Polygon", "Polygon", "Polygon", "MultiPolygon", "Polygon"]
    assert features[1]["properties"] == {
        "score": pytest.approx(0.93),
        "stability": pytest.approx(0.96),
        "area": int(masks.areas[1]),
    }
    assert [len(polygons_of(features[index]["geometry"])[0]) for index in (1, 2)] == [1, 2]


def test_last_pixel_reaches_the_lower_right_corner(masks):
    (ring,) = geojson_collection(masks)["features"][4]["geometry"]["coordinates"]
    assert sorted(map(tuple, ring[:-1])) == [(89, 59), (89, 60), (90, 59), (90, 60)]


@given(any_arrays(bool, st.tuples(st.just(2), st.integers(1, 9), st.integers(1, 9))))
def test_rings_are_closed_turned_right_and_of_the_masks_area(arrays):
    collection = geojson_collection(Masks.from_arrays(arrays, [1.0, 0.5]))
    for feature, mask in zip(collection["features"], arrays, strict=True):
        assert feature["properties"]["stability"] is None
        if not mask.any():
            assert feature["geometry"] is None
            continue
        area = 0.0
        for outer, *holes in polygons_of(feature["geometry"]):
            assert shoelace(outer) > 0
            assert all(shoelace(hole) < 0 for hole in holes)
            for ring in (outer, *holes):
                assert ring[0] == ring[-1]
                assert len(ring) >= 4
                area += shoelace(ring)
        assert area == mask.sum() == feature["properties"]["area"]


def test_no_masks(no_masks):
    assert geojson_collection(no_masks) == {"type": "FeatureCollection", "features": []}
