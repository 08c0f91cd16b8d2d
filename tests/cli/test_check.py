"""The command `samkit check`."""

import json

import pytest

from samkit.cli.main import main


@pytest.fixture
def good(coco_folder):
    return coco_folder(2)


def test_table_of_a_good_data_set(good, capsys):
    path, document = good
    assert main(["check", str(path)]) == 0
    captured = capsys.readouterr()
    count = len(document["annotations"])
    assert f"{count}: {count} masks, 0 left out" in captured.out
    assert "2 found in" in captured.out
    assert "60 x 40 (2)" in captured.out


def test_faults_are_listed_and_change_the_exit_code(good, capsys):
    path, document = good
    document["annotations"] += [{"image_id": 77, "segmentation": []}] * 12
    path.write_text(json.dumps(document))
    assert main(["check", str(path)]) == 1
    out = capsys.readouterr().out
    assert "left out, or to be looked at (12):" in out
    assert "and 2 more (--json has all)" in out
    assert main(["check", str(path), "--json"]) == 1
    (facts,) = json.loads(capsys.readouterr().out)["data"]
    assert (facts["left_out"], len(facts["faults"])) == (12, 12)


def test_fix_writes_what_can_be_used(good, tmp_path, capsys):
    path, document = good
    whole = len(document["annotations"])
    document["annotations"].append({"image_id": 0, "segmentation": [[1, 1]]})
    path.write_text(json.dumps(document))
    fixed = tmp_path / "fixed.json"
    assert main(["check", str(path), "--fix", str(fixed)]) == 1
    spec = f"coco:{fixed},images={path.parent / 'val'}"
    assert f"train on {spec}" in capsys.readouterr().out
    assert main(["check", spec, "--json"]) == 0
    (facts,) = json.loads(capsys.readouterr().out)["data"]
    assert (facts["masks"], facts["faults"]) == (whole, [])


def test_splits_that_share_an_image(good, capsys):
    path, _ = good
    copy = path.with_name("other.json")
    copy.write_bytes(path.read_bytes())
    assert main(["check", str(path), f"coco:{copy},images={path.parent / 'val'}", "--json"]) == 1
    shared = json.loads(capsys.readouterr().out)["shared"]
    assert len(shared) == 2
    assert all(line.startswith("one image in several splits: ") for line in shared)


def test_what_cannot_be_checked_is_told(good, tmp_path, capsys):
    path, _ = good
    assert main(["check", "scenes"]) == 2
    assert "has no annotation files" in capsys.readouterr().err
    assert main(["check", str(path), str(path), "--fix", str(tmp_path / "x.json")]) == 2
    assert "one data set at a time" in capsys.readouterr().err
    assert not (tmp_path / "x.json").exists()


def test_images_that_are_all_missing_are_faults(good, capsys):
    path, document = good
    for image in (path.parent / "val").iterdir():
        image.unlink()
    assert main(["check", str(path), "--json"]) == 1
    (facts,) = json.loads(capsys.readouterr().out)["data"]
    assert (facts["images"], facts["found"]) == (2, 0)
    assert facts["left_out"] == len(document["annotations"])
    assert "has no image of this name" in facts["faults"][0]


def test_no_file_is_overwritten(good, capsys):
    path, _ = good
    before = path.read_bytes()
    assert main(["check", str(path), "--fix", str(path)]) == 2
    assert "exists: name a new file" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_fix_keeps_crowds_and_scores(good, tmp_path, capsys):
    path, document = good
    document["annotations"][0] |= {"iscrowd": 1, "score": 0.5}
    path.write_text(json.dumps(document))
    assert main(["check", str(path), "--fix", str(tmp_path / "fixed.json")]) == 0
    entries = json.loads((tmp_path / "fixed.json").read_text())["annotations"]
    assert sorted(one["iscrowd"] for one in entries)[-1] == 1
    assert [one["score"] for one in entries if "score" in one] == [0.5]


def test_a_link_to_nothing_is_a_fault(good, capsys):
    path, _ = good
    image = path.parent / "val" / "0.png"
    image.unlink()
    image.symlink_to(path.parent / "nowhere.png")
    assert main(["check", str(path)]) == 1
    assert "0.png" in capsys.readouterr().out
