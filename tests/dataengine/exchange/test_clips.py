"""Tracks of videos written for other programs and read back."""

import gc
import json
import shutil
import weakref
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from dataengine.video.conftest import (  # noqa: F401 - fixtures
    LEVELS,
    NUM_FRAMES,
    Clip,
    clip,
    sqlite_clip,
    truth,
)
from samkit.dataengine import (
    Attribute,
    Labelling,
    add_class,
    add_video,
    create_project,
    create_user,
    export_clips,
    give_video_back,
    import_clips,
    list_classes,
    list_tracks,
    mark_absent,
    save_interpolated,
    set_labelling,
    set_track_attributes,
    submit_video,
    take_video,
    track_frames,
)
from samkit.dataengine.exchange import clips as clips_module
from samkit.datasets import find_vos_sequences
from samkit.errors import DataError, FormatError, StoreError
from samkit.formats import ClipFrame, ClipTrack, ClipTracks, davis_label_image
from samkit.geometry import decode_rle, encode_rle, rle_box_xyxy


@pytest.fixture
def annotated(sqlite_clip):  # noqa: F811
    """Three tracks: with a class and attributes, with gaps and absence, and a late one."""
    one = sqlite_clip
    store, cup = one.store, add_class(one.store, one.project.id, "cup & saucer")
    light = Attribute(name="light", kind="choice", choices=("on", "off"))
    set_labelling(store, one.project.id, Labelling(attributes=(light,)))
    first, second, late = one.track(class_id=cup.id), one.track(), one.track(class_id=cup.id)
    for frame in (0, 4):
        one.show(first, frame, LEVELS[0])
    between = [(at, encode_rle(truth(at, LEVELS[0])), "present") for at in (1, 2, 3)]
    save_interpolated(store, first.id, between, user_id=one.ann)
    version = first.version
    for frame, values in ((0, {"light": "on"}), (3, {"light": "off", "occluded": True})):
        version = set_track_attributes(
            store, first.id, user_id=one.ann, version=version, frame=frame, attributes=values
        ).version
    for frame in (2, 9):
        one.show(second, frame, LEVELS[1])
    mark_absent(store, second.id, user_id=one.ann, first=3, last=8)
    one.show(late, NUM_FRAMES - 1, LEVELS[2])
    give_video_back(store, one.video.id, one.ann)
    return one


@pytest.fixture
def other(annotated):
    """Another project on the same video, without tracks; and who imports."""
    project = create_project(annotated.store, name="other", root=annotated.root)
    video = add_video(annotated.store, project.id, "clip")
    admin = create_user(annotated.store, name="adm", role="admin").id
    return project, video, admin


def facts(store, video, *, kinds=True, masks=True):
    """All that is to be the same of a video's tracks."""
    names = {one.id: one.name for one in list_classes(store, video.project_id)}
    found = []
    for track in list_tracks(store, video.id):
        frames = {
            one.frame: (
                one.rle["counts"] if masks else rle_box_xyxy(one.rle),
                (one.kind, one.state) if kinds else one.state,
            )
            for one in track_frames(store, video.id, first=0, last=99, track_id=track.id)
            if kinds or one.area_px
        }
        found.append((track.number, names.get(track.class_id), frames))
    return found


def exported(annotated, folder, file_format, **options):
    report = export_clips(
        annotated.store, annotated.project.id, folder, file_format=file_format, **options
    )
    assert (report.num_videos, report.num_tracks) == (1, 3)
    return report


def test_coco_video_is_read_back_as_it_was(annotated, other, tmp_path):
    project, video, admin = other
    exported(annotated, tmp_path / "out", "coco-video")
    document = json.loads((tmp_path / "out/annotations.json").read_text())
    assert document["videos"][0]["length"] == NUM_FRAMES
    report = import_clips(annotated.store, project.id, tmp_path / "out", user_id=admin)
    assert (report.num_videos, report.num_added, report.faults) == (1, 3, ())
    assert facts(annotated.store, video) == facts(annotated.store, annotated.video)
    before, after = (list_tracks(annotated.store, one.id) for one in (annotated.video, video))
    assert [one.attributes for one in after] == [one.attributes for one in before]
    again = import_clips(annotated.store, project.id, tmp_path / "out", user_id=admin)
    assert (again.num_added, again.num_known) == (0, 3)


