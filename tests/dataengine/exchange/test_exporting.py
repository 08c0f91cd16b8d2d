"""Exports of a project: splits, classes, names, copies, and what is left out."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from samkit.cli.engine.exchange import EXPORT_FORMATS
from samkit.dataengine import (
    Store,
    add_class,
    add_images,
    create_project,
    create_user,
    export_project,
    import_masks,
    list_annotations,
    list_classes,
    list_images,
    save_annotation,
    submit_image,
    take_image,
)
from samkit.dataengine.exchange.writers import WRITERS
from samkit.errors import OutputError
from samkit.geometry import decode_rle, encode_rle
from samkit.web.routes.exchange import ExportFormat

FORMATS = tuple(WRITERS)
BOX = np.zeros((12, 16), bool)
BOX[2:6, 3:9] = True


class Project:
    """A project of submitted images; `masks` has the masks with their classes by path.

    TIFF files have two pages.
    """

    def __init__(self, folder, masks, classes=()):
        self.folder = folder
        self.images = folder / "images"
        for number, path in enumerate(masks):
            (self.images / path).parent.mkdir(parents=True, exist_ok=True)
            pages = [Image.new("RGB", (16, 12), (number, page, 0)) for page in range(2)]
            is_stack = path.endswith((".tif", ".tiff"))
            more = {"save_all": True, "append_images": pages[1:]} if is_stack else {}
            pages[0].save(self.images / path, **more)
        with self.store() as store:
            project = create_project(store, name="p", root=self.images).id
            add_images(store, project)
            user = create_user(store, name="u", role="admin").id
            numbers = {name: add_class(store, project, name).id for name in classes}
            for image in list_images(store, project).items:
                take_image(store, image.id, user)
                for name, mask in masks.get(image.path, []):
                    save_annotation(
                        store,
                        image_id=image.id,
                        user_id=user,
                        rle=encode_rle(mask),
                        class_id=numbers.get(name),
                    )
                submit_image(store, image.id, user)

    def store(self):
        return Store.open(self.folder / "store.db")

    def export(self, file_format, name="out", **options):
        with self.store() as store:
            return export_project(store, 1, self.folder / name, file_format=file_format, **options)

    def files(self, name="out"):
        out = self.folder / name
        return {
            path.relative_to(out).as_posix(): path.read_bytes()
            for path in out.rglob("*")
            if path.is_file()
        }


@pytest.fixture
def make_project(tmp_path):
    return lambda masks, classes=(): Project(tmp_path, masks, classes)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Thirty images, of which every third has a mask."""
    masks = {f"{n:02}.png": [("cell", BOX)] if n % 3 == 0 else [] for n in range(30)}
    return Project(tmp_path_factory.mktemp("many"), masks, ["cell"])


def test_command_line_and_server_offer_all_formats():
    assert EXPORT_FORMATS == FORMATS == ExportFormat.__args__


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_exporting_again_is_as_exporting_into_a_new_folder(data, many, tmp_path_factory):
    """Nothing of earlier exports stays, whatever they were."""
    file_format = data.draw(st.sampled_from(FORMATS))
    name = tmp_path_factory.mktemp("again").name
    for _ in range(2):
        options = {
            "val_fraction": data.draw(st.sampled_from([0.0, 0.1, 0.3])),
            "copy_images": data.draw(st.booleans()),
            "with_history": data.draw(st.booleans()),
        }
        many.export(file_format, f"{name}-again", **options)
    many.export(file_format, f"{name}-new", **options)
    assert many.files(f"{name}-again") == many.files(f"{name}-new")


@pytest.mark.parametrize("file_format", FORMATS)
def test_no_image_is_in_both_splits_after_another_fraction(file_format, many):
    for fraction in (0.1, 0.3):
        report = many.export(
            file_format, f"splits-{file_format}", val_fraction=fraction, copy_images=True
        )
    originals = {path.read_bytes() for path in many.images.iterdir()}
    copies = [data for data in many.files(f"splits-{file_format}").values() if data in originals]
    assert sum(report.num_images.values()) == 30 == len(copies) == len(originals)


