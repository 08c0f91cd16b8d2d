"""Lessons from videos: frames that people verified, held back with their whole video."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from dataengine.conftest import database_kind, where  # noqa: F401 - both databases
from samkit.dataengine import (
    Store,
    add_track,
    add_video,
    count_finished_masks,
    count_verified_masks,
    create_project,
    create_user,
    learned_from,
    list_videos,
    serving_version,
    set_keyframe,
    submit_video,
    take_video,
)
from samkit.errors import ConflictError, StoreError
from samkit.geometry import decode_rle, encode_rle
from samkit.learning import Learner, learn_recipe
from samkit.learning.examples import is_held_out
from samkit.learning.judge import Costs
from samkit.learning.learner import check_enough
from samkit.learning.lessons import Lessons, fingerprint, read_lessons
from samkit.predict import EmbeddingCache

NUM_VIDEOS, NUM_FRAMES = 12, 4
VERIFIED = (0, 2)  # frames that people prompted in each video


def frame_of(scenes, video, frame):
    """A scene of the data set, which moves to the right; and its masks."""
    scene = scenes[video]
    rles = [np.roll(decode_rle(rle), 2 * frame, axis=1) for rle in scene.rles]
    return np.roll(scene.image, 2 * frame, axis=1), rles


class Clips:
    """A project of short videos, of which a robot finishes some frames."""

    def __init__(self, store, root, scenes):
        self.store, self.scenes, self.root = store, scenes, root
        root.mkdir()
        self.project = create_project(store, name="clips", root=root)
        self.robot = create_user(store, name="ann", role="admin").id
        for video in range(NUM_VIDEOS):
            (root / f"{video:02}").mkdir()
            for frame in range(NUM_FRAMES):
                image, _ = frame_of(scenes, video, frame)
                Image.fromarray(image).save(root / f"{video:02}" / f"{frame}.png")
            add_video(store, self.project.id, f"{video:02}")
        self.videos = list_videos(store, self.project.id).items

    def finish(self, videos):
        """Submit videos with prompted masks, each clicked outside first and then inside."""
        for video in videos:
            take_video(self.store, video.id, self.robot)
            _, masks = frame_of(self.scenes, int(video.path), 0)
            tracks = [add_track(self.store, video.id, user_id=self.robot) for _ in masks]
            for frame in VERIFIED:
                _, masks = frame_of(self.scenes, int(video.path), frame)
                for track, mask in zip(tracks, masks, strict=True):
                    y, x = np.argwhere(mask)[mask.sum() // 2].tolist()
                    set_keyframe(
                        self.store,
                        track.id,
                        frame,
                        user_id=self.robot,
                        rle=encode_rle(mask),
                        kind="prompted",
                        score=0.9,
                        prompts={"points": [[x + 0.5, y], [x, y]], "labels": [0, 1], "box": None},
                    )
            submit_video(self.store, video.id, self.robot)


@pytest.fixture
def clips(where, tmp_path, scenes):  # noqa: F811 - the fixture
    with Store.open(where) as store:
        yield Clips(store, tmp_path / "videos", scenes)


@pytest.fixture
def make(clips, tiny, tmp_path, recipe, monkeypatch):
    monkeypatch.setattr(learn_recipe, "MIN_STEPS", 3)
    monkeypatch.setattr(learn_recipe, "MAX_STEPS", 3)

    def learner(**changes):
        return Learner(
            clips.store,
            tiny,
            EmbeddingCache(tmp_path / "embeddings"),
            tmp_path / "learning",
            recipe=replace(recipe, **changes),
            max_pixels=10**6,
        )

    return learner


@pytest.fixture
def learner(make):
    return make()


def test_a_learner_learns_from_videos_alone(clips, make):
    """From the store to a promoted decoder, and the embeddings of exactly the verified frames."""
    clips.finish(clips.videos)
    learner = make(judged=False)
    learned_side, held_out = learner.examples(clips.project.id)
    learned = learner.learn(clips.project.id)
    assert serving_version(clips.store, clips.project.id) == learned.version.id
    assert (learned.num_images, learned.num_masks) == (len(learned_side), learned_side.num_masks)
    count = count_verified_masks(clips.store, clips.project.id)
    assert count == sum(len(VERIFIED) * len(clips.scenes[one].rles) for one in range(NUM_VIDEOS))
    assert count == learned_side.num_masks + held_out.num_masks
    assert count == learned_from(clips.store, clips.project.id)
    assert count_finished_masks(clips.store, clips.project.id) == 0  # of images
    after, _ = learner.serving(clips.project.id)
    name = "mask_decoder.iou_prediction_head.layers.2.bias"
    assert not after.model.state_dict()[name].equal(learner.base.model.state_dict()[name])
    cached = learner.cache.images(learner.base.encoder_checksum)
    assert cached == {image.pixels_key for image in learned_side.images}


def test_frames_are_lessons_with_their_masks_and_clicks(clips, learner):
    clips.finish(clips.videos[:1])
    (side,) = [one for one in learner.examples(clips.project.id) if len(one)]
    assert [image.key for image in side.images] == [f"00 {frame}" for frame in VERIFIED]
    for index, frame in enumerate(VERIFIED):
        image, masks = frame_of(clips.scenes, 0, frame)
        sample = side[index]
        assert np.array_equal(sample.image, image)
        assert sample.rejected == ()
        for rle, mask, given in zip(sample.rles, masks, sample.given, strict=True):
            assert np.array_equal(decode_rle(rle), mask)
            x, y = given.first_xy
            assert mask[int(y), int(x)]  # the first click inside, not the first click
            assert given.corrections == ((x + 0.5, y, 0),)
    learner.files.close()


def test_videos_are_held_back_whole(clips, learner):
    clips.finish(clips.videos)
    split = learner.examples(clips.project.id)
    sides = [{image.video.path for image in side.images} for side in split]
    assert sides[0].isdisjoint(sides[1])
    assert sides[1] == {one.path for one in clips.videos if is_held_out(one.fingerprint)}
    assert [len(side) for side in split] == [len(VERIFIED) * len(paths) for paths in sides]
    assert sides[0]
    assert sides[1]


def test_frames_do_not_teach_what_all_of_an_image_is(clips, learner):
    """Proposal heads and confidences take what is not masked for background."""
    clips.finish(clips.videos)
    assert [len(side) for side in learner.image_examples(clips.project.id)] == [0, 0]


def test_the_judge_takes_a_video_for_one_image(clips, learner):
    """Frames of a video are alike: they must not make chance look small."""
    clips.finish(clips.videos)
    held_out = learner.examples(clips.project.id).held_out
    judgement = learner.judge(clips.project, held_out, learner.base, learner.base)
    assert judgement.num_images == len(held_out) // len(VERIFIED)
    with pytest.raises(StoreError, match=f"{judgement.num_images} to judge by"):
        check_enough(
            clips.project,
            learner.examples(clips.project.id),
            least_held_out=judgement.num_images + 1,
        )
    learner.files.close()


def test_costs_by_group():
    costs = Costs(
        num_masks=(1, 2, 3),
        clicks=(1.0, 2.0, 4.0),
        clicks90=(2.0, 2.0, 2.0),
        iou_1=(0.5, 0.25, 0.125),
    )
    assert costs.by_group(["b", "a", "b"]) == Costs(
        num_masks=(4, 2), clicks=(5.0, 2.0), clicks90=(4.0, 2.0), iou_1=(0.625, 0.25)
    )
    assert costs.by_group(["a", "b", "c"]) == costs
    assert Costs(num_masks=(), clicks=(), clicks90=(), iou_1=()).by_group([]).num_masks == ()


def test_a_stopped_round_remembers_its_frames(clips, learner, tmp_path):
    clips.finish(clips.videos[:3])
    split = learner.examples(clips.project.id)
    side = max(split, key=len)
    Lessons(tmp_path / "round", side, num_finished=7).save()
    again = read_lessons(learner.files, tmp_path / "round")
    assert again.images.content() == side.content()
    assert fingerprint(again.images, 1, "x") == fingerprint(side, 1, "x")
    assert np.array_equal(again.images[0].image, side[0].image)
    learner.files.close()


def test_a_video_that_has_changed_teaches_nobody(clips, learner, make):
    clips.finish(clips.videos)
    image = learner.examples(clips.project.id).learned.images[0]
    other, _ = frame_of(clips.scenes, NUM_VIDEOS, 0)
    Image.fromarray(other).save(clips.root / image.video.path / "0.png")
    with pytest.raises(ConflictError, match="has changed since it was added"):
        make(judged=False).learn(clips.project.id)