def test_coco_video_of_other_programs_has_masks_alone(annotated, other, tmp_path):
    project, video, admin = other
    exported(annotated, tmp_path / "out", "coco-video")
    path = tmp_path / "out/annotations.json"
    document = json.loads(path.read_text())
    for one in document["annotations"]:
        for name in ("states", "kinds", "scores", "attributes", "track_id"):
            del one[name]
    path.write_text(json.dumps(document))
    import_clips(annotated.store, project.id, path, user_id=admin)
    found = facts(annotated.store, video, kinds=False)
    assert found == facts(annotated.store, annotated.video, kinds=False)


def test_cvat_video_is_read_back_with_keyframes_and_attributes(annotated, other, tmp_path):
    project, video, admin = other
    exported(annotated, tmp_path / "out", "cvat-video")
    root = ET.parse(tmp_path / "out/clip.xml").getroot()
    assert [one.get("label") for one in root.findall("track")] == [
        "cup & saucer",
        "object",
        "cup & saucer",
    ]
    first = root.find("track")
    assert [(one.get("frame"), one.get("outside")) for one in first][-2:] == [
        ("4", "0"),
        ("5", "1"),
    ]
    import_clips(annotated.store, project.id, tmp_path / "out", user_id=admin)
    found = facts(annotated.store, video, kinds=False)
    expected = facts(annotated.store, annotated.video, kinds=False)
    assert [frames for *_, frames in found] == [frames for *_, frames in expected]
    tracks = list_tracks(annotated.store, video.id)
    assert [run.kind for run in tracks[0].runs] == ["confirmed", "imported", "confirmed"]
    assert [run.state for run in tracks[1].runs] == ["present", "absent", "present"]
    assert dict(tracks[0].attributes) == {0: {"light": "on"}, 3: {"light": "off", "occluded": True}}


def test_davis_is_read_back_and_by_the_evaluation(annotated, other, tmp_path):
    project, video, admin = other
    report = exported(annotated, tmp_path / "out", "davis", copy_frames=True)
    assert report.notes == ()
    (sequence,) = find_vos_sequences(tmp_path / "out")
    assert (sequence.name, len(sequence.images)) == ("clip", NUM_FRAMES)
    masks = sequence.truth(4)
    assert set(masks) == {1}
    assert np.array_equal(masks[1], truth(4, LEVELS[0]))
    import_clips(annotated.store, project.id, tmp_path / "out", user_id=admin)
    found = facts(annotated.store, video, kinds=False)
    assert found == facts(annotated.store, annotated.video, kinds=False)


def test_mot_is_read_back_as_boxes(annotated, other, tmp_path):
    project, video, admin = other
    exported(annotated, tmp_path / "out", "mot")
    lines = (tmp_path / "out/clip/gt/gt.txt").read_text().splitlines()
    assert lines[0] == "1,1,0,2,10,10,1,1,1"
    import_clips(annotated.store, project.id, tmp_path / "out", user_id=admin)
    found = facts(annotated.store, video, kinds=False, masks=False)
    expected = facts(annotated.store, annotated.video, kinds=False, masks=False)
    assert [frames for *_, frames in found] == [frames for *_, frames in expected]
    assert [name for _, name, _ in found] == ["cup & saucer", "object", "cup & saucer"]


def test_overlapping_masks_are_told_where_label_images_cannot_hold_them(annotated, tmp_path):
    one = annotated
    take_video(one.store, one.video.id, one.ann)
    track = one.track()
    one.show(track, 0, LEVELS[0])
    report = export_clips(one.store, one.project.id, tmp_path / "out", file_format="davis")
    assert report.notes[0].startswith("clip: masks overlap in 1 frame,")


