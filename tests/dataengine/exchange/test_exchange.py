"""Exports and imports: nothing is lost on the round trip."""

import json
from collections import Counter
from xml.etree import ElementTree as ET

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from pycocotools.coco import COCO

from samkit.annotations import ReadOptions
from samkit.dataengine import (
    FINISHED,
    REVIEWS,
    Store,
    accept_image,
    add_class,
    add_images,
    count_images,
    create_project,
    create_user,
    delete_annotation,
    export_project,
    import_masks,
    list_annotations,
    list_classes,
    list_images,
    return_image,
    save_annotation,
    submit_image,
    take_image,
)
from samkit.dataengine.exchange.records import split_of
from samkit.errors import DataError, OutputError, RoleError, StoreError
from samkit.geometry import decode_rle, encode_rle

SIZE = (12, 16)
# What import_masks is to be given of an export without splits.
PLACES = {"coco": "all.json", "sa1b": "all", "png": "all/masks"}

things = st.lists(
    st.tuples(
        arrays(bool, SIZE).filter(np.any),
        st.sampled_from([None, "cell", "object", "Zelle ß"]),
        st.none() | st.floats(0, 1),
    ),
    max_size=4,
)


garbage = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**400), 10**400)
    | st.floats()
    | st.sampled_from(["", "\ud800", "a.png", "\0", "x" * 300]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


def contents(store, project_id):
    """All that a project's masks are, of each image."""
    names = {one.id: one.name for one in list_classes(store, project_id)}
    return {
        image.path: (
            image.review,
            image.comment,
            image.num_masks,
            [
                (
                    decode_rle(one.rle).tobytes(),
                    names.get(one.class_id),
                    one.score,
                    one.stability,
                    one.stage,
                )
                for one in list_annotations(store, image.id)
            ],
        )
        for image in list_images(store, project_id).items
    }


def annotate(scene, index, drawn):
    image_id = scene.hold(scene.ann, index)
    for mask, name, score in drawn:
        chosen = None if name is None else add_class(scene.store, scene.project.id, name).id
        save_annotation(
            scene.store,
            image_id=image_id,
            user_id=scene.ann,
            rle=encode_rle(mask),
            class_id=chosen,
            score=score,
            stability=score,
            stage="semi-automatic",
        )
    return submit_image(scene.store, image_id, scene.ann)


def clear(scene):
    for image in scene.images:
        take_image(scene.store, image.id, scene.adm)
        for one in list_annotations(scene.store, image.id):
            delete_annotation(scene.store, one.id, user_id=scene.adm, version=one.version)


@pytest.mark.parametrize("file_format", PLACES)
@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=things, second=things)
def test_export_and_import_lose_nothing(
    file_format, first, second, sqlite_scene, image_folder, tmp_path_factory
):
    scene, folder = sqlite_scene, tmp_path_factory.mktemp("out")
    clear(scene)
    with scene.store.write() as session:
        from sqlalchemy import text

        session.execute(text("UPDATE images SET review='none', open=1, lease_user_id=NULL"))
        session.execute(text("DELETE FROM submission_masks"))
        session.execute(text("DELETE FROM submissions"))
    image = annotate(scene, 0, first)
    accept_image(scene.store, image.id, scene.rev, version=image.version)
    image = annotate(scene, 2, second)
    return_image(scene.store, image.id, scene.rev, version=image.version, comment="too \n large")
    export_project(
        scene.store, scene.project.id, folder / "out", file_format=file_format, states=REVIEWS
    )

    with Store.open(folder / "other.db") as other:
        project = create_project(other, name="copy", root=image_folder).id
        add_images(other, project)
        user = create_user(other, name="imp", role="admin").id
        place = folder / "out" / PLACES[file_format]
        report = import_masks(other, project, place, file_format=file_format, user_id=user)
        assert report.faults == ()
        # An image without masks is exported only if it is submitted or accepted.
        num_images = 2 if second else 1
        assert (report.num_images, report.num_added) == (num_images, len(first) + len(second))
        before, after = contents(scene.store, scene.project.id), contents(other, project)
        if not second:
            before["deep/c.png"] = after["deep/c.png"]
        assert after == before
        again = import_masks(other, project, place, file_format=file_format, user_id=user)
        assert (again.num_added, again.num_known) == (0, report.num_added)
        assert contents(other, project) == after


