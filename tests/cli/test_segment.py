"""`samkit segment` end to end: the embedded model on a small image."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
import skimage.data
import tifffile
from PIL import Image

import samkit
from samkit.backends.torch_backend import TorchBackend
from samkit.cli.main import main
from samkit.geometry import decode_rle
from samkit.weights import weights_sha256


@pytest.fixture(scope="module")
def image():
    return skimage.data.coffee()


@pytest.fixture(scope="module", autouse=True)
def encode_once():
    """Images that were encoded before, by the same model, are not encoded again."""
    encode, known = TorchBackend.encode, {}

    def encode_new(self, pixels):
        content = hashlib.sha256(pixels.numpy().tobytes()).digest()
        key = (self.info, weights_sha256(self.model), content)
        if key not in known:
            known[key] = encode(self, pixels)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TorchBackend, "encode", encode_new)
        yield


@pytest.fixture
def folder(tmp_path, image, monkeypatch):
    Image.fromarray(image).save(tmp_path / "coffee.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def answer(image):
    """What the library says to the same click."""
    predictor = samkit.Predictor.load(backend="torch", precision="float32")
    embedding = predictor.embed(image)
    return predictor.predict(embedding, points=[[220, 170]], labels=[1])


def read_png(path):
    return np.asarray(Image.open(path))


def test_click_writes_overlay_mask_and_json(folder, image, answer, capsys):
    assert main(["segment", "coffee.png", "--point", "220,170", "-o", "out"]) == 0
    best = answer.best()
    np.testing.assert_array_equal(read_png("out/coffee_mask.png") > 0, best.masks[0])
    assert read_png("out/coffee_overlay.png").shape == image.shape
    record = json.loads((folder / "out/coffee.json").read_text())
    (mask,) = record["masks"]
    np.testing.assert_array_equal(decode_rle(mask["segmentation"]), best.masks[0])
    assert mask["area"] == best.masks[0].sum()
    assert mask["predicted_iou"] == pytest.approx(best.iou_pred[0])
    x0, y0, x1, y1 = best.to_masks().boxes_xyxy[0]
    assert mask["bbox"] == [x0, y0, x1 - x0, y1 - y0]
    assert record["prompts"] == {"points": [[[220.0, 170.0]]], "labels": [[1]]}
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("coffee_overlay.png", "coffee_mask.png", "coffee.json"))
    assert sorted(p.name for p in (folder / "out").glob("[!.]*")) == [
        "coffee.json",
        "coffee_mask.png",
        "coffee_overlay.png",
    ]


def test_all_writes_three_candidates(folder, image, answer):
    assert main(["segment", "coffee.png", "--point", "220,170", "--all", "-o", "out"]) == 0
    for index in range(3):
        mask = read_png(f"out/coffee_mask_{index}.png") > 0
        np.testing.assert_array_equal(mask, answer.masks[index])
    height, width = image.shape[:2]
    assert read_png("out/coffee_overlay.png").shape == (height, 3 * width, 3)


def test_earlier_logits_refine_an_answer(folder, capsys):
    first = ["segment", "coffee.png", "--point", "220,170", "-o", "out", "--format", "logits"]
    assert main(first) == 0
    assert sorted(p.name for p in (folder / "out").iterdir()) == ["coffee_logits.npy"]
    capsys.readouterr()
    second = ["segment", "coffee.png", "--point", "220,170", "--background", "120,300", "--json"]
    assert main([*second, "--mask", "out/coffee_logits.npy", "-o", "out2"]) == 0
    report = json.loads(capsys.readouterr().out)
    (result,) = report["results"]
    assert result["prompts"]["labels"] == [[1, 0]]
    assert result["prompts"]["mask"] is True
    assert not decode_rle(result["masks"][0]["segmentation"])[300, 120]


def test_several_boxes_are_several_objects(folder):
    boxes = ["--box", "170,10,420,210", "--box", "310,220,420,330"]
    assert main(["segment", "coffee.png", *boxes, "-o", "out", "--format", "coco"]) == 0
    coco = json.loads((folder / "out/coco.json").read_text())
    assert [a["image_id"] for a in coco["annotations"]] == [1, 1]
    assert [a["id"] for a in coco["annotations"]] == [1, 2]
    assert coco["images"][0]["file_name"] == "coffee.png"
    cup, spoon = (decode_rle(a["segmentation"]) for a in coco["annotations"])
    assert cup[60, 300]
    assert spoon[290, 365]
    assert not spoon[60, 300]


def test_file_of_prompts_gives_each_image_its_own(folder, image, capsys):
    Image.fromarray(image[:, ::-1]).save("mirrored.png")
    prompts = {
        "coffee.png": {"points": [300, 100]},  # a lone point needs no list of points
        "mirrored.png": {"box": [180, 10, 430, 210], "points": [[20, 20]], "labels": [0]},
    }
    (folder / "prompts.json").write_text(json.dumps(prompts))
    assert main(["segment", "--prompts", "prompts.json", "-o", "out", "--json"]) == 0
    results = json.loads(capsys.readouterr().out)["results"]
    assert [r["image"] for r in results] == ["coffee.png", "mirrored.png"]
    assert results[1]["prompts"] == {
        "points": [[[20.0, 20.0]]],
        "labels": [[0]],
        "boxes": [[180.0, 10.0, 430.0, 210.0]],
    }
    assert main(["segment", "mirrored.png", "--prompts", "prompts.json", "-o", "o2", "--json"]) == 0
    (only,) = json.loads(capsys.readouterr().out)["results"]
    assert only["masks"] == results[1]["masks"]


def test_a_bad_image_among_good_ones_is_skipped_and_told(folder, capsys):
    (folder / "broken.png").write_bytes(b"not an image")
    code = main(["segment", "coffee.png", "broken.png", "--point", "220,170", "-o", "out"])
    captured = capsys.readouterr()
    assert code == 1
    assert "skipped broken.png" in captured.err
    assert (folder / "out/coffee_mask.png").exists()
    assert not list((folder / "out").glob("broken*"))


def test_demo_needs_nothing(tmp_path, capsys):
    assert main(["demo", "-o", str(tmp_path / "out"), "--json"]) == 0
    (result,) = json.loads(capsys.readouterr().out)["results"]
    mask = decode_rle(result["masks"][0]["segmentation"])
    (x, y) = result["prompts"]["points"][0][0]
    assert mask[int(y), int(x)]
    assert mask[350, 300]  # the saucer belongs to it
    assert not mask[30, 30]  # the table does not
    assert 0.5 < result["masks"][0]["predicted_iou"] < 0.9  # it may mean the cup, or the saucer


def test_errors_of_single_images_are_told_with_their_image(folder, capsys):
    (folder / "bad.png").write_text("no picture")
    names = ["bad.png", "coffee.png"]
    assert main(["segment", *names, "--point", "9,9", "--json", "--format", "json"]) == 1
    printed = json.loads(capsys.readouterr().out)
    assert [result["image"] for result in printed["results"]] == ["coffee.png"]
    (error,) = printed["errors"]
    assert error["image"] == "bad.png"
    assert "is not an image" in error["error"]


GOOD = {"points": [300, 100]}
BAD_ENTRIES = {
    "nothing": ({}, "a prompt needs text, points, a box or mask_logits"),
    "no object": ([1, 2], "its prompt must be an object of box, labels, mask, points, text"),
    "null": (None, "must be an object"),
    "unknown key": ({"points": [1, 1], "boxes": [0, 0, 9, 9]}, "got boxes"),
    "reversed box": ({"box": [10, 10, 5, 5]}, "x0 < x1 and y0 < y1; got 10, 10, 5, 5"),
    "short box": ({"box": [1, 2, 3]}, "boxes must be (4,) or (P, 4); got (3,)"),
    "box of words": ({"box": "1,2,3,4"}, "boxes must be numbers"),
    "point outside": ({"points": [4000, 10]}, "point (4000, 10) lies outside"),
    "no points": ({"points": []}, "points must be (2,)"),
    "labels alone": ({"labels": [1]}, "labels need points"),
    "too few labels": ({"points": [[1, 1], [2, 2]], "labels": [1]}, "must agree in number"),
    "missing mask": ({"mask": "no.npy"}, "no such file"),
    "mask of numbers": ({"mask": [1, 2]}, "mask must be the name of a file; got [1, 2]"),
    "text of numbers": ({"text": 5}, "text must be a phrase or a list of phrases; got 5"),
    "empty text": ({"text": ""}, "text must not be empty"),
    "text with boxes": ({"text": "cup", "box": [[0, 0, 9, 9], [1, 1, 8, 8]]}, "goes with one text"),
}


def test_bad_entries_of_a_file_of_prompts_are_faults_of_their_images_alone(folder, image, capsys):
    names = [f"{number}.png" for number in range(len(BAD_ENTRIES))]
    for name in names:
        Image.fromarray(image[:30, :40]).save(name)
    entries = dict(zip(names, (entry for entry, _ in BAD_ENTRIES.values()), strict=True))
    (folder / "p.json").write_text(json.dumps({**entries, "coffee.png": GOOD}))
    assert main(["segment", "--prompts", "p.json", "-o", "out", "--json"]) == 1
    captured = capsys.readouterr()
    printed = json.loads(captured.out)
    assert [result["image"] for result in printed["results"]] == ["coffee.png"]
    lines = [f"samkit: skipped {one['image']}: {one['error']}" for one in printed["errors"]]
    assert captured.err.splitlines() == lines
    errors = {error["image"]: error["error"] for error in printed["errors"]}
    assert sorted(errors) == sorted(names)
    for name, (case, (_, told)) in zip(names, BAD_ENTRIES.items(), strict=True):
        assert told in errors[name], case


def test_the_bad_entry_of_the_only_image_is_an_error(folder, capsys):
    (folder / "p.json").write_text(json.dumps({"coffee.png": {"box": [10, 10, 5, 5]}}))
    assert main(["segment", "--prompts", "p.json", "-o", "out"]) == 2
    told = "samkit: coffee.png: a box is x0, y0, x1, y1 with x0 < x1 and y0 < y1; got 10, 10, 5, 5"
    assert capsys.readouterr().err.splitlines() == [told]


def test_files_of_nothing_but_faults_are_told(folder, capsys):
    (folder / "p.json").write_text(json.dumps({"coffee.png": {}, "other.png": 5}))
    assert main(["segment", "--prompts", "p.json", "-o", "out"]) == 2
    first, second, last = capsys.readouterr().err.splitlines()
    assert first.startswith("samkit: skipped coffee.png: ")
    assert second.startswith("samkit: skipped other.png: ")
    assert last == "samkit: no image has a valid prompt"
    assert not (folder / "out").exists()


@pytest.mark.parametrize("text", ["", "[]", "{}", "nonsense", "null"])
def test_files_that_are_no_prompts_are_refused(text, folder, capsys):
    (folder / "p.json").write_text(text)
    assert main(["segment", "--prompts", "p.json"]) == 2
    assert capsys.readouterr().err.startswith("samkit: p.json ")


def test_an_empty_list_of_boxes_gives_an_empty_result(folder, capsys):
    (folder / "p.json").write_text(json.dumps({"coffee.png": {"box": []}}))
    formats = [f"--format={name}" for name in ("overlay", "png", "json", "coco", "logits")]
    arguments = ["segment", "--prompts", "p.json", "-o", "out", "--json", *formats]
    assert main([one for one in arguments if one != "--format=json"]) == 0
    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert result["masks"] == []
    assert result["prompts"] == {"boxes": []}
    assert (result["files"]["masks"], result["files"]["logits"]) == ([], [])
    coco = json.loads((folder / "out/coco.json").read_text())
    assert [one["file_name"] for one in coco["images"]] == ["coffee.png"]
    assert coco["annotations"] == []
    picture = np.asarray(Image.open(folder / "out/coffee_overlay.png"))
    np.testing.assert_array_equal(picture, np.asarray(Image.open("coffee.png").convert("RGB")))


def test_own_mask_is_an_image_or_an_array_of_its_size(folder, answer, capsys):
    """Case 19: a mask as people have it, refined to nearly itself."""
    mask = answer.masks[1]
    np.save("mask.npy", mask)
    Image.fromarray(mask).save("mask1.png")
    Image.fromarray(mask.astype(np.uint8) * 255).save("mask255.png")
    Image.fromarray(mask.astype(np.uint8) * 255).save("mask.jpg")
    found = []
    for name in ("mask.npy", "mask1.png", "mask255.png", "mask.jpg"):
        command = ["segment", "coffee.png", "--mask", name, "-o", "out", "--format", "png"]
        assert main(command) == 0
        found.append(read_png("out/coffee_mask.png") > 0)
    for one in found:
        assert (one & mask).sum() / (one | mask).sum() > 0.9
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
    np.save("numbers.npy", mask[:256, :256].astype(np.uint8))
    assert main(["segment", "coffee.png", "--mask", "numbers.npy"]) == 2
    assert "looks like a mask: give it as booleans" in capsys.readouterr().err


def test_pages_of_a_stack_have_results_of_their_own(folder, image, answer):
    pages = np.stack([255 - image, image])
    tifffile.imwrite("stack.tif", pages, photometric="rgb")
    command = ["segment", "stack.tif", "--point", "220,170", "--format", "png", "-o", "out"]
    assert main([*command, "--pages", "all"]) == 0
    np.testing.assert_array_equal(read_png("out/stack_page2_mask.png") > 0, answer.best().masks[0])
    assert sorted(path.name for path in (folder / "out").glob("*.png")) == [
        "stack_mask.png",
        "stack_page2_mask.png",
    ]


def test_values_of_twelve_bits_are_seen(folder, image, answer, notices):
    """Case 07: the same picture with little of its range used."""
    tifffile.imwrite("dark.tif", image.astype(np.uint16) * 2 + 100, photometric="rgb")
    command = ["segment", "dark.tif", "--point", "220,170", "--format", "png", "-o", "out"]
    assert main([*command, "--range", "100,610"]) == 0
    np.testing.assert_array_equal(read_png("out/dark_mask.png") > 0, answer.best().masks[0])
    assert notices() == []
    assert main(command) == 0
    found, mask = read_png("out/dark_mask.png") > 0, answer.best().masks[0]
    assert (found & mask).sum() / (found | mask).sum() > 0.9
    assert "16-bit numbers from" in notices()[0]


def test_refined_answer_is_the_librarys(folder, image):
    clicks = ["--point", "470,310", "--point", "440,290", "--background", "400,330"]
    command = ["segment", "coffee.png", *clicks, "--refine", "best", "-o", "out"]
    options = ["--backend", "torch", "--precision", "float32"]
    assert main([*command, *options]) == 0
    predictor = samkit.Predictor.load(backend="torch", precision="float32")
    answer = predictor.predict(
        predictor.embed(image),
        points=[[470, 310], [440, 290], [400, 330]],
        labels=[1, 1, 0],
        multimask=False,
        refine="best",
    )
    np.testing.assert_array_equal(read_png("out/coffee_mask.png") > 0, answer.masks[0])


def test_text_is_not_refined(folder, capsys):
    assert main(["segment", "coffee.png", "--text", "a cup", "--refine", "fast"]) == 2
    assert "--refine is for clicks and boxes, not for --text" in capsys.readouterr().err


def test_fine_masks_are_the_librarys(folder, image, answer):
    options = ["--backend", "torch", "--precision", "float32", "-o", "out"]
    assert main(["segment", "coffee.png", "--point", "220,170", "--fine", *options]) == 0
    expected = replace(answer, guide=image).best().masks[0]
    np.testing.assert_array_equal(read_png("out/coffee_mask.png") > 0, expected)
    (mask,) = json.loads((folder / "out/coffee.json").read_text())["masks"]
    np.testing.assert_array_equal(decode_rle(mask["segmentation"]), expected)
    assert not np.array_equal(expected, answer.best().masks[0])
