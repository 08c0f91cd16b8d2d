"""Pascal VOC's data sets."""

import numpy as np
import pytest
from PIL import Image

from samkit.annotations import ImageNames, ReadOptions, open_annotations
from samkit.errors import DataError
from samkit.formats import voc_labelmap, voc_palette

SIZE = (20, 30)
BOX = "<bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox>"
FIRST, SECOND = (2, 3, 8, 9), (15, 5, 25, 15)  # x0, y0, x1, y1


def thing(name, box=None, more=""):
    counted = "" if box is None else BOX.format(box[0] + 1, box[1] + 1, box[2], box[3])
    return f"<object><name>{name}</name>{counted}{more}</object>"


@pytest.fixture
def data_set(tmp_path):
    tmp_path = tmp_path / "data"

    def write(objects=None, instances=None, classes=None, lists=None, size="30 20"):
        (tmp_path / "Annotations" / "sub").mkdir(parents=True, exist_ok=True)
        (tmp_path / "JPEGImages").mkdir(exist_ok=True)
        if objects is not None:
            width, height = size.split()
            text = f"<size><width>{width}</width><height>{height}</height></size>"
            text = f"<annotation><filename>b.jpg</filename>{text}{''.join(objects)}</annotation>"
            (tmp_path / "Annotations" / "sub" / "b.xml").write_text(text)
        for name, picture in (("SegmentationObject", instances), ("SegmentationClass", classes)):
            if picture is not None:
                (tmp_path / name / "sub").mkdir(parents=True, exist_ok=True)
                picture.save(tmp_path / name / "sub" / "b.png")
        for name, text in (lists or {}).items():
            (tmp_path / name).write_text(text)
        return tmp_path

    return write


def numbers(first=1, second=2, void=None):
    labels = np.zeros(SIZE, np.uint8)
    for number, (x0, y0, x1, y1) in ((first, FIRST), (second, SECOND)):
        labels[y0:y1, x0:x1] = number
    if void is not None:
        labels[0] = void
    return labels


def palette(labels):
    picture = Image.fromarray(labels)
    picture.putpalette(voc_palette())
    return picture


def painted(labels):
    return Image.fromarray(np.array(voc_palette(), np.uint8).reshape(256, 3)[labels])


@pytest.mark.parametrize("picture", [palette, painted])
def test_instances_have_the_classes_of_their_objects(data_set, read, rectangle, picture):
    root = data_set([thing("cat", FIRST), thing("dog", SECOND)], picture(numbers(void=255)))
    found = read(root, SIZE)
    (first, cat), (second, dog) = found.masks["sub/b"]
    assert (found.format_name, first, second, found.faults) == ("voc", "cat", "dog", [])
    np.testing.assert_array_equal(cat, rectangle(*FIRST))
    np.testing.assert_array_equal(dog, rectangle(*SECOND))
    np.testing.assert_array_equal(found.void["sub/b"], rectangle(0, 0, 30, 1))


def test_void_is_another_number_if_asked_for(data_set, read, rectangle):
    root = data_set(instances=palette(numbers(void=7)))
    found = read(root, SIZE, ReadOptions(void=7))
    assert len(found.masks["sub/b"]) == 2
    np.testing.assert_array_equal(found.void["sub/b"], rectangle(0, 0, 30, 1))


def test_boxes_tell_which_object_an_instance_is(data_set, read):
    root = data_set([thing("dog", SECOND), thing("cat", FIRST)], palette(numbers()))
    assert [name for name, _ in read(root, SIZE).masks["sub/b"]] == ["cat", "dog"]


def test_object_without_pixels_is_counted(data_set, read):
    objects = [thing("cat", FIRST), thing("dog", SECOND), thing("cow", (0, 0, 2, 2)), thing("x")]
    root = data_set(objects, palette(numbers()))
    found = read(root, SIZE)
    assert [one.text.split(":")[0] for one in found.faults] == ["object 3", "object 4"]
    assert (found.num_annotations, found.num_left_out) == (4, 2)
    boxes = read(root, SIZE, ReadOptions(boxes=True))
    assert [name for name, _ in boxes.masks["sub/b"]] == ["cat", "dog", "cow"]
    assert boxes.masks["sub/b"][2][1].sum() == 4