@pytest.fixture
def out(tmp_path):
    """A folder for an export."""
    return tmp_path / "out"


@pytest.fixture
def full(scene):
    """A project whose images 0 and 1 have masks; 0 is accepted."""
    ring = np.zeros(SIZE, bool)
    ring[1:9, 1:9] = True
    ring[3:5, 3:5] = False
    box = np.zeros(SIZE, bool)
    box[7:11, 7:15] = True
    image = annotate(scene, 0, [(ring, "cell", 0.5), (box, None, None)])
    accept_image(scene.store, image.id, scene.rev, version=image.version)
    annotate(scene, 1, [(box, "cell", None)])
    return scene, ring, box


def test_coco_is_read_by_its_own_program(full, out, capsys):
    scene, ring, box = full
    export_project(scene.store, scene.project.id, out, file_format="coco")
    coco = COCO(out / "all.json")
    capsys.readouterr()
    masks = [coco.annToMask(one).astype(bool) for one in coco.loadAnns(coco.getAnnIds(1))]
    np.testing.assert_array_equal(masks, [ring, box])
    assert [one["name"] for one in coco.loadCats(coco.getCatIds())] == ["cell", "object"]


def test_only_accepted_images(full, out):
    scene, _, _ = full
    report = export_project(
        scene.store, scene.project.id, out, file_format="sa1b", states=["accepted"]
    )
    assert (report.num_images, report.num_masks) == ({"all": 1}, {"all": 2})
    assert [path.name for path in (out / "all").iterdir()] == ["a.json"]


@pytest.mark.parametrize("file_format", ["coco", "geojson", "png", "sa1b", "voc", "yolo"])
def test_images_that_nobody_finished_are_no_empty_ones(file_format, scene, rle_of, out):
    """Of the four images, one is submitted without masks, one has a mask, two nobody opened."""
    annotate(scene, 0, [])
    image_id = scene.hold(scene.ann, 1)
    save_annotation(scene.store, image_id=image_id, user_id=scene.ann, rle=rle_of(1, 1, 3, 3))
    num_images = {}
    for states in (FINISHED, REVIEWS):
        report = export_project(
            scene.store, scene.project.id, out, file_format=file_format, states=states
        )
        num_images[states] = (report.num_images["all"], report.num_masks["all"])
    assert num_images == {FINISHED: (1, 0), REVIEWS: (2, 1)}
    assert "2 images without masks left out: nobody has submitted them" in report.notes[0]


def test_voc_says_segmented_only_of_images_with_masks(full, out):
    scene, _, _ = full
    annotate(scene, 2, [])
    export_project(scene.store, scene.project.id, out, file_format="voc")
    trees = {name: ET.parse(out / f"Annotations/{name}.xml") for name in ("a", "deep/c")}
    assert [tree.findtext("segmented") for tree in trees.values()] == ["1", "0"]


def test_states_that_do_not_exist_are_refused(sqlite_scene, out, refusal):
    store, project = sqlite_scene.store, sqlite_scene.project.id
    with refusal(StoreError, "a state must be one of none, submitted", "got 'done'"):
        export_project(store, project, out, file_format="coco", states=["done"])
    with refusal(StoreError, "give at least one state"):
        export_project(store, project, out, file_format="coco", states=[])


def test_splits_depend_on_the_image_alone(full, out):
    scene, _, _ = full
    for index in (2, 3):
        annotate(scene, index, [])
    report = export_project(
        scene.store, scene.project.id, out, file_format="coco", val_fraction=0.5
    )
    names = {
        split: {
            one["file_name"] for one in json.loads((out / f"{split}.json").read_text())["images"]
        }
        for split in ("train", "val")
    }
    for image in scene.images:
        assert image.path in names[split_of(image.sha256, 0.5)]
    assert sum(report.num_images.values()) == 4 == len(names["train"] | names["val"])