@pytest.mark.parametrize("classes", [[], ["object"], ["object", "unlabelled"], ["cell"]])
@pytest.mark.parametrize("has_unlabelled", [False, True])
def test_classes_are_those_of_the_project_and_each_once(classes, has_unlabelled, make_project):
    masks = [(name, BOX) for name in classes] + [(None, BOX)] * has_unlabelled
    project = make_project({"a.png": masks}, classes)
    invented = {(): "object", ("object",): "unlabelled", ("cell",): "object"}.get(
        tuple(classes), "unlabelled 2"
    )
    expected = classes + [invented] * has_unlabelled
    project.export("coco", "coco")
    document = json.loads(project.files("coco")["all.json"])
    assert [one["name"] for one in document["categories"]] == expected
    project.export("yolo", "yolo")
    text = project.files("yolo")["data.yaml"].decode()
    names = [json.loads(line.partition(": ")[2]) for line in text.splitlines() if line[:1] == " "]
    assert names == (expected or ["object"])
    project.export("voc", "voc")
    assert project.files("voc")["labels.txt"].decode().splitlines() == expected


def test_what_voc_cannot_hold_is_left_out_and_named(make_project):
    rows = [(None, np.arange(192).reshape(12, 16) == number) for number in range(192)]
    crowded = [*rows, *rows[:63]]  # 255
    project = make_project({"a.png": [], "b.png": crowded, "c.png": rows})
    report = project.export("voc", copy_images=True)
    assert report.num_images == {"all": 2}
    assert report.faults == (
        "b.png: VOC holds at most 254 masks an image; got 255; png holds more",
    )
    assert project.files()["ImageSets/Segmentation/all.txt"] == b"a\nc\n"
    assert not [name for name in project.files() if "/b." in name]


def test_missing_images_are_left_out_and_named(make_project):
    project = make_project({"a.png": [], "b.png": [(None, BOX)]})
    (project.images / "b.png").unlink()
    report = project.export("coco", copy_images=True)
    (fault,) = report.faults
    assert fault.startswith("b.png: no such file")
    document = json.loads(project.files()["all.json"])
    assert [one["file_name"] for one in document["images"]] == ["a.png"]
    assert project.export("coco").faults == ()  # without copies all is there


def test_an_empty_split_is_told_and_no_reader_looks_for_it(make_project):
    project = make_project({f"{n}.png": [] for n in range(4)})
    report = project.export("yolo", val_fraction=1e-9, copy_images=True)
    assert report.num_images == {"train": 4, "val": 0}
    (note,) = report.notes
    assert note.startswith("val: no image fell into it, of 4 with a validation fraction of 1e-09")
    lines = project.files()["data.yaml"].decode().splitlines()
    assert lines[:2] == ["train: images/train", "val: images/train"]


@pytest.mark.parametrize("file_format", FORMATS)
def test_names_that_differ_by_suffix(file_format, make_project):
    """Formats of one file hold both; the others name them, also if they are in two splits."""
    project = make_project({"a.bmp": [], "a.png": []})
    if file_format in ("coco", "cvat", "label-studio", "roboflow"):
        assert project.export(file_format).num_images == {"all": 2}
        return
    with pytest.raises(OutputError, match=r"masks of a\.bmp and a\.png would both be called a"):
        project.export(file_format)
    assert not (project.folder / "out").exists()


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("copy_images", [False, True])
@pytest.mark.parametrize("other", ["s.tiff", "s_page2.png"])
def test_pages_are_not_exported_under_another_images_name(
    other, copy_images, file_format, make_project, refusal
):
    project = make_project({"s.tif": [], other: []})
    second = "s.tiff#page=2" if other == "s.tiff" else other
    text = f"s.tif#page=2 and {second} would both be exported as s_page2.png: rename one"
    if other == "s.tiff" and file_format not in ("coco", "cvat", "label-studio", "roboflow"):
        text = "the masks of s.tif and s.tiff would both be called s in this format: rename one"
    with refusal(OutputError, text):
        project.export(file_format, copy_images=copy_images)
    assert not (project.folder / "out").exists()


def test_images_that_have_changed_are_not_copied(make_project):
    project = make_project({"a.png": [], "b.png": [], "s.tif": []})
    Image.new("RGB", (16, 12), "white").save(project.images / "b.png")
    page = Image.new("RGB", (16, 12), "white")
    page.save(project.images / "s.tif", save_all=True, append_images=[page])
    report = project.export("coco", copy_images=True)
    assert report.num_images == {"all": 1}
    assert report.faults == tuple(
        f"{name} has changed since it was added" for name in ("b.png", "s.tif", "s.tif#page=2")
    )
    assert [name for name in project.files() if name.startswith("all/")] == ["all/a.png"]


def test_progress_counts_images_that_are_left_out(make_project):
    project, seen = make_project({"a.png": []}), []
    with project.store() as store:
        Image.new("RGB", (16, 12), "white").save(project.images / "z.png")
        add_images(store, 1)
    project.export("coco", states=["none", "submitted"], on_image=seen.append)
    assert seen == [1, 2]


