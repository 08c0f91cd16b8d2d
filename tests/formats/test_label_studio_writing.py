"""Label Studio's tasks; `tests/interop` reads them with its own package."""

import numpy as np
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays

from samkit.formats import label_studio_config, label_studio_task, local_file_url
from samkit.formats.label_studio_writing import brush_rle
from samkit.types import Masks


def decode(data):
    """The format's plain decoder, bit by bit; source: @thi.ng/rle-pack."""
    bits = "".join(f"{byte:08b}" for byte in data)
    at = 0

    def take(count):
        nonlocal at
        at += count
        return int(bits[at - count : at], 2)

    total, value_bits = take(32), take(5) + 1
    widths = [take(4) + 1 for _ in range(4)]
    values = []
    while len(values) < total:
        repeated, count = take(1), take(widths[take(2)]) + 1
        values += (
            [take(value_bits)] * count if repeated else [take(value_bits) for _ in range(count)]
        )
    assert len(bits) - at < 8
    return np.array(values, np.uint8)


@given(mask=arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=20)))
def test_brushes_come_back(mask):
    pixels = decode(brush_rle(mask)).reshape(*mask.shape, 4)
    np.testing.assert_array_equal(pixels, np.repeat(mask[:, :, None] * 255, 4, axis=2))


def test_long_runs_are_split():
    mask = np.ones((150, 200), bool)  # 120,000 values, and a run has at most 65,536
    assert (decode(brush_rle(mask)) == 255).all()
    assert len(decode(brush_rle(mask))) == 120_000


def test_interface_has_all_classes():
    config = label_studio_config(["cell", 'a "<b>'])
    assert '<Label value="cell"/>' in config
    assert "<Label value='a \"&lt;b&gt;'/>" in config


def test_urls_are_quoted():
    assert local_file_url("images/all/b c.png") == "/data/local-files/?d=images/all/b%20c.png"


def test_regions_name_their_class_and_the_size():
    masks = Masks.from_arrays(np.ones((1, 4, 6), bool), [1.0])
    task = label_studio_task(3, "/x", masks, ["cell"], extras={"k": 1})
    (region,) = task["annotations"][0]["result"]
    assert (region["original_width"], region["original_height"]) == (6, 4)
    assert region["value"]["brushlabels"] == ["cell"]
    assert (task["id"], task["data"], task["meta"]) == (3, {"image": "/x"}, {"k": 1})