@given(st.lists(st.integers(0, 2**256 - 1), min_size=1, max_size=5), st.floats(0.01, 0.9))
def test_larger_part_for_validation_holds_the_smaller_one(numbers, fraction):
    for number in numbers:
        digest = f"{number:064x}"
        if split_of(digest, fraction) == "val":
            assert split_of(digest, min(fraction + 0.1, 0.99)) == "val"
        assert split_of(digest, 0) == "all"


def test_parts_have_about_the_size_that_is_asked_for():
    import hashlib

    digests = [hashlib.sha256(bytes([i, j])).hexdigest() for i in range(50) for j in range(40)]
    counts = Counter(split_of(digest, 0.2) for digest in digests)
    assert abs(counts["val"] / 2000 - 0.2) < 0.03


def test_yolo_polygons_draw_the_masks_of_their_classes(full, out):
    scene, _, box = full
    for index in (2, 3):
        annotate(scene, index, [])
    export_project(scene.store, scene.project.id, out, file_format="yolo", copy_images=True)
    lines = (out / "labels/all/a.txt").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["0", "1"]
    points = np.array(lines[1].split()[1:], float).reshape(-1, 2) * (16, 12)
    drawn = np.zeros(SIZE, np.uint8)
    cv2.fillPoly(drawn, [points.astype(np.int32)], 1)
    np.testing.assert_array_equal(drawn > 0, box)
    assert '0: "cell"\n  1: "object"' in (out / "data.yaml").read_text()
    for image in scene.images:
        assert (out / "images/all" / image.path).is_file()


def test_voc_pictures_and_boxes(full, out):
    scene, ring, box = full
    export_project(scene.store, scene.project.id, out, file_format="voc")
    with Image.open(out / "SegmentationObject/a.png") as opened:
        assert opened.mode == "P"
        assert opened.getpalette()[:9] == [0, 0, 0, 128, 0, 0, 0, 128, 0]
        numbers = np.asarray(opened)
    np.testing.assert_array_equal(numbers == 2, box)  # the smaller one lies over the ring
    np.testing.assert_array_equal(numbers == 1, ring & ~box)
    with Image.open(out / "SegmentationClass/b.png") as opened:
        np.testing.assert_array_equal(np.asarray(opened), box)
    root = ET.parse(out / "Annotations/a.xml").getroot()
    boxes = [[int(edge.text) for edge in one.find("bndbox")] for one in root.iter("object")]
    assert boxes == [[2, 2, 9, 9], [8, 8, 15, 11]]
    assert [one.text for one in root.iter("name")] == ["cell", "object"]
    listed = (out / "ImageSets/Segmentation/all.txt").read_text()
    assert listed == "a\nb\n"


def test_geojson_has_exact_areas_and_classes(full, out):
    scene, ring, box = full
    export_project(scene.store, scene.project.id, out, file_format="geojson")
    document = json.loads((out / "all/a.geojson").read_text())
    facts = [
        (one["properties"]["area"], one["properties"]["class"], one["properties"]["score"])
        for one in document["features"]
    ]
    assert facts == [(ring.sum(), "cell", 0.5), (box.sum(), None, None)]
    assert document["image"]["samkit"]["review"] == "accepted"


def test_names_that_differ_by_suffix_are_refused(sqlite_store, tmp_path, refusal):
    for suffix, color in ((".png", "red"), (".bmp", "blue")):
        Image.new("RGB", (5, 5), color).save(tmp_path / f"a{suffix}")
    project = create_project(sqlite_store, name="p", root=tmp_path).id
    add_images(sqlite_store, project)
    with refusal(OutputError, "the masks of a.bmp and a.png would both be called a in this"):
        user = create_user(sqlite_store, name="ann").id
        for image in list_images(sqlite_store, project).items:
            take_image(sqlite_store, image.id, user)
            submit_image(sqlite_store, image.id, user)
        export_project(sqlite_store, project, tmp_path / "out", file_format="sa1b")


