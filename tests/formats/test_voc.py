"""Pascal VOC's pictures and boxes."""

import numpy as np
import pytest

from samkit.errors import FormatError
from samkit.formats.voc import MOST_NUMBERS, voc_classes, voc_instances, voc_palette, voc_xml
from samkit.types import Masks


def rows(count):
    """Masks of one row each."""
    return Masks.from_arrays(np.eye(count, dtype=bool)[:, :, None], np.ones(count))


def test_classes_are_those_of_the_instances():
    instances = voc_instances(rows(3))
    np.testing.assert_array_equal(instances[:, 0], [1, 2, 3])
    np.testing.assert_array_equal(voc_classes(instances, [7, 7, 254])[:, 0], [7, 7, 254])


def test_more_than_8_bits_can_number_is_refused(refusal):
    assert voc_instances(rows(MOST_NUMBERS)).max() == 254
    with refusal(FormatError, "at most 254 masks an image; got 255"):
        voc_instances(rows(MOST_NUMBERS + 1))
    with pytest.raises(FormatError):
        voc_classes(np.zeros((1, 1), np.uint8), [255])


def test_palette_is_that_of_voc():
    """The colours of its first classes, and of "void"."""
    colors = np.array(voc_palette()).reshape(256, 3).tolist()
    assert colors[:5] == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128]]
    assert colors[15] == [192, 128, 128]  # person
    assert colors[255] == [224, 224, 192]


def test_names_are_escaped():
    text = voc_xml(rows(1), file_name="a<&>.png", class_names=["<b>"])
    assert b"a&lt;&amp;&gt;.png" in text
    assert b"<name>&lt;b&gt;</name>" in text
