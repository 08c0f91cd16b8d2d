"""LabelMe's files."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from samkit.errors import FormatError
from samkit.formats import read_labelme
from samkit.geometry import decode_rle


@pytest.fixture
def read(tmp_path):
    def write_and_read(*shapes, **more):
        document = {"imagePath": "a.png", "imageHeight": 20, "imageWidth": 30, "shapes": shapes}
        (tmp_path / "a.json").write_text(json.dumps(document | more))
        return read_labelme(tmp_path / "a.json")

    return write_and_read


def test_shapes_are_drawn_with_their_outlines(read):
    file = read(
        {"label": "p", "points": [[2, 2], [6, 2], [6, 5], [2, 5]], "shape_type": "polygon"},
        {"label": "c", "points": [[15, 10], [18, 10]], "shape_type": "circle"},
    )
    polygon, circle = (decode_rle(rle) for rle in file.rles)
    expected = np.zeros((20, 30), bool)
    expected[2:6, 2:7] = True
    np.testing.assert_array_equal(polygon, expected)
    assert circle[10, 12:19].all()
    assert circle.sum(axis=0).max() == 7
    assert (file.labels, file.size_hw, file.faults) == (("p", "c"), (20, 30), ())


def test_mask_is_pasted_into_its_box(read):
    patch = np.array([[1, 0, 1], [0, 1, 0]], bool)
    stream = io.BytesIO()
    Image.fromarray(patch).save(stream, format="PNG")
    shape = {
        "label": "m",
        "points": [[4, 7], [6, 8]],
        "shape_type": "mask",
        "mask": base64.b64encode(stream.getvalue()).decode(),
    }
    (rle,) = read(shape).rles
    expected = np.zeros((20, 30), bool)
    expected[7:9, 4:7] = patch
    np.testing.assert_array_equal(decode_rle(rle), expected)
    for points in ([[4, 7], [7, 8]], [[28, 7], [30, 8]], [[-1, 7], [1, 8]]):
        assert read(shape | {"points": points}).faults != ()
    assert read(shape | {"mask": "no base64"}).faults != ()


@pytest.mark.parametrize(
    "shape",
    [
        7,
        {},
        {"label": "x", "points": [[0, 0], [1, 1]]},
        {"label": "x", "points": [[0, 0], [1e9, 1], [1, 1]]},
        {"label": "x", "points": [[0, 0], [float("nan"), 1], [1, 1]]},
        {"label": "x", "points": [[0, 0], [10**400, 1], [1, 1]]},
        {"points": [[0, 0], [5, 1], [1, 1]]},
    ],
)
def test_broken_shape_leaves_the_others(shape, read):
    good = {"label": "p", "points": [[2, 2], [6, 2], [6, 5]]}
    file = read(shape, good)
    assert (len(file.rles), len(file.faults)) == (1, 1)
    assert file.faults[0].startswith("shape 1")


def test_other_files_are_refused(read, tmp_path, refusal):
    with refusal(FormatError, "pixels is not possible"):
        read(imageHeight=10**9)
    with refusal(FormatError, "is not a LabelMe file"):
        read(imageHeight="tall")
    with refusal(FormatError, "cannot read"):
        read_labelme(tmp_path / "none.json")
    (tmp_path / "half.json").write_text('{"imagePath": ')
    with refusal(FormatError, "half.json is not JSON"):
        read_labelme(tmp_path / "half.json")