def test_what_does_not_belong_to_a_video_is_told(annotated, other, tmp_path):
    project, video, admin = other
    exported(annotated, tmp_path / "out", "coco-video")
    path = tmp_path / "out/annotations.json"
    text = path.read_text()
    path.write_text(text.replace('"name": "clip"', '"name": "elsewhere"'))
    report = import_clips(annotated.store, project.id, path, user_id=admin)
    assert report.faults == ("elsewhere: the project has no video of this name",)
    path.write_text(text.replace('"size": [48, 64]', '"size": [48, 63]'))
    with pytest.raises(DataError):
        import_clips(annotated.store, project.id, path, user_id=admin)
    path.write_text("{}")
    with pytest.raises(DataError, match='no "videos"'):
        import_clips(annotated.store, project.id, path, user_id=admin)
    with pytest.raises(StoreError):
        import_clips(annotated.store, project.id, path, user_id=annotated.ann)
    assert list_tracks(annotated.store, video.id) == ()


def test_a_name_that_two_videos_could_have_is_told(annotated, other, tmp_path):
    *_, admin = other
    store, root = annotated.store, annotated.root.parent / "two"
    for path in ("a/clip", "b/clip"):
        shutil.copytree(annotated.root / "clip", root / path)
    two = create_project(store, name="two", root=root)
    first, second = (add_video(store, two.id, path) for path in ("a/clip", "b/clip"))
    exported(annotated, tmp_path / "out", "coco-video")
    path = tmp_path / "out/annotations.json"
    text = path.read_text()
    report = import_clips(store, two.id, path, user_id=admin)
    assert report.faults == ("clip: the project has several videos of this name",)
    for name in ("b/clip", "b--clip"):
        path.write_text(text.replace('"name": "clip"', f'"name": "{name}"'))
        assert import_clips(store, two.id, path, user_id=admin).faults == ()
    assert (list_tracks(store, first.id), len(list_tracks(store, second.id))) == ((), 3)


def test_a_video_that_somebody_holds_gets_no_tracks(annotated, other, tmp_path):
    project, video, admin = other
    exported(annotated, tmp_path / "out", "coco-video")
    take_video(annotated.store, video.id, annotated.bob)
    report = import_clips(annotated.store, project.id, tmp_path / "out", user_id=admin)
    assert report.num_added == 0
    assert all("import it again later" in one for one in report.faults)


def test_numbers_beyond_eight_bits_need_another_format(annotated, tmp_path):
    rle = encode_rle(np.ones((2, 2), bool))
    many = ClipTracks(
        name="x",
        size_hw=(2, 2),
        file_names=["0.jpg"],
        tracks=(ClipTrack(number=256, class_name=None, frames={0: ClipFrame(rle=rle)}),),
    )
    with pytest.raises(FormatError, match="objects 1 to 255; got 256"):
        davis_label_image(many, 0)
    assert decode_rle(rle).all()


def test_only_videos_in_some_states_are_exported(annotated, tmp_path):
    store, project = annotated.store, annotated.project.id
    options = {"file_format": "coco-video", "states": ("submitted", "accepted")}
    assert export_clips(store, project, tmp_path / "none", **options).num_videos == 0
    take_video(store, annotated.video.id, annotated.ann)
    submit_video(store, annotated.video.id, annotated.ann)
    done = export_clips(store, project, tmp_path / "one", **options)
    assert (done.num_videos, done.num_tracks) == (1, 3)


@pytest.mark.parametrize("file_format", ["coco-video", "cvat-video", "davis", "mot"])
def test_videos_are_in_memory_one_at_a_time(annotated, tmp_path, monkeypatch, file_format):
    store, project = annotated.store, annotated.project.id
    for name in ("second", "third"):
        shutil.copytree(annotated.root / "clip", annotated.root / name)
        add_video(store, project, name)
    read, earlier = clips_module.read_clip, []

    def watched(*args):
        gc.collect()
        assert sum(one() is not None for one in earlier) <= 1  # the loop has the last one still
        tracks = read(*args)
        earlier.append(weakref.ref(tracks))
        return tracks

    monkeypatch.setattr(clips_module, "read_clip", watched)
    done = export_clips(store, project, tmp_path / "out", file_format=file_format)
    assert (done.num_videos, done.num_tracks, len(earlier)) == (3, 3, 3)
    if file_format == "coco-video":
        document = json.loads((tmp_path / "out/annotations.json").read_text())
        assert [one["name"] for one in document["videos"]] == ["clip", "second", "third"]
        assert [one["video_id"] for one in document["annotations"]] == [1, 1, 1]