def test_whatever_a_coco_file_holds_is_added_or_told(sqlite_scene, tmp_path):
    scene = sqlite_scene
    where = {"image_id": "x", "category_id": 3.0}
    square = [[1, 1, 9, 1, 9, 9, 1, 9]]
    document = {
        "images": [{"id": "x", "file_name": "c.png"}, {"id": 2, "file_name": "none.png"}, 7],
        "categories": [{"id": "3", "name": "cell"}],
        "annotations": [
            where | {"segmentation": square},
            where | {"segmentation": [[1, 1]]},
            where | {"segmentation": square, "iscrowd": 1},
            where | {"segmentation": square, "category_id": 4},
            {"image_id": 2, "category_id": 3, "segmentation": square},
            {"image_id": 5, "category_id": 3, "segmentation": square},
            5,
        ],
    }
    path = tmp_path / "a.json"
    path.write_text(json.dumps(document))
    report = import_masks(scene.store, scene.project.id, path, user_id=scene.rev)
    assert (report.file_format, report.num_annotations) == ("coco", 7)
    # c.png is deep/c.png; of two equal masks, both are there.
    assert (report.num_images, report.num_added, report.num_left_out) == (1, 2, 5)
    assert len(report.faults) == 6
    faults = "\n".join(report.faults)
    for part in (
        "image 3: not an image's entry: 7",
        "annotation no. 6: its image 5 is not listed",
        "annotation no. 7: not an annotation: 5",
        "c.png: annotation no. 2: a polygon must be",
        "c.png: annotation no. 4: its category 4 is not listed",
        "none.png: the project has no image of this name (1 annotation left out)",
    ):
        assert part in faults
    again = import_masks(scene.store, scene.project.id, path, user_id=scene.rev)
    assert (again.num_added, again.num_known, again.num_left_out) == (0, 2, 5)
    first, _ = list_annotations(scene.store, scene.images[2].id)
    assert (first.area_px, first.stage) == (64, "imported")
    assert count_images(scene.store, scene.project.id)["none"].num_masks == 2


def test_crowds_may_be_left_out_and_are_counted(sqlite_scene, tmp_path):
    scene = sqlite_scene
    document = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "annotations": [
            {"image_id": 1, "iscrowd": 1, "segmentation": encode_rle(np.eye(12, 16) > 0)}
        ],
    }
    (tmp_path / "a.json").write_text(json.dumps(document))
    report = import_masks(
        scene.store,
        scene.project.id,
        tmp_path / "a.json",
        user_id=scene.rev,
        options=ReadOptions(crowds=False),
    )
    assert (report.num_added, report.num_left_out) == (0, 1)
    assert report.faults == ("a.png: 1 crowd region left out, as asked for",)


def test_classes_that_are_none_leave_out_their_masks(sqlite_scene, tmp_path):
    scene = sqlite_scene
    document = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "categories": [{"id": 1, "name": "x" * 300}],
        "annotations": [
            {"image_id": 1, "category_id": 1, "segmentation": encode_rle(np.eye(12, 16) > 0)}
        ],
    }
    (tmp_path / "a.json").write_text(json.dumps(document))
    report = import_masks(scene.store, scene.project.id, tmp_path / "a.json", user_id=scene.rev)
    assert (report.num_added, report.num_left_out, len(report.faults)) == (0, 1, 1)


@pytest.fixture
def same_names(sqlite_store, tmp_path):
    """A project whose images a.png, s1/a.png and s2/b.png lie in a folder."""
    root = tmp_path / "images"
    for index, name in enumerate(("a.png", "s1/a.png", "s2/b.png")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 12), (index, 0, 0)).save(root / name)
    project = create_project(sqlite_store, name="p", root=root).id
    add_images(sqlite_store, project)
    user = create_user(sqlite_store, name="imp", role="admin").id

    def read(path):
        report = import_masks(sqlite_store, project, path, user_id=user)
        counts = {one.path: one.num_masks for one in list_images(sqlite_store, project).items}
        return report, {path for path, count in counts.items() if count}

    return root, read


def labelme(path, image_path="a.png"):
    document = {"imagePath": image_path, "imageHeight": 12, "imageWidth": 16}
    shape = {"label": "cell", "points": [[1, 1], [9, 1], [9, 9]], "shape_type": "polygon"}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document | {"shapes": [shape]}))


def test_a_file_beside_its_image_belongs_to_that_image(same_names, tmp_path):
    root, read = same_names
    labelme(tmp_path / "ann" / "s1" / "a.json")
    assert read(tmp_path / "ann")[1] == {"s1/a.png"}
    # Among the images, it counts where a file lies, whatever folder is read.
    labelme(root / "s2" / "b.json", "b.png")
    assert read(root / "s2")[1] == {"s1/a.png", "s2/b.png"}
    labelme(root / "s1" / "c.json")
    report, _ = read(root / "s1")
    assert (report.num_known, report.faults) == (1, ())


