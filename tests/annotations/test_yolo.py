"""YOLO's label files."""

import cv2
import numpy as np
import pytest

from samkit.annotations import ImageNames, ReadOptions, open_annotations
from samkit.errors import DataError

SIZE = (20, 30)
SQUARE = "0.1001 0.2001 0.4001 0.2001 0.4001 0.5001 0.1001 0.5001"  # 3, 4 to 12, 10 of 30 x 20
BOX = "0.5 0.5 0.2 0.4"  # 12, 6 to 18, 14


@pytest.fixture
def folder(tmp_path):
    def write(files):
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return tmp_path

    return write


def test_polygons_are_drawn_with_their_outlines(folder, read, rectangle):
    root = folder({"data.yaml": "names: [cat, dog]\n", "labels/train/a.txt": f"1 {SQUARE}\n"})
    found = read(root, SIZE)
    ((name, mask),) = found.masks["train/a"]
    assert (found.format_name, name, found.faults) == ("yolo", "dog", [])
    np.testing.assert_array_equal(mask, rectangle(3, 4, 13, 11))


def test_masks_are_those_that_ultralytics_draws(folder, read):
    """Its polygon2mask truncates to integers; values are not just below one here."""
    rng = np.random.default_rng(0)
    lines, expected = [], []
    for _ in range(50):
        pixels = rng.integers(0, (30, 20), (rng.integers(3, 9), 2))
        fractions = (pixels + rng.uniform(0.05, 0.95, pixels.shape)) / (30, 20)
        lines.append("0 " + " ".join(f"{value:.6f}" for value in fractions.ravel()))
        canvas = np.zeros(SIZE, np.uint8)
        expected.append(cv2.fillPoly(canvas, [pixels.astype(np.int32)], 1).astype(bool))
    root = folder({"classes.txt": "cat\n", "a.txt": "\n".join(lines)})
    masks = [mask for _, mask in read(root, SIZE).masks["a"]]
    np.testing.assert_array_equal(masks, expected)


def test_rounded_coordinates_mean_the_pixel_that_was_meant(folder, read):
    """0.33333 of 48 is 15.9998: truncated, the mask would lose a row."""
    line = "0 0.25000 0.33333 0.50000 0.33333 0.50000 0.66667 0.25000 0.66667"
    root = folder({"classes.txt": "cat\n", "a.txt": line})
    ((_, mask),) = read(root, (48, 64)).masks["a"]
    rows, columns = np.nonzero(mask)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (16, 32, 16, 32)


def test_boxes_are_masks_only_where_asked_for(folder, read, rectangle):
    root = folder({"classes.txt": "cat\n", "labels/a.txt": f"0 {BOX}\n0 {SQUARE}\n"})
    found = read(root, SIZE)
    assert [fault.text[:30] for fault in found.faults] == ["line 1: it has a box but no ma"]
    assert len(found.masks["a"]) == 1
    (_, box), _ = read(root, SIZE, ReadOptions(boxes=True)).masks["a"]
    np.testing.assert_array_equal(box, rectangle(12, 6, 18, 14))


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ("names: [no, '7']", ["no", "7"]),
        ("names:\n  0: cat\n  1: null", ["cat", "null"]),
        ("nc: 2", ["class_0", "class_1"]),
        ("names: {0: \"\\u043a\", 1: '2024-01-01'}", ["\u043a", "2024-01-01"]),
    ],
)
def test_class_names_are_the_text_of_the_settings(folder, read, settings, names):
    lines = f"0 {SQUARE}\n1 {SQUARE}\n2 {SQUARE}\n-1 {SQUARE}\n"
    root = folder({"data.yml": settings, "labels/a.txt": lines})
    found = read(root, SIZE)
    assert [name for name, _ in found.masks["a"]] == names
    assert [fault.text.split(":")[0] for fault in found.faults] == ["line 3", "line 4"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("0 0.1 0.2 0.3 0.4 0.5", "got 5 coordinates"),
        ("0 0.1 0.2 0.3 0.4 0.5 0.6 0.7", "got 7 coordinates (a confidence at the end?)"),
        ("0", "got 0 coordinates"),
        ("0 10 20 30 20 30 40", "got 10"),
        ("0 0.1 0.2 nan 0.4 0.5 0.6", "got nan"),
        ("0 0.1 0.2 1e999 0.4 0.5 0.6", "got inf"),
        ("cat 0.1 0.2 0.3 0.2 0.3 0.4", "is broken"),
        ("0 0,1 0,2 0,3 0,2 0,3 0,4", "numbers must have a point, not a comma"),
        ("0,0.1,0.2,0.3,0.2,0.3,0.4", "and blanks between them"),
        (f"0  {SQUARE}".replace("  ", " "), "it repeats line 1"),
    ],
)
def test_broken_line_leaves_the_others(folder, read, line, reason):
    root = folder({"classes.txt": "cat\ndog\n", "labels/a.txt": f"0 {SQUARE}\n{line}\n\n"})
    found = read(root, SIZE)
    assert len(found.masks["a"]) == 1
    (fault,) = found.faults
    assert fault.text.startswith("line 2")
    assert reason in fault.text


def test_keypoints_are_not_taken_for_polygons(folder, read):
    settings = "names: [cat]\nkpt_shape: [2, 2]\n"
    root = folder({"data.yaml": settings, "labels/a.txt": f"0 {BOX} 0.1 0.2 0.3 0.4\n"})
    found = read(root, SIZE)
    assert (found.masks["a"], found.num_left_out) == ([], 1)


TRACK = f"0 {BOX} 0.9 1"