def test_voc_has_one_folder_for_all_splits(make_project):
    project = make_project({"a.bmp": [], "a.png": []})
    with project.store() as store:
        hashes = [image.sha256 for image in list_images(store, 1).items]
    between = sum(int(one[:8], 16) / 2**32 for one in hashes) / 2  # one image in each split
    assert project.export("yolo", val_fraction=between).num_images == {"train": 1, "val": 1}
    with pytest.raises(OutputError, match="would both be called a"):
        project.export("voc", "voc", val_fraction=between)


@pytest.mark.parametrize("file_format", FORMATS)
def test_copies_need_no_exif(file_format, make_project):
    project = make_project({"a.jpg": []})
    with project.store() as store:
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = 6
        Image.new("RGB", (16, 12)).save(project.images / "turned.jpg", exif=exif)
        add_images(store, 1)
    report = project.export(file_format, copy_images=True, states=["none", "submitted"])
    assert report.notes[0].startswith("1 image without masks left out: nobody has submitted")
    user = 1
    with project.store() as store:
        image = list_images(store, 1).items[-1]
        take_image(store, image.id, user)
        submit_image(store, image.id, user)
    report = project.export(file_format, copy_images=True)
    assert report.notes == ("1 copied image was turned upright, as its EXIF data says",)
    (copy,) = (project.folder / "out").rglob("turned.jpg")
    with Image.open(copy) as opened:
        assert opened.size == (12, 16) == image.size_hw[::-1]
        assert opened.getexif().get(ExifTags.Base.Orientation) is None


def test_images_that_yolo_does_not_read_are_told(make_project):
    project = make_project({"a.gif": [], "b.ppm": [], "c.png": []})
    (note,) = project.export("yolo", copy_images=True).notes
    assert note.startswith("a.gif and 1 more: the format's readers do not take")
    assert project.export("yolo").notes == ()


def test_label_studio_looks_for_images_where_they_are(make_project):
    project = make_project({"deep/a b.png": []})
    for copy_images, url in ((False, "deep/a%20b.png"), (True, "images/all/deep/a%20b.png")):
        project.export("label-studio", copy_images=copy_images)
        (task,) = json.loads(project.files()["all.json"])
        assert task["data"] == {"image": f"/data/local-files/?d={url}"}


# What import_masks is to be given, and as what format, if it is not the export's.
PLACES = {
    "coco": ("all.json", "coco"),
    "cvat": ("all.xml", "cvat"),
    "datumaro": ("", "datumaro"),
    "label-studio": ("all.json", "label-studio"),
    "labelme": ("all", "labelme"),
    "png": ("all/masks", "png"),
    "roboflow": ("train/_annotations.coco.json", "coco"),
    "sa1b": ("all", "sa1b"),
    "voc": ("", "voc"),
    "yolo": ("", "yolo"),
}


@pytest.mark.parametrize("file_format", PLACES)
@pytest.mark.parametrize("copy_images", [False, True])
def test_imports_of_exports_have_masks_and_classes(file_format, copy_images, make_project):
    ring = np.zeros((12, 16), bool)
    ring[1:11, 7:15] = True
    ring[4:8, 10:12] = False
    two = np.zeros((12, 16), bool)
    two[0:3, 1:4] = two[8:11, 1:4] = True
    masks = {"a.png": [("кот 😀", ring), ("cell", two)], "deep/b c.png": [("cell", BOX)]}
    if file_format == "yolo":  # which joins parts
        masks["a.png"][1] = ("cell", ~ring & (np.arange(16) < 6))
    project = make_project(masks, ["cell", "кот 😀"])
    project.export(file_format, copy_images=copy_images)
    with Store.open(project.folder / "other.db") as other:
        root = create_project(other, name="copy", root=project.images).id
        add_images(other, root)
        user = create_user(other, name="u", role="admin").id
        place, read_as = PLACES[file_format]
        report = import_masks(
            other, root, project.folder / "out" / place, file_format=read_as, user_id=user
        )
        assert (report.faults, report.num_added) == ((), 3)
        names = {one.id: one.name for one in list_classes(other, root)}
        for image in list_images(other, root).items:
            found = [
                (names[one.class_id], decode_rle(one.rle).tobytes())
                for one in list_annotations(other, image.id)
            ]
            expected = [(name, mask.tobytes()) for name, mask in masks[image.path]]
            assert sorted(found) == sorted(expected)


def test_history_is_part_of_the_export(make_project):
    project = make_project({"a.png": [(None, BOX)]})
    assert project.export("coco", with_history=True).num_lines == 1
    assert "history.jsonl" in project.files()
    assert project.export("coco").num_lines is None
    assert "history.jsonl" not in project.files()
