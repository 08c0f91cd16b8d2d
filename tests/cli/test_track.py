"""`samkit track`, with a tracker that needs no network."""

from __future__ import annotations

import json
from contextlib import contextmanager

import av
import numpy as np
import pytest
from PIL import Image

from samkit.cli.main import main
from samkit.geometry import decode_rle
from samkit.video import Video, VideoPredictor
from video.clips import write_clip, write_sound
from video.stub_tracker import StubTracker, level_frames


class StubPredictor:
    def __init__(self):
        self.tracker = StubTracker()

    def describe(self):
        return {"tracker": "stub"}

    def open_source(self, source, *, non_overlapping=False):
        return Video(self.tracker, source, non_overlapping=non_overlapping)


@pytest.fixture
def loaded(monkeypatch):
    """The predictors that were loaded."""
    found = []

    def load(*_args, **_options):
        found.append(StubPredictor())
        return found[-1]

    monkeypatch.setattr(VideoPredictor, "load", load)
    return found


@pytest.fixture
def clip(tmp_path):
    folder = tmp_path / "clip"
    folder.mkdir()
    for number, frame in enumerate(level_frames(8)):
        Image.fromarray(frame).save(folder / f"f{number}.png")
    return folder


def run(*args):
    return main(["track", *map(str, args)])


FIRST, SECOND = "0:6,6", "2:25,35"