def test_boxes_of_tracks_are_not_taken_for_polygons(folder, read, rectangle):
    root = folder({"classes.txt": "cat\n", "labels/a.txt": f"{TRACK}\n0 {BOX} 0.8 0\n"})
    found = read(root, SIZE)
    expected = "it is a box with its confidence and track, not an outline"
    assert [one.text for one in found.faults] == [f"line {at}: {expected}" for at in (1, 2)]
    assert found.masks["a"] == []
    (_, box), _ = read(root, SIZE, ReadOptions(boxes=True)).masks["a"]
    np.testing.assert_array_equal(box, rectangle(12, 6, 18, 14))


@pytest.mark.parametrize(
    "other",
    [
        f"0 {SQUARE}",  # another line shows that they are outlines
        "0 0.5 0.2 0.3 0.9 0.7 1",  # a box that would leave the image
        "0 0.5 0.5 0.2 0.4 0.9 0.7",
    ],
)
def test_triangles_that_end_at_the_edge_are_outlines(folder, read, other):
    root = folder({"classes.txt": "cat\n", "labels/a.txt": TRACK, "labels/b.txt": other})
    found = read(root, SIZE)
    assert ([len(found.masks[one]) for one in "ab"], found.faults) == ([1, 1], [])


@pytest.mark.parametrize(
    "files",
    [
        {"pets-seg.yaml": "names: {0: cat}\n"},
        {"pets.YML": "names: [cat]\n", "other.yaml": "a: 1\n", "broken.yaml": "{"},
        {"_darknet.labels": "cat\n"},
        {"labels.txt": "cat\n"},
    ],
)
def test_class_names_are_found_in_files_of_other_names(folder, read, files):
    root = folder({**files, "labels/a.txt": f"0 {SQUARE}\n"})
    found = read(root, SIZE)
    assert [name for name, _ in found.masks["a"]] == ["cat"]
    assert (found.faults, open_annotations(root).read(0).notes) == ([], ())


@pytest.mark.parametrize("files", [{}, {"a.yaml": "names: [cat]", "b.yaml": "names: [dog]"}])
def test_missing_class_names_are_told_once(folder, files):
    line = f"0 {SQUARE}\n"
    found = open_annotations(folder({**files, "labels/a.txt": line, "labels/b.txt": line}))
    first, second = (found.read(index) for index in (0, 1))
    text = "no list of class names was found: classes are called class_0, class_1, ..."
    assert (first.notes, second.notes) == ((text,), ())
    assert [one.class_name for one in (*first.masks, *second.masks)] == ["class_0"] * 2


def test_suffixes_of_labels_may_be_in_upper_case(folder, read):
    root = folder({"classes.txt": "cat\n", "labels/b.TXT": f"0 {SQUARE}\n"})
    assert [name for name, _ in read(root, SIZE).masks["b"]] == ["cat"]


@pytest.mark.parametrize(
    ("label", "image", "others"),
    [
        ("labels/train/a.txt", "images/train/a.jpg", ["images/val/a.jpg"]),
        ("labels/train/a.txt", "train/a.jpg", ["val/a.jpg"]),  # in a project of images/
        ("labels/a.txt", "a.jpg", ["sub/a.jpg"]),
        ("labels/sub/a.txt", "images/sub/a.jpg", ["images/a.jpg"]),
        ("train/labels/a.txt", "train/images/a.jpg", ["valid/images/a.jpg"]),  # Roboflow
        ("obj_train_data/a.txt", "obj_train_data/a.jpg", ["obj_valid_data/a.jpg"]),  # darknet
        ("sub/a.txt", "sub/a.jpg", ["a.jpg"]),
        ("labels/1a2b3c4d-a.txt", "a.jpg", ["b.jpg"]),  # Label Studio
    ],
)
def test_images_are_found_in_each_layout(folder, label, image, others):
    root = folder({"data.yaml": "names: [cat]\n", label: f"0 {SQUARE}\n"})
    (found,) = [one.read(0) for one in [open_annotations(root)]]
    names = ImageNames([image, *others])
    assert names.find(found.name, folder=found.folder, has_suffix=found.has_suffix) == image


def test_labels_elsewhere_are_found_by_the_settings(folder, tmp_path, read):
    folder({"there/labels/train/a.txt": f"0 {SQUARE}\n", "there/images/train/a.png": ""})
    settings = f"path: {tmp_path}/there\ntrain: images/train\nval:\nnames: [cat]\n"
    folder({"here/data.yaml": settings})
    found = read(tmp_path / "here" / "data.yaml", SIZE)
    assert [name for name, _ in found.masks["train/a"]] == ["cat"]


def test_a_part_of_a_data_set_has_its_names(folder, read):
    root = folder({"data.yaml": "names: [cat]\n", "labels/train/a.txt": f"0 {SQUARE}\n"})
    for part in ("labels", "labels/train", "labels/train/a.txt"):
        assert [
            name for name, _ in read(root / part, SIZE, format_name="yolo").masks["train/a"]
        ] == ["cat"]


def test_lists_of_images_are_no_labels(folder, read):
    files = {"obj.names": "cat\n", "train.txt": "data/a.png\n", "README.txt": "Exported"}
    found = read(folder({**files, "a.txt": f"0 {SQUARE}\n", "b.txt": ""}), SIZE)
    assert sorted(found.masks) == ["a", "b"]
    assert found.faults == []


@pytest.mark.parametrize("settings", ["names: []", "names: [[1]]", "{", "- a", "names: {x: y}", ""])
def test_settings_without_names_are_refused(folder, refusal, settings):
    root = folder({"data.yaml": settings, "labels/a.txt": f"0 {SQUARE}\n"})
    with refusal(DataError, "data.yaml"):
        open_annotations(root)


def test_folders_without_labels_are_refused(folder, refusal):
    with refusal(DataError, "has no label files"):
        open_annotations(folder({"data.yaml": "names: [cat]"}), "yolo")
