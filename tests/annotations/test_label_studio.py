"""Label Studio's JSON exports."""

import json

import numpy as np
import pytest

from samkit.annotations import ImageNames, ReadOptions, open_annotations
from samkit.annotations.label_studio_shapes import decode_brush
from samkit.errors import DataError

SIZE = (20, 30)
URL = "/data/upload/1/1a2b3c4d-a.png"
# A mask of 2 x 3 pixels, 0 1 1 / 0 0 1, as label_studio_sdk.converter.brush.mask2rle writes it.
CODE = [0, 0, 0, 24, 57, 27, 252, 96, 19, 255, 206, 1, 31, 248]


def bits(*fields):
    """Bytes of numbers, each with its number of bits."""
    text = "".join(f"{number:0{count}b}" for number, count in fields)
    text += "0" * (-len(text) % 8)
    return bytes(int(text[at : at + 8], 2) for at in range(0, len(text), 8))


def head(num_values, word=8):
    return [(num_values, 32), (word - 1, 5), (2, 4), (3, 4), (7, 4), (15, 4)]


def brush(rgba):
    """Code of an array (H, W, 4) as one series of values for each row, and runs for equal ones."""
    fields = head(rgba.size)
    for row in rgba.reshape(rgba.shape[0], -1).tolist():
        if len(set(row)) == 1:
            fields += [(1, 1), (3, 2), (len(row) - 1, 16), (row[0], 8)]
        else:
            fields += [(0, 1), (2, 2), (len(row) - 1, 8), *((value, 8) for value in row)]
    return list(bits(*fields))


def region(kind, value, *, labels=("cat",), **more):
    size = {"original_width": 30, "original_height": 20, "image_rotation": 0}
    value = value if labels is None else {**value, kind: list(labels)}
    number = more.pop("id", f"r{kind}")
    return {**size, "id": number, "type": kind, "to_name": "image", "value": value, **more}


def polygon(x0, y0, x1, y1, **more):
    """A polygon by edges in pixels."""
    corners = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
    points = [[100 * x / 30, 100 * y / 20] for x, y in corners]
    return region("polygonlabels", {"points": points}, **more)


def task(*results, data=None, **more):
    work = {"id": 5, "result": list(results), "was_cancelled": False}
    return {"id": 3, "data": data or {"image": URL}, "annotations": [work], **more}


@pytest.fixture
def read_tasks(tmp_path, read):
    def write_and_read(*tasks, options=None):
        (tmp_path / "export.json").write_text(json.dumps(tasks))
        return read(tmp_path / "export.json", SIZE, options)

    return write_and_read


def test_brush_strokes_are_where_alpha_is(read_tasks):
    rng = np.random.default_rng(1)
    rgba = rng.integers(0, 256, (*SIZE, 4)).astype(np.uint8)
    rgba[..., 3] *= rng.random(SIZE) < 0.5
    rgba[4:9] = 0
    rgba[12] = 255
    found = read_tasks(task(region("brushlabels", {"format": "rle", "rle": brush(rgba)})))
    ((name, mask),) = found.masks[URL]
    assert (found.format_name, name, found.faults) == ("label-studio", "cat", [])
    np.testing.assert_array_equal(mask, rgba[..., 3] > 0)


def test_brush_strokes_of_the_converter_are_read():
    mask = decode_brush(bytes(CODE), (2, 3))
    np.testing.assert_array_equal(mask, np.array([[0, 1, 1], [0, 0, 1]], bool))


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (b"", "end too early"),
        (bits(*head(2400)), "end too early"),
        (bits(*head(2399)), "must have 4 x 30 x 20 values of 8 bits; got 2399 of 8"),
        (bits(*head(2400, 16)), "got 2400 of 16"),
        (bits(*head(2400), (1, 1), (3, 2), (2400, 16), (1, 8)), "2401 values instead of 2400"),
        (bits(*head(2400), (0, 1), (3, 2), (2399, 16), (1, 8)), "end too early"),
    ],
)
def test_broken_brush_strokes_are_refused(code, reason, refusal):
    with refusal(DataError, reason):
        decode_brush(code, SIZE)


