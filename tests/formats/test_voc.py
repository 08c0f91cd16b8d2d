"""Pascal VOC's pictures and boxes."""

import numpy as np
import pytest

from samkit.errors import FormatError
from samkit.formats import (
    read_image,
    read_labels,
    voc_classes,
    voc_instances,
    voc_labelmap,
    voc_xml,
    write_voc_png,
)
from samkit.formats.voc import MAX_NUMBER, voc_palette
from samkit.types import Masks


def rows(count):
    """Masks of one row each."""
    return Masks.from_arrays(np.eye(count, dtype=bool)[:, :, None], np.ones(count))


def test_classes_are_those_of_the_instances():
    instances = voc_instances(rows(3))
    np.testing.assert_array_equal(instances[:, 0], [1, 2, 3])
    np.testing.assert_array_equal(voc_classes(instances, [7, 7, 254])[:, 0], [7, 7, 254])


def test_more_than_8_bits_can_number_is_refused(refusal):
    assert voc_instances(rows(MAX_NUMBER)).max() == 254
    with refusal(FormatError, "at most 254 masks an image; got 255"):
        voc_instances(rows(MAX_NUMBER + 1))
    with pytest.raises(FormatError):
        voc_classes(np.zeros((1, 1), np.uint8), [255])


def test_palette_is_that_of_voc():
    """The colours of its first classes, and of "void"."""
    colors = np.array(voc_palette()).reshape(256, 3).tolist()
    assert colors[:5] == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128]]
    assert colors[15] == [192, 128, 128]  # person
    assert colors[255] == [224, 224, 192]


def test_label_image_has_the_colours_and_keeps_the_numbers(tmp_path):
    labels = np.array([[0, 3], [254, 15]], np.uint8)
    path = write_voc_png(tmp_path / "a.png", labels)
    np.testing.assert_array_equal(read_labels(path).labels, labels)
    assert read_image(path)[1, 1].tolist() == [192, 128, 128]


def test_names_are_escaped():
    text = voc_xml(rows(1), file_name="a<&>.png", class_names=["<b>"])
    assert b"a&lt;&amp;&gt;.png" in text
    assert b"<name>&lt;b&gt;</name>" in text


def test_labelmap_has_the_colours_of_the_label_images():
    assert voc_labelmap(["cell", "b"]).splitlines() == [
        "# label:color_rgb:parts:actions",
        "background:0,0,0::",
        "cell:128,0,0::",
        "b:0,128,0::",
    ]