def test_a_name_that_two_images_have_is_refused(same_names, tmp_path):
    _, read = same_names
    labelme(tmp_path / "ann" / "s3" / "a.json")
    report, found = read(tmp_path / "ann")
    assert found == set()
    (fault,) = report.faults
    assert fault == (
        "a.png: several images of the project have this name: a.png, s1/a.png"
        " (1 annotation left out)"
    )


def test_polygons_of_another_size_are_refused(sqlite_scene, tmp_path):
    scene = sqlite_scene
    document = {
        "images": [{"id": 1, "file_name": "a.png", "width": 999, "height": 999}],
        "annotations": [{"image_id": 1, "segmentation": [[1, 1, 9, 1, 9, 9, 1, 9]]}],
    }
    (tmp_path / "a.json").write_text(json.dumps(document))
    report = import_masks(scene.store, scene.project.id, tmp_path / "a.json", user_id=scene.rev)
    assert (report.num_added, report.num_left_out) == (0, 1)
    assert (
        "a.png: the image is 16 x 12 pixels, but 999 x 999 in its annotations" in (report.faults[0])
    )


def test_import_of_labelme(sqlite_scene, tmp_path):
    scene = sqlite_scene
    shape = {"shape_type": "rectangle", "group_id": None}
    document = {
        "imagePath": "..\\images\\a.png",
        "imageHeight": 12,
        "imageWidth": 16,
        "shapes": [
            shape | {"label": "cell", "points": [[1, 1], [3, 4]]},
            shape | {"label": "cell", "points": [[8, 8], [6, 6]], "group_id": 1},
            shape | {"label": "cell", "points": [[10, 8], [11, 9]], "group_id": 1},
            {"label": "x", "shape_type": "line", "points": [[0, 0], [1, 1]]},
            {"label": "x", "points": "garbage"},
        ],
    }
    (tmp_path / "a.json").write_text(json.dumps(document))
    (tmp_path / "b.json").write_text("[]")
    report = import_masks(
        scene.store, scene.project.id, tmp_path, file_format="labelme", user_id=scene.rev
    )
    assert (report.num_annotations, report.num_added, report.num_joined) == (5, 2, 1)
    assert (report.num_left_out, len(report.faults)) == (2, 3)  # b.json is no LabelMe file
    areas = [one.area_px for one in list_annotations(scene.store, scene.images[0].id)]
    assert areas == [12, 13]  # outlines belong to shapes; two parts are one mask


def test_import_of_plain_label_pictures(sqlite_scene, tmp_path):
    scene = sqlite_scene
    labels = np.zeros(SIZE, np.uint8)
    labels[:3, :3], labels[5:, 5:] = 7, 9
    (tmp_path / "deep").mkdir()
    Image.fromarray(labels).save(tmp_path / "deep" / "d.png")
    report = import_masks(
        scene.store, scene.project.id, tmp_path, file_format="png", user_id=scene.rev
    )
    assert (report.num_added, report.faults) == (2, ())
    found = [decode_rle(one.rle) for one in list_annotations(scene.store, scene.images[3].id)]
    np.testing.assert_array_equal(found, [labels == 7, labels == 9])


@pytest.mark.parametrize("file_format", ["coco", "sa1b", "png"])
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_in_a_file_is_told_in_one_line(file_format, data, sqlite_scene, tmp_path):
    """An export of which one value is another: no error but the reported ones."""
    scene, folder = sqlite_scene, tmp_path / "fuzz"
    if not folder.exists():
        annotate(scene, 0, [(np.eye(12, 16) > 0, "cell", 0.5)])
        export_project(scene.store, scene.project.id, folder, file_format=file_format)
        (folder / "original").write_bytes(next(folder.rglob("a*.json")).read_bytes())
    path = next(folder.rglob("a*.json"))
    document = json.loads((folder / "original").read_bytes())
    node = document
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            break
        key = data.draw(st.sampled_from(keys))
        if not isinstance(node[key], dict | list) or data.draw(st.integers(0, 3)) == 0:
            node[key] = data.draw(garbage)
            break
        node = node[key]
    path.write_text(json.dumps(document))
    try:
        report = import_masks(
            scene.store,
            scene.project.id,
            folder / PLACES[file_format],
            file_format=file_format,
            user_id=scene.rev,
        )
    except DataError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017 - or none
    else:
        assert all(len(fault.splitlines()) == 1 for fault in report.faults)
        assert not any("error of samkit" in fault for fault in report.faults)


