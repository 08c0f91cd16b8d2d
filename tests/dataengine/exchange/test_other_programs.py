"""What other programs' own packages exported comes into a project as the masks it was made of."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from samkit.dataengine import (
    Store,
    add_images,
    create_project,
    create_user,
    import_masks,
    list_annotations,
    list_classes,
    list_images,
)
from samkit.datasets import open_data
from samkit.geometry import decode_rle

EXPORTS = Path(__file__).parents[2] / "golden" / "exports"
TRUTH = {tuple(name.split("|")): mask for name, mask in np.load(EXPORTS / "truth.npz").items()}
# Export: format, and what of it is read; None is the folder.
EXACT = {
    "cvat-xml": ("cvat", None),
    "datumaro-cvat": ("cvat", None),
    "datumaro-coco-instances": ("coco", None),
    "datumaro-datumaro": ("datumaro", None),
    "labelme": ("labelme", None),
    "label-studio-json": ("label-studio", "brush-upload.json"),
    "label-studio-json/local": ("label-studio", "brush-local.json"),
    "label-studio-json-min": ("label-studio", None),
}


@pytest.fixture
def project(tmp_path):
    """A project of the exports' images; returns the report and masks of an import."""
    with Store.open(tmp_path / "p.db") as store:
        project_id = create_project(store, name="p", root=EXPORTS / "images").id
        add_images(store, project_id)
        user_id = create_user(store, name="ada", role="admin").id

        def read(path):
            report = import_masks(store, project_id, path, user_id=user_id)
            names = {one.id: one.name for one in list_classes(store, project_id)}
            found = [
                (image.path, names[one.class_id], decode_rle(one.rle))
                for image in list_images(store, project_id).items
                for one in list_annotations(store, image.id)
            ]
            return report, found

        yield read


def counted(masks):
    return Counter((image, name, mask.tobytes()) for image, name, mask in masks)


def truth():
    return [(image, name, mask) for (image, _, name), mask in TRUTH.items()]


@pytest.mark.parametrize("export", EXACT)
def test_masks_are_those_that_were_exported(export, project):
    file_format, file = EXACT[export]
    path = EXPORTS / export.partition("/")[0]
    report, found = project(path if file is None else path / file)
    assert report.file_format == file_format
    # Some have other shapes besides: boxes, ellipses, lines.
    assert counted(truth()) - counted(found) == Counter()
    assert report.num_added == len(found)
    assert (len(found) == len(TRUTH)) == (export not in ("cvat-xml", "labelme"))


@pytest.mark.parametrize("export", ["supervision-yolo", "supervision-voc", "supervision-labelme"])
def test_parts_become_masks_where_a_format_has_only_outlines(export, project):
    """The pixels of each class are right; what was one mask of two parts is two."""
    report, found = project(EXPORTS / export)
    assert report.num_left_out == 0
    for image, name in {(image, name) for image, name, _ in truth()}:
        expected = np.any([m for i, n, m in truth() if (i, n) == (image, name)], axis=0)
        got = np.any([m for i, n, m in found if (i, n) == (image, name)], axis=0)
        wrong = (got != expected).sum()
        assert wrong <= (0 if export == "supervision-voc" else 0.01 * expected.size), (image, name)


def test_voc_pictures_have_what_is_visible(project):
    report, found = project(EXPORTS / "datumaro-voc-segmentation")
    assert (report.num_added, report.num_left_out) == (len(TRUTH), 0)
    for image in ("a.png", "sub/b.png"):
        masks = [mask for path, _, mask in found if path == image]
        assert np.sum(masks, axis=0).max() == 1
        union = np.any([mask for path, _, mask in truth() if path == image], axis=0)
        np.testing.assert_array_equal(np.any(masks, axis=0), union)


def test_names_of_roboflow_are_understood(project):
    report, found = project(EXPORTS / "roboflow-coco")
    assert {path for path, _, _ in found} == {"a.png", "sub/b.png"}
    assert report.num_left_out == report.num_annotations - report.num_added


@pytest.mark.parametrize("export", EXACT)
def test_training_reads_what_import_reads(export):
    file_format, file = EXACT[export]
    path = EXPORTS / export.partition("/")[0]
    path = path if file is None else path / file
    data = open_data(f"{file_format}:{path},images={EXPORTS / 'images'}")
    samples = [data[index] for index in range(len(data))]
    found = [
        (sample.key.rpartition("/")[2], name, decode_rle(rle))
        for sample in samples
        for name, rle in zip(sample.phrases, sample.rles, strict=True)
    ]
    masks = Counter(mask.tobytes() for _, _, mask in found)
    assert Counter(mask.tobytes() for mask in TRUTH.values()) - masks == Counter()
