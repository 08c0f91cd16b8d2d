"""`samkit engine audit`: a sample goes to people, and what they change is reported."""

import json

import numpy as np
import pytest
from PIL import Image

from samkit.cli.main import main
from samkit.dataengine import (
    Store,
    add_images,
    create_project,
    create_user,
    give_back,
    list_annotations,
    list_images,
    replace_annotation,
    save_annotation,
    submit_image,
    take_image,
    take_next,
)
from samkit.geometry import encode_rle

SIZE_HW = (12, 16)


def box(x0, y0, x1, y1):
    mask = np.zeros(SIZE_HW, bool)
    mask[y0:y1, x0:x1] = True
    return encode_rle(mask)


@pytest.fixture
def prelabelled(tmp_path, monkeypatch):
    """A store of ten images with two automatic masks each."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SAMKIT_STORE", raising=False)
    (tmp_path / "images").mkdir()
    for number in range(10):
        pixels = np.full((*SIZE_HW, 3), 20 * number, np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{number}.png")
    with Store.open("cells.db") as store:
        admin = create_user(store, name="ada", role="admin").id
        create_user(store, name="bob", role="annotator")
        project = create_project(store, name="cells", root=tmp_path / "images").id
        add_images(store, project)
        for image in list_images(store, project).items:
            take_image(store, image.id, admin)
            for rle in (box(0, 0, 10, 1), box(8, 4, 16, 8)):
                save_annotation(
                    store, image_id=image.id, user_id=admin, rle=rle, stage="fully-automatic"
                )
            give_back(store, image.id, admin)
    return "cells.db"


def correct(where, count):
    """Submit the next images; of the first mask of every second one, the half is taken away."""
    with Store.open(where) as store:
        for number in range(count):
            image = take_next(store, 1, 2).image
            if number % 2:
                mask = list_annotations(store, image.id)[0]
                changed = box(0, 0, 5, 1)
                replace_annotation(store, mask.id, user_id=2, version=1, rle=changed, class_id=None)
            submit_image(store, image.id, 2)


def run(capsys, *args, code=0):
    capsys.readouterr()
    assert main(["engine", "audit", *args, "--store", "cells.db"]) == code
    return capsys.readouterr()


def test_audit_from_start_to_report(prelabelled, capsys):
    text = run(capsys, "start", "--images", "8", "--seed", "5").out
    assert text == (
        "cells: audit 1 has 8 images of 10 with untouched automatic masks; annotators get them"
        " first\n"
    )
    correct(prelabelled, 6)
    found = json.loads(run(capsys, "report", "--json").out)
    assert (found["project"], found["audit"], found["seed"]) == ("cells", 1, 5)
    assert found["images"] == {"sampled": 8, "corrected": 6, "open": 2, "unusable": 0}
    masks = found["masks"]
    assert (masks["pairs"], masks["unchanged"], masks["edited"]) == (12, 9, 3)
    over = found["estimates"]["iou_over_0.90"]
    assert over["value"] == 0.75
    low, high = over["interval"]
    assert 0.5 <= low < 0.75 < high <= 1
    assert found["estimates"]["mean_iou"]["value"] == pytest.approx((9 + 3 * 0.5) / 12)
    assert found["estimates"]["deleted"]["value"] == 0

    lines = run(capsys, "report", "-o", "out").out.splitlines()
    assert lines[0] == "cells, audit 1: 6 of 8 images corrected, 2 open"
    assert lines[1] == (
        "12 automatic masks, 12 corrected; 12 pairs: 9 unchanged, 3 edited, 0 redrawn; 0 deleted,"
        " 0 added"
    )
    (row,) = (line for line in lines if line.startswith("pairs with IoU over 0.90"))
    assert row.split()[5:] == ["75.0%", f"{100 * low:.1f}%", "to", f"{100 * high:.1f}%"]
    assert lines[-1] == "out: audit.json, iou.png, masks.png, centres.png"
    with open("out/audit.json") as file:
        assert json.load(file) == found


def test_a_report_before_any_correction_says_so(prelabelled, capsys):
    run(capsys, "start", "--images", "3")
    lines = run(capsys, "report").out.splitlines()
    assert lines[0] == "cells, audit 1: 0 of 3 images corrected, 3 open"


def test_few_images_have_no_intervals(prelabelled, capsys):
    run(capsys, "start", "--images", "3")
    correct(prelabelled, 2)
    rows = run(capsys, "report").out.splitlines()
    assert any(row.split()[-4:] == ["75.0%", "too", "few", "images"] for row in rows)


def test_the_latest_audit_is_reported_unless_one_is_named(prelabelled, capsys):
    for count in ("2", "3"):
        run(capsys, "start", "--images", count)
    assert json.loads(run(capsys, "report", "--json").out)["num_images"] == 3
    first = json.loads(run(capsys, "report", "--audit", "1", "--json").out)
    assert (first["audit"], first["num_images"], first["num_untouched"]) == (1, 2, 10)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("report",), "cells has no audit: start one with samkit engine audit start"),
        (("start", "--images", "11"), "10 images have automatic masks that nobody has touched"),
        (("start", "--images", "1", "--user", "bob"), "bob"),
        (("start", "--images", "1", "--user", "eve"), "no user 'eve'"),
    ],
)
def test_what_cannot_be_done_is_one_line(args, message, prelabelled, capsys):
    error = run(capsys, *args, code=2).err
    assert message in error
    assert len(error.splitlines()) == 1


def test_an_audit_that_is_not_there_is_refused(prelabelled, capsys):
    run(capsys, "start", "--images", "1")
    error = run(capsys, "report", "--audit", "7", code=2).err
    assert "no audit 7 of cells; there are 1" in error


def test_report_without_its_packages_says_how_to_install_them(prelabelled, monkeypatch, capsys):
    run(capsys, "start", "--images", "1")
    monkeypatch.setattr("samkit.extras.find_spec", lambda name: None)
    error = run(capsys, "report", "-o", "out", code=2).err
    assert "needs scipy and matplotlib: pip install '.[bench]'" in error