def test_import_waits_for_who_works_on_the_image(sqlite_scene, tmp_path):
    scene = sqlite_scene
    Image.fromarray(np.eye(12, 16, dtype=np.uint8)).save(tmp_path / "a.png")
    scene.hold(scene.ann)
    report = import_masks(
        scene.store, scene.project.id, tmp_path, file_format="png", user_id=scene.rev
    )
    assert report.num_added == 0
    assert "somebody is working on it" in report.faults[0]


def test_import_is_for_reviewers_and_of_files_that_are_there(sqlite_scene, tmp_path, refusal):
    scene = sqlite_scene
    with refusal(RoleError, "needs the role"):
        import_masks(scene.store, scene.project.id, tmp_path, file_format="png", user_id=scene.ann)
    for file_format in ("coco", "labelme", "png", "sa1b"):
        with pytest.raises(DataError):
            import_masks(
                scene.store,
                scene.project.id,
                tmp_path / "none",
                file_format=file_format,
                user_id=scene.rev,
            )


def test_an_image_found_in_another_folder_is_noted(same_names, tmp_path):
    _, read = same_names
    document = {
        "images": [{"id": 1, "file_name": "train/b.png"}, {"id": 2, "file_name": ""}],
        "annotations": [{"image_id": n, "segmentation": [[1, 1, 9, 1, 9, 9]]} for n in (1, 2)],
    }
    (tmp_path / "a.json").write_text(json.dumps(document))
    report, found = read(tmp_path / "a.json")
    assert found == {"s2/b.png"}
    assert report.notes == ("train/b.png: taken for s2/b.png, the only image of this name",)
    assert (report.num_annotations, report.num_added, report.num_left_out) == (2, 1, 1)
    assert not any("error of samkit" in fault for fault in report.faults)


def test_parts_of_a_group_that_are_broken_are_left_out_and_counted(same_names, tmp_path):
    _, read = same_names
    good = {"label": "cell", "points": [[1, 1], [9, 1], [9, 9]], "group_id": 1}
    broken = good | {"points": [[1, 1], [1e9, 1], [9, 9]]}
    document = {"imagePath": "b.png", "shapes": [good, broken, good]}
    (tmp_path / "x.json").write_text(json.dumps(document))
    report, _ = read(tmp_path / "x.json")
    counts = (report.num_added, report.num_joined, report.num_left_out, report.num_annotations)
    assert counts == (1, 1, 1, 3)
    assert "shape 1, shape 2, shape 3: 1 of 3 parts are broken" in report.faults[0]


@pytest.mark.parametrize("place", [".", "all", "all/masks"])
def test_exports_of_label_images_come_back_from_each_of_their_folders(
    sqlite_scene, place, tmp_path, image_folder
):
    scene = sqlite_scene
    box = np.zeros(SIZE, bool)
    box[2:8, 2:9] = True
    annotate(scene, 0, [(box, "cell", 0.5), (np.ones(SIZE, bool), "cell", None)])
    out = tmp_path / "out"
    export_project(scene.store, scene.project.id, out, file_format="png", copy_images=True)
    with Store.open(tmp_path / "other.db") as other:
        project = create_project(other, name="copy", root=image_folder).id
        add_images(other, project)
        user = create_user(other, name="imp", role="admin").id
        report = import_masks(other, project, out / place, user_id=user)
        assert (report.file_format, report.num_added, report.faults) == ("png", 2, ())
        image = next(one for one in list_images(other, project).items if one.num_masks)
        found = [decode_rle(one.rle) for one in list_annotations(other, image.id)]
        np.testing.assert_array_equal(found, [box, np.ones(SIZE, bool)])