@pytest.mark.parametrize(
    ("lists", "picture", "names"),
    [
        ({"labels.txt": "cat\ndog\n"}, palette, ["dog", "cat"]),  # numbers from 1, as samkit writes
        ({"class_names.txt": "_background_\ncat\ndog\n"}, palette, ["dog", "cat"]),  # LabelMe
        ({"labels.txt": "__ignore__\n_background_\ncat\ndog"}, palette, ["dog", "cat"]),
        ({}, painted, ["class_2", "class_1"]),
        (
            {"labelmap.txt": "# label:color_rgb\nbackground:::\ncat:::\ndog:::\n"},
            painted,
            ["dog", "cat"],
        ),
        ({"labelmap.txt": "background:0,0,0::\nx:0,128,0::\ny:128,0,0::\n"}, painted, ["x", "y"]),
    ],
)
def test_without_xml_classes_are_those_of_the_pixels(data_set, read, lists, picture, names):
    root = data_set(None, palette(numbers()), picture(numbers(2, 1)), lists)
    found = read(root, SIZE)
    assert [name for name, _ in found.masks["sub/b"]] == names
    assert found.faults == []


@pytest.mark.parametrize("name", ["big: one", "a:b:c", ":", "1,2,3"])
def test_names_with_colons_are_read_as_samkit_writes_them(data_set, read, name):
    lists = {"labelmap.txt": voc_labelmap([name, "dog"])}
    classes = palette(numbers(first=1, second=2))
    found = read(data_set(None, palette(numbers()), classes, lists), SIZE)
    assert [one for one, _ in found.masks["sub/b"]] == [name, "dog"]


@pytest.mark.parametrize("suffix", [".PNG", ".tif", ".Tiff", ".bmp"])
def test_pictures_may_have_other_suffixes(data_set, read, rectangle, suffix):
    root = data_set([thing("cat", FIRST), thing("dog", SECOND)], palette(numbers()))
    png = root / "SegmentationObject" / "sub" / "b.png"
    with Image.open(png) as picture:
        picture.save(png.with_name(f"b{suffix}"))
    png.unlink()
    found = read(root, SIZE)
    (first, cat), (second, _) = found.masks["sub/b"]
    assert (first, second, found.faults) == ("cat", "dog", [])
    np.testing.assert_array_equal(cat, rectangle(*FIRST))


def test_pictures_that_are_not_read_are_told(data_set, read):
    root = data_set([thing("cat", FIRST), thing("dog", SECOND)], palette(numbers()))
    for name in ("b.tif", "c.jpg", "notes.txt"):
        (root / "SegmentationObject" / "sub" / name).write_text("")
    found = read(root, SIZE)
    assert len(found.masks["sub/b"]) == 2
    (fault,) = found.faults
    first = "not read as pictures of instances or classes: SegmentationObject/sub/b.tif and 1 more"
    assert fault.text == f"{first}; expected one of .png, .tif, .tiff, .bmp for each image"


def test_classes_alone_are_no_instances(data_set, read):
    found = read(data_set(None, None, palette(numbers(void=255))), SIZE)
    assert (found.masks["sub/b"], found.num_left_out) == ([], 2)
    assert "instances are not separate" in found.faults[0].text


def test_polygons_go_through_pixels_that_count_from_one(data_set, read, rectangle):
    corners = "<x1>3</x1><y1>4</y1><x2>8</x2><y2>4</y2><x3>8</x3><y3>9</y3><x4>3</x4><y4>9</y4>"
    found = read(data_set([thing("cat", FIRST, f"<polygon>{corners}</polygon>")]), SIZE)
    ((name, mask),) = found.masks["sub/b"]
    assert (name, found.faults) == ("cat", [])
    np.testing.assert_array_equal(mask, rectangle(*FIRST))