def test_polygons_and_ellipses_are_in_percent(read_tasks, rectangle):
    ellipse = {"x": 50, "y": 50, "radiusX": 20, "radiusY": 10, "rotation": 90}
    found = read_tasks(task(polygon(4, 5, 10, 9), region("ellipselabels", ellipse)))
    (_, mask), (_, drawn) = found.masks[URL]
    np.testing.assert_array_equal(mask, rectangle(4, 5, 10, 9))
    rows, columns = np.nonzero(drawn)  # radii of 6 and 2, turned
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (4, 15, 13, 16)


def test_rectangles_are_turned_about_their_corner(read_tasks, rectangle):
    value = {"x": 100 * 10 / 30, "y": 25, "width": 20, "height": 20, "rotation": 90}
    shape = region("rectanglelabels", value)
    assert "it has a box but no mask" in read_tasks(task(shape)).faults[0].text
    ((_, mask),) = read_tasks(task(shape), options=ReadOptions(boxes=True)).masks[URL]
    np.testing.assert_array_equal(mask, rectangle(6, 5, 10, 11))


def test_results_of_one_id_are_one_region(read_tasks):
    code = brush(np.full((*SIZE, 4), 255, np.uint8))
    value = {"format": "rle", "rle": code}
    found = read_tasks(
        task(
            region("brush", value, labels=None, id="r1"),
            region("labels", value, labels=["dog"], id="r1"),
            region("choices", {"choices": ["blurred"]}, labels=None, id="r1"),
            polygon(4, 5, 10, 9, id="r1"),
        )
    )
    assert [name for name, _ in found.masks[URL]] == ["dog", "cat"]
    assert (found.num_annotations, found.num_joined, found.faults) == (4, 2, [])


def test_of_several_labels_the_first_is_the_class(read_tasks):
    found = read_tasks(task(polygon(4, 5, 10, 9, labels=("cat", "dog"))))
    assert [name for name, _ in found.masks[URL]] == ["cat"]
    assert [one.num_annotations for one in found.faults] == [0]
    assert "of its labels cat, dog only the first" in found.faults[0].text


@pytest.mark.parametrize(
    ("results", "reason"),
    [
        ({"type": "relation", "from_id": "a", "to_id": "b"}, "relation is not a mask"),
        (region("keypointlabels", {"x": 1, "y": 1, "width": 1}), "it is not a mask"),
        (region("choices", {"choices": ["a"]}, labels=None), "choices is not a mask"),
        (polygon(4, 5, 10, 9, image_rotation=90, id="x"), "turned in Label Studio"),
        (polygon(4, 5, 10, 9, original_width=None, id="x"), "size"),
        (polygon(4, 5, 10, 9, original_width=31, id="x"), "another size"),
        (region("polygonlabels", {"points": [[1, 1], [2, 2]]}, id="x"), "of 2 points"),
        (region("polygonlabels", {"points": [[1, 1], [2, 2], [1e300, 1]]}, id="x"), "is broken"),
        (region("brushlabels", {"rle": [1, 2, 300]}, id="x"), "is broken"),
        (region("brushlabels", {"rle": "abc"}, id="x"), "is broken"),
        (7, "are not regions"),
    ],
)
def test_what_is_not_a_mask_leaves_the_others(read_tasks, results, reason):
    found = read_tasks(task(polygon(4, 5, 10, 9, id="a"), results, polygon(1, 1, 9, 9, id="b")))
    assert len(found.masks[URL]) == 2
    (fault,) = found.faults
    assert reason in fault.text
    assert fault.num_annotations == 1


def test_one_annotation_of_a_task_is_read(read_tasks):
    shapes = [polygon(0, 0, width, 5) for width in (4, 6, 8, 10)]
    works = [
        {"id": 1, "result": shapes[:1], "updated_at": "2026-01-02T00:00:00Z"},
        {"id": 2, "result": shapes[1:2], "updated_at": "2026-01-03T00:00:00Z"},
        {"id": 3, "result": shapes[2:3], "updated_at": "2026-01-01T00:00:00Z"},
        {"id": 4, "result": shapes[3:] * 2, "was_cancelled": True, "updated_at": "2027"},
    ]
    predicted = [{"result": [shapes[0]] * 3}]
    found = read_tasks({**task(), "annotations": works, "predictions": predicted})
    assert [int(mask.sum()) for _, mask in found.masks[URL]] == [30]
    assert sorted(one.num_annotations for one in found.faults) == [1, 1, 2, 3]
    assert found.num_annotations == 8
    works[2]["ground_truth"] = True
    found = read_tasks({**task(), "annotations": works})
    assert [int(mask.sum()) for _, mask in found.masks[URL]] == [40]