def test_all_formats_are_written(tmp_path, clip, loaded, capsys):
    output = tmp_path / "out"
    formats = [
        word for name in ("overlay", "png", "coco", "mot", "jsonl") for word in ("--format", name)
    ]
    assert run(clip, "--point", FIRST, "--point", SECOND, "-o", output, *formats) == 0
    frames = level_frames(8)
    labels = np.asarray(Image.open(output / "masks" / "f3.png"))
    assert (
        labels
        == np.where(frames[3, ..., 1] == 100, 1, 0) + np.where(frames[3, ..., 1] == 200, 2, 0)
    ).all()
    assert not (np.asarray(Image.open(output / "masks" / "f1.png")) == 2).any()
    lines = [json.loads(line) for line in (output / "tracks.jsonl").read_text().splitlines()]
    assert [len(line["objects"]) for line in lines] == [1, 1, 2, 2, 2, 2, 2, 2]
    assert decode_rle(lines[5]["objects"][0]["segmentation"]).sum() == 64
    assert len((output / "mot.txt").read_text().splitlines()) == 14
    coco = json.loads((output / "coco_video.json").read_text())
    assert [one["track_id"] for one in coco["annotations"]] == [1, 2]
    with av.open(str(output / "overlay.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) == 8
    said = capsys.readouterr().out
    assert "object 1: in 8 of 8 frames" in said
    assert "object 2: in 6 of 6 frames" in said


def test_reverse_covers_the_beginning_as_well(tmp_path, clip, loaded):
    assert run(clip, "--point", "4:14,6", "--reverse", "-o", tmp_path, "--format", "jsonl") == 0
    lines = (tmp_path / "tracks.jsonl").read_text().splitlines()
    assert [json.loads(line)["frame"] for line in lines] == list(range(8))


def test_each_nth_frame_of_a_file(tmp_path, loaded):
    path = write_clip(tmp_path / "clip.mp4", list(np.repeat(level_frames(1), 9, axis=0)))
    assert run(path, "--box", "4:4,4,12,12", "--every", "2", "-o", tmp_path / "o", "--json") == 0
    assert sorted(one.name for one in (tmp_path / "o" / "masks").iterdir()) == [
        f"{number:05d}.png" for number in (0, 2, 4, 6, 8)
    ]
    assert run(path, "--box", "3:4,4,12,12", "--every", "2", "-o", tmp_path / "p") == 2


def test_frames_between_are_filled(tmp_path, loaded, capsys):
    path = write_clip(tmp_path / "clip.mp4", level_frames(8), crf="0", preset="ultrafast")
    output, options = tmp_path / "o", ("--box", "3:4,4,12,12", "--every", "3")
    formats = ("--format", "png", "--format", "jsonl", "--format", "overlay")
    assert run(path, *options, "--fill", "-o", output, *formats) == 0
    lines = [json.loads(line) for line in (output / "tracks.jsonl").read_text().splitlines()]
    assert [line["frame"] for line in lines] == [3, 4, 5, 6, 7]
    assert all(decode_rle(line["objects"][0]["segmentation"]).any() for line in lines)
    assert len(list((output / "masks").iterdir())) == 8
    with av.open(str(output / "overlay.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) == 8
    # What was tracked serves with and without it.
    assert run(path, *options, "-o", output, *formats) == 0
    assert len(loaded[-1].tracker.encoded) == 1  # the prompt's
    capsys.readouterr()
    assert run(path, "--box", "3:4,4,12,12", "--fill", "-o", tmp_path / "p") == 2
    assert "--fill needs --every" in capsys.readouterr().err


def test_objects_of_a_label_image(tmp_path, clip, loaded):
    labels = np.zeros((48, 64), np.uint8)
    labels[4:12, 4:12], labels[30:40, 20:30] = 3, 7
    Image.fromarray(labels).save(tmp_path / "first.png")
    out = tmp_path / "out"
    assert run(clip, "--mask", f"0:{tmp_path}/first.png", "-o", out, "--format", "png") == 0
    assert np.unique(np.asarray(Image.open(out / "masks" / "f6.png"))).tolist() == [0, 3, 7]


def tracked_rles(output):
    """The masks of each frame; scores tell how a memory was filled."""
    lines = (output / "tracks.jsonl").read_text().splitlines()
    return [[one["segmentation"] for one in json.loads(line)["objects"]] for line in lines]


@contextmanager
def interrupted(monkeypatch, after, *, on_the_way_back=False):
    follow = StubTracker.follow

    def stop(self, features, memory, index, *, reverse):
        if reverse == on_the_way_back and (index <= after if reverse else index >= after):
            raise KeyboardInterrupt
        return follow(self, features, memory, index, reverse=reverse)

    with monkeypatch.context() as patch:
        patch.setattr(StubTracker, "follow", stop)
        yield


def test_a_stopped_run_leaves_no_results_and_resumes(tmp_path, clip, loaded, monkeypatch, capsys):
    output = tmp_path / "out"
    arguments = (clip, "--point", FIRST, "-o", output)
    with interrupted(monkeypatch, after=5):
        assert run(*arguments) == 130
    assert [one.name for one in output.iterdir()] == [".samkit-track"]
    state = output / ".samkit-track" / "frames.jsonl"
    state.write_bytes(state.read_bytes() + b'{"reverse": false, "fra')  # killed while writing
    assert run(*arguments) == 0
    # The prompt's frame and the last finished one, then what was left.
    assert loaded[1].tracker.encoded == [0, 4, 5, 6, 7]
    assert run(clip, "--point", FIRST, "-o", tmp_path / "at_once") == 0
    assert {one.name for one in output.iterdir()} == {
        one.name for one in (tmp_path / "at_once").iterdir()
    }
    for name in ("f2.png", "f7.png"):
        one, other = (folder / "masks" / name for folder in (output, tmp_path / "at_once"))
        assert one.read_bytes() == other.read_bytes()
    capsys.readouterr()
    assert run(clip, "--point", "0:25,35", "-o", output) == 2
    assert "holds a run with other prompts" in capsys.readouterr().err


def test_a_run_stopped_on_the_way_back_resumes(tmp_path, clip, loaded, monkeypatch):
    """Between the two prompts of an object the nearer one decides, however often it was stopped."""
    prompts = ("--point", "1@0:6,6", "--point", "1@7:25,35", "--point", "2@5:25,35")
    arguments = (clip, *prompts, "--reverse", "--format", "jsonl", "-o")
    assert run(*arguments, tmp_path / "at_once") == 0
    for after in (5, 2):
        with interrupted(monkeypatch, after, on_the_way_back=True):
            assert run(*arguments, tmp_path / "out") == 130
    assert run(*arguments, tmp_path / "out") == 0
    assert loaded[-1].tracker.encoded[:4] == [0, 7, 5, 3]  # prompts, the last frame that was done
    at_once, resumed = (tracked_rles(tmp_path / name) for name in ("at_once", "out"))
    assert resumed == at_once
    areas = [decode_rle(rles[0]).sum() for rles in resumed]
    assert areas == [64] * 4 + [100] * 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give a prompt: --point"),
        (["--point", "500,375"], "expected [OBJECT@]FRAME:X,Y; got '500,375'"),
        (["--box", "0:1,2,3"], "expected [OBJECT@]FRAME:X0,Y0,X1,Y1"),
        (["--point", "99:5,5"], "has frames 0 to 7; got 99"),
        (["--point", "0:500,5"], "lies outside of the image"),
        (["--point", FIRST, "--point", SECOND, "--background", "0:1,1"], "needs its object"),
        (["--box", "1@0:1,1,5,5", "--box", "1@0:1,1,6,6"], "has two boxes in frame 0"),
        (["--mask", "0:nowhere.png"], "nowhere.png"),
    ],
)
def test_wrong_input_is_one_line(tmp_path, clip, loaded, capsys, arguments, message):
    assert run(clip, *arguments, "-o", tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert message in said
    assert len(said.splitlines()) == 1


def test_the_demo_follows_two_objects_through_a_clip_of_its_own(tmp_path, loaded, capsys):
    output = tmp_path / "out"
    for _ in range(2):  # and again, into the same folder
        assert main(["demo", "--video", "-o", str(output)]) == 0
        said = capsys.readouterr().out.splitlines()
        assert said[0] == f"{output}/clip.mp4: 12 frames made of an image of a coffee cup"
        assert "object 2: in 12 of 12 frames" in " ".join(said)
        command = said[-1].split()
        assert command[:3] == ["samkit", "track", f"{output}/clip.mp4"]
    assert {one.name for one in output.iterdir()} == {
        *("clip.mp4", "masks", "overlay.mp4", "overlay.png", "tracks.jsonl", ".samkit-track"),
    }
    with av.open(str(output / "clip.mp4")) as clip, av.open(str(output / "overlay.mp4")) as video:
        assert clip.streams.video[0].average_rate == video.streams.video[0].average_rate == 6
        assert sum(1 for _ in video.decode(video=0)) == 12
    assert np.asarray(Image.open(output / "overlay.png")).shape == (2 * 340, 3 * 480, 3)
    assert main([*command[1:], "-o", str(tmp_path / "next")]) == 0
    before, after = (folder / "masks/00004.png" for folder in (output, tmp_path / "next"))
    assert before.read_bytes() == after.read_bytes()
    capsys.readouterr()
    assert main(["demo", "--video", "--json", "-o", str(tmp_path / "json")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert sorted(found["objects"]) == ["1", "2"]
    assert f"{tmp_path}/json/overlay.png" in found["files"]


@pytest.mark.slow
def test_the_demo_finds_cup_and_spoon_again_behind_the_bar(tmp_path):
    assert main(["demo", "--video", "-o", str(tmp_path), "--json", "--backend", "torch"]) == 0
    first, last = (
        np.asarray(Image.open(tmp_path / "masks" / f"{number:05d}.png")) for number in (0, 11)
    )
    moved = np.roll(first, -120, axis=1)  # the view has moved by 120 pixels
    for number in (1, 2):
        one, other = moved == number, last == number
        assert one.sum() > 2000
        assert (one & other).sum() > 0.8 * (one | other).sum()


@pytest.fixture
def bad(tmp_path):
    """Videos that cannot be followed, by what is wrong with them."""
    videos = tmp_path / "videos"
    videos.mkdir()
    good = write_clip(videos / "good.mp4", list(level_frames(8))).read_bytes()
    contents = {
        "text.mp4": b"no video",
        "empty.mp4": b"",
        "truncated.mp4": good[: len(good) // 2],
        "codec.mp4": good.replace(b"avc1", b"zzzz"),
    }
    for name, content in contents.items():
        (videos / name).write_bytes(content)
    write_sound(videos / "sound.m4a")
    (videos / "no_images").mkdir()
    (videos / "sizes").mkdir()
    for number, size in enumerate(((64, 48), (64, 48), (48, 64))):
        Image.new("RGB", size, (0, 100, 0)).save(videos / "sizes" / f"{number}.png")
    return videos


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("text.mp4", "not a video"),
        ("empty.mp4", "not a video, or damaged or cut off"),
        ("truncated.mp4", "not a video, or damaged or cut off"),
        ("codec.mp4", "is in a codec that cannot be read here: convert it, such as by ffmpeg"),
        ("sound.m4a", "has no pictures, only sound or other data"),
        ("no_images", "has no images: give a folder of frames, or a video file"),
        ("nowhere.mp4", "no such file"),
    ],
)
def test_what_is_no_video_is_one_line(tmp_path, bad, loaded, capsys, name, message):
    assert run(bad / name, "--point", FIRST, "-o", tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert message in said
    assert name in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_frames_that_change_their_size_leave_no_results(tmp_path, bad, loaded, capsys):
    output = tmp_path / "out"
    assert run(bad / "sizes", "--point", FIRST, "-o", output) == 2
    (said,) = (line for line in capsys.readouterr().err.splitlines() if "frame 2 is" in line)
    assert "frame 2 is 48 x 64, frame 0 is 64 x 48: give frames of one size" in said
    assert [one.name for one in output.iterdir()] == [".samkit-track"]


def test_a_label_image_without_objects_is_one_line(tmp_path, clip, loaded, capsys):
    Image.new("L", (64, 48)).save(tmp_path / "first.png")
    assert run(clip, "--mask", f"0:{tmp_path}/first.png", "-o", tmp_path / "out") == 2
    assert capsys.readouterr().err.strip().endswith("first.png has no object")
    assert not (tmp_path / "out").exists()