def test_polygons_of_the_old_labelme_are_edges(tmp_path, read, rectangle):
    points = "".join(f"<pt><x>{x}</x><y>{y}</y></pt>" for x, y in ((2, 3), (8, 3), (8, 9), (2, 9)))
    objects = [
        f"<object><name>cat</name><deleted>{deleted}</deleted><polygon>{points}</polygon></object>"
        for deleted in (0, 1)
    ]
    size = "<imagesize><nrows>20</nrows><ncols>30</ncols></imagesize>"
    (tmp_path / "a.xml").write_text(f"<annotation>{size}{''.join(objects)}</annotation>")
    found = read(tmp_path, SIZE)
    ((_, mask),) = found.masks["a"]
    np.testing.assert_array_equal(mask, rectangle(*FIRST))
    assert [one.text for one in found.faults] == ["object 2: it is deleted"]


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ("<polygon><x1>1</x1><y1>1</y1></polygon>", "at least three points"),
        ("<polygon><x1>1</x1><y1>x</y1></polygon>", "is broken"),
        (BOX.format(1, 2, "", 3), "is broken"),
        (BOX.format(1, 2, "nan", 3), "is broken"),
        ("<segm><mask>m.png</mask></segm>", "old LabelMe"),
    ],
)
def test_broken_object_leaves_the_others(data_set, read, more, reason):
    found = read(
        data_set([thing("x", None, more), thing("dog", SECOND)]), SIZE, ReadOptions(boxes=True)
    )
    assert [name for name, _ in found.masks["sub/b"]] == ["dog"]
    assert [reason in one.text for one in found.faults] == [True]


def test_broken_object_keeps_its_number(data_set, read):
    broken = thing("x", None, BOX.format(1, 2, "", 3))
    found = read(data_set([broken, thing("dog", SECOND)], palette(numbers())), SIZE)
    assert [name for name, _ in found.masks["sub/b"]] == ["x", "dog"]


def test_picture_of_another_size_is_one_line(data_set, read):
    found = read(data_set([thing("cat", FIRST)], palette(numbers()), size="31 20"), SIZE)
    assert (found.masks, len(found.faults)) == ({"": []}, 1)
    assert "its size is not that of the picture" in found.faults[0].text


def test_damaged_pictures_and_lists_are_one_line(data_set, read, refusal):
    root = data_set([thing("cat", FIRST)], palette(numbers()))
    (root / "SegmentationObject" / "sub" / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n damaged")
    assert "cannot be read" in read(root, SIZE).faults[0].text
    (root / "labelmap.txt").write_text("cat:red::\n")
    with refusal(DataError, "no colour in 'cat:red::'"):
        open_annotations(root)


def test_images_are_found_in_each_layout(data_set):
    root = data_set([thing("cat", FIRST)])
    for path, image in (
        (root, "JPEGImages/sub/b.jpg"),
        (root, "sub/b.jpg"),
        (root.parent, f"{root.name}/JPEGImages/sub/b.jpg"),
        (root / "Annotations" / "sub" / "b.xml", "JPEGImages/sub/b.jpg"),
    ):
        found = open_annotations(path, "voc").read(0)
        names = ImageNames([image, "JPEGImages/b.jpg", "b.jpg"])
        assert names.find(found.name, folder=found.folder, has_suffix=False) == image


def test_numbers_beyond_the_objects_are_matched_by_their_boxes(tmp_path):
    labels = np.zeros((20, 30), np.uint8)
    labels[2:8, 3:9], labels[10:15, 12:20] = 3, 4
    for folder in ("SegmentationObject", "Annotations"):
        (tmp_path / folder).mkdir()
    Image.fromarray(labels).save(tmp_path / "SegmentationObject" / "a.png")
    boxes = {"dog": (13, 11, 20, 15), "cat": (4, 3, 9, 8)}
    objects = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin>"
        f"<xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
        for name, (x0, y0, x1, y1) in boxes.items()
    )
    (tmp_path / "Annotations" / "a.xml").write_text(f"<annotation>{objects}</annotation>")
    image = open_annotations(tmp_path).read(0)
    assert [mask.class_name for mask in image.masks] == ["cat", "dog"]
    assert image.faults == ()