def test_tasks_without_regions_are_images(read_tasks):
    found = read_tasks(task(), {**task(data={"image": "b.png"}), "annotations": []})
    assert (found.masks, found.faults) == ({URL: [], "b.png": []}, [])


def test_regions_belong_to_the_image_that_they_name(read_tasks):
    data = {"text": "a/b", "left": "x/l.png", "right": "x/r.png", "pages": ["p/0.png", "p/1.png"]}
    found = read_tasks(
        task(
            polygon(4, 5, 10, 9, id="1", to_name="right"),
            polygon(4, 5, 10, 9, id="2", to_name="pages", item_index=1),
            polygon(4, 5, 10, 9, id="3", to_name="other"),
            data=data,
        )
    )
    counts = {name: len(masks) for name, masks in found.masks.items()}
    assert counts == {"x/l.png": 0, "x/r.png": 1, "p/0.png": 0, "p/1.png": 1}
    assert "one of the task's 4 images" in found.faults[0].text


@pytest.mark.parametrize("text", ["look at http://h/b.png", "see:\nx/b.png"])
@pytest.mark.parametrize("url", ["http://h/a.png?x=1", "http://h/image?id=1", "my cats/a b.png"])
def test_texts_that_mention_an_image_are_none(read_tasks, text, url):
    found = read_tasks(task(polygon(4, 5, 10, 9), data={"pic": url, "caption": text}))
    assert {name: len(masks) for name, masks in found.masks.items()} == {url: 1}
    assert found.faults == []


def test_results_may_be_text(read_tasks, rectangle):
    work = {"id": 5, "result": json.dumps([polygon(4, 5, 10, 9)])}
    found = read_tasks({**task(), "annotations": [work]})
    ((name, mask),) = found.masks[URL]
    assert (name, found.faults) == ("cat", [])
    np.testing.assert_array_equal(mask, rectangle(4, 5, 10, 9))
    found = read_tasks({**task(), "annotations": [{"id": 5, "result": "[{"}]})
    assert [one.num_annotations for one in found.faults] == [1]
    assert "are not regions, such as '[{'" in found.faults[0].text


def test_tasks_without_an_image_are_counted(read_tasks):
    found = read_tasks(task(polygon(4, 5, 10, 9), data={"text": "hello"}), 7)
    assert found.masks == {}
    assert [one.num_annotations for one in found.faults] == [1, 1]
    assert "has no image that can be named" in found.faults[0].text


def test_short_exports_are_read(read_tasks, rectangle):
    size = {"original_width": 30, "original_height": 20}
    points = polygon(4, 5, 10, 9)["value"]
    short = {
        "image": URL,
        "id": 1,
        "poly": [{**points, **size}],
        "annotator": 1,
        "annotation_id": 2,
    }
    found = read_tasks(short)
    ((name, mask),) = found.masks[URL]
    assert (found.format_name, name, found.faults) == ("label-studio", "cat", [])
    np.testing.assert_array_equal(mask, rectangle(4, 5, 10, 9))


@pytest.mark.parametrize(
    ("url", "image"),
    [
        (URL, "a.png"),
        ("/data/local-files/?d=images/sub/a%20b.png", "sub/a b.png"),
        ("/data/local-files/?d=sub/a+b.png", "sub/a+b.png"),
        ("/data/local-files/?d=sub/a%2Bb.png&x=1", "sub/a+b.png"),
        ("/data/local-files/?d=sub/a+b.png", "sub/a b.png"),
        ("s3://bucket/images/a.png", "a.png"),
        ("https://host/x/a.png?signature=1#2", "a.png"),
        ("/data/upload/1/1a2b3c4d-my_photo_1.png", "my photo (1).png"),
        ("/data/upload/1/1a2b3c4d-a%20b.png", "a b.png"),
    ],
)
def test_images_are_found_by_their_urls(tmp_path, url, image):
    (tmp_path / "a.json").write_text(json.dumps([task(data={"image": url})]))
    found = open_annotations(tmp_path / "a.json").read(0)
    names = ImageNames([image, "other.png", "sub/b.png"])
    assert names.find(found.name, folder=found.folder, from_top=True) == image


def test_other_files_are_refused(tmp_path, refusal):
    (tmp_path / "a.json").write_text("[1]")
    with refusal(DataError, "is not Label Studio's"):
        open_annotations(tmp_path / "a.json", "label-studio")
