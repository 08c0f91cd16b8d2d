"""Laws of propagation, whatever tracks."""

from __future__ import annotations

import numpy as np
import pytest

from samkit.errors import NothingFoundError, PromptError, VideoError
from samkit.geometry import decode_rle
from samkit.video import ObjectAnswer, Video, VideoStream, open_frames
from samkit.video.video import without_overlaps
from video.stub_tracker import StubTracker, level_frames

FIRST, SECOND = [[6, 6]], [[25, 35]]  # points on the two squares of frame 0


def open_video(frames=None, **options):
    frames = level_frames(12) if frames is None else frames
    return Video(StubTracker(), open_frames(frames), **options)


def content(answers):
    return [
        (one.index, one.object_ids, one.rles, one.scores.tolist(), one.states) for one in answers
    ]


def test_an_object_is_followed_through_all_frames():
    frames, video = level_frames(12), open_video()
    video.prompt(0, object_id=7, points=FIRST)
    answers = list(video.propagate())
    assert [answer.index for answer in answers] == list(range(12))
    for frame, answer in zip(frames, answers, strict=True):
        assert answer.object_ids == (7,)
        assert answer.masks.shape == (1, 48, 64)
        assert answer.masks.dtype == bool
        assert (answer.masks[0] == (frame[..., 1] == 100)).all()
        assert answer.present.tolist() == [True]


def test_a_frame_is_encoded_once_for_all_objects_and_confirmed_ones_are_not_encoded_again():
    video = open_video()
    video.prompt(0, object_id=1, points=FIRST)
    video.prompt(0, object_id=2, points=SECOND)
    list(video.propagate())
    assert video._tracker.encoded == list(range(12))


def test_forward_and_in_reverse_from_the_middle_cover_all_frames():
    video = open_video()
    video.prompt(5, points=[[17, 6]])
    forward = [answer.index for answer in video.propagate()]
    backward = [answer.index for answer in video.propagate(reverse=True)]
    assert forward == [5, 6, 7, 8, 9, 10, 11]
    assert backward == [5, 4, 3, 2, 1, 0]
    assert all(video.answer(index).object_ids == (1,) for index in range(12))


def corrected_video(**options):
    """Object 1 is the first square in frame 0 and the second one in frame 8; 2 begins in 5."""
    video = open_video(**options)
    video.prompt(0, object_id=1, points=FIRST)
    video.prompt(8, object_id=1, points=SECOND)
    video.prompt(5, object_id=2, points=SECOND)
    return video


def squares(video, object_id):
    """Which square the object is in each frame."""
    frames, found = level_frames(12), {}
    for index, frame in enumerate(frames):
        answer = video.answer(index)
        if object_id in answer.object_ids:
            mask = decode_rle(answer.of(object_id).rle)
            (found[index],) = np.unique(frame[..., 1][mask])
    return found


def test_between_two_confirmed_frames_the_nearer_one_decides():
    video = corrected_video()
    list(video.propagate())
    confirmed = [video.answer(0).of(1), video.answer(8).of(1), video.answer(5).of(2)]
    assert squares(video, 1) == dict.fromkeys(range(8), 100) | dict.fromkeys(range(8, 12), 200)
    answers = {answer.index: answer for answer in video.propagate(reverse=True)}
    assert sorted(answers) == list(range(9))
    # Frame 4 is as near to both: the direction of time decides.
    assert squares(video, 1) == dict.fromkeys(range(5), 100) | dict.fromkeys(range(5, 12), 200)
    assert squares(video, 2) == dict.fromkeys(range(12), 200)
    assert all(answers[index].rles == video.answer(index).rles for index in answers)
    assert [video.answer(0).of(1), video.answer(8).of(1), video.answer(5).of(2)] == confirmed


@pytest.mark.parametrize("first_reverse", [False, True])
def test_results_do_not_depend_on_the_order_of_the_propagations(first_reverse):
    expected, video = corrected_video(), corrected_video()
    for reverse in (False, True):
        list(expected.propagate(reverse=reverse))
    for reverse in (first_reverse, not first_reverse, first_reverse):
        list(video.propagate(reverse=reverse))
    assert content(map(video.answer, range(12))) == content(map(expected.answer, range(12)))


def test_an_object_that_begins_later_leaves_the_results_of_others_in_reverse():
    """The first prompt of one object is in frame 0, that of the other one in the middle."""
    video = open_video()
    video.prompt(0, object_id=1, points=FIRST)
    video.prompt(6, object_id=2, points=SECOND)
    before = [answer.of(1) for answer in video.propagate()]
    assert [one.index for one in video.propagate(reverse=True)] == [6, 5, 4, 3, 2, 1, 0]
    assert [video.answer(index).of(1) for index in range(12)] == before
    assert all(video.answer(index).object_ids == (1, 2) for index in range(12))


def test_a_new_correction_takes_the_frames_around_it():
    video = corrected_video()
    for reverse in (False, True):
        list(video.propagate(reverse=reverse))
    video.prompt(6, object_id=1, points=[[18, 6]])
    list(video.propagate(reverse=True))
    assert squares(video, 1) == dict.fromkeys(range(7), 100) | dict.fromkeys(range(7, 12), 200)
    video.clear(6, object_id=1)
    for reverse in (False, True):
        list(video.propagate(reverse=reverse))
    assert squares(video, 1) == dict.fromkeys(range(5), 100) | dict.fromkeys(range(5, 12), 200)


def test_a_frame_that_both_directions_reach_is_tracked_once_more_only_where_it_changes():
    video = open_video()
    video.prompt(0, points=FIRST)
    video.prompt(8, points=SECOND)
    list(video.propagate())
    video._tracker.encoded.clear()
    list(video.propagate(reverse=True))
    assert video._tracker.encoded == [7, 6, 5]


def test_a_prompt_elsewhere_leaves_another_objects_propagation_as_it_was():
    """An object's memory is not begun anew because another one was prompted in between."""
    alone, joined = open_video(), open_video()
    for video in (alone, joined):
        video.prompt(0, object_id=1, points=FIRST)
    expected = [answer.of(1) for answer in alone.propagate()]
    list(joined.propagate(stop=8))
    joined.prompt(3, object_id=2, points=SECOND)
    assert [answer.of(1) for answer in joined.propagate(start=8)] == expected[8:]


def test_objects_do_not_overlap_either_where_the_other_direction_found_one():
    mask = np.zeros((48, 64), bool)
    mask[30:40, 20:25] = True  # half of the second square, which then moves to all of it
    video = open_video(non_overlapping=True)
    video.prompt(0, object_id=1, mask=mask)
    video.prompt(6, object_id=2, points=SECOND)
    list(video.propagate())
    list(video.propagate(reverse=True))
    for index in range(12):
        assert video.answer(index).masks.sum(axis=0).max() <= 1
    assert video.answer(3).of(1).area == 100


def test_start_and_stop_are_those_of_a_range():
    video = open_video()
    video.prompt(2, points=[[10, 6]])
    assert [one.index for one in video.propagate(start=4, stop=7)] == [4, 5, 6]
    assert [one.index for one in video.propagate(stop=4)] == [2, 3]
    assert [one.index for one in video.propagate(reverse=True, stop=0)] == [2, 1]


def test_objects_join_at_their_first_confirmed_frame():
    video = open_video()
    video.prompt(0, object_id=1, points=FIRST)
    video.prompt(6, object_id=2, points=SECOND)
    names = [answer.object_ids for answer in video.propagate()]
    assert names == [(1,)] * 6 + [(1, 2)] * 6


def test_an_object_that_joins_midway_leaves_the_others_as_they_are():
    alone, joined = open_video(), open_video()
    for video in (alone, joined):
        video.prompt(0, object_id=1, points=FIRST)
    before = [answer.of(1) for answer in alone.propagate()]
    list(joined.propagate(stop=5))
    joined.prompt(5, object_id=2, points=SECOND)
    assert [answer.of(1) for answer in joined.propagate()] == before
    list(joined.propagate(stop=5))
    assert [one.of(1) for one in joined.propagate(start=5)] == before[5:]


def test_a_correction_changes_its_frame_and_what_follows_alone():
    video = open_video()
    video.prompt(0, points=FIRST)
    before = list(video.propagate())
    corrected = video.prompt(4, points=SECOND)  # now it is the other square
    assert corrected.scores[0] == pytest.approx(0.6)  # the answer that it corrects was given
    after = list(video.propagate())
    assert content(after[:4]) == content(before[:4])
    assert after[4].rles == corrected.rles
    assert all(one.rles != other.rles for one, other in zip(before[4:], after[4:], strict=True))
    assert (after[9].masks[0] == (level_frames(12)[9, ..., 1] == 200)).all()


def test_a_correction_in_reverse_changes_earlier_frames_alone():
    video = open_video()
    video.prompt(11, points=[[30, 6]])
    before = list(video.propagate(reverse=True))
    video.prompt(5, points=SECOND)
    after = list(video.propagate(reverse=True))
    assert content(after[:6]) == content(before[:6])
    assert all(one.rles != other.rles for one, other in zip(before[6:], after[6:], strict=True))


def test_points_add_to_earlier_ones_or_take_their_place():
    video = open_video()
    video.prompt(0, points=FIRST)
    video.prompt(0, points=SECOND)
    assert video._objects[1].prompts[0].points_xy.tolist() == [[*FIRST, *SECOND]]
    replaced = video.prompt(0, points=FIRST, add=False)
    assert video._objects[1].prompts[0].points_xy.tolist() == [FIRST]
    assert replaced.scores[0] == pytest.approx(0.6)  # the mask that was there is corrected


def test_nothing_at_a_prompt_is_an_error_of_its_own(monkeypatch):
    video = open_video()
    video.prompt(0, object_id=7, points=FIRST)
    monkeypatch.setattr(
        StubTracker, "prompt", lambda self, features, *_: self.answer(features, 77, 0.5)
    )
    with pytest.raises(NothingFoundError, match="nothing is found at this prompt of object 8"):
        video.prompt(1, object_id=8, points=FIRST)
    assert video.object_ids == (7,)


def test_confirmed_masks_are_given_back_as_they_are():
    mask = np.zeros((48, 64), bool)
    mask[5:9, 5:9] = True
    video = open_video()
    video.prompt(0, mask=mask)
    video.prompt(3, points=SECOND)
    answers = list(video.propagate())
    again = list(video.propagate())
    assert [answer.of(1).confirmed for answer in answers[:5]] == [True, False, False, True, False]
    assert content(again) == content(answers)


def test_propagation_from_a_confirmed_frame_is_that_from_the_beginning():
    video = open_video()
    video.prompt(0, points=FIRST)
    video.prompt(6, points=[[18, 6]])
    whole_run = list(video.propagate())
    assert content(video.propagate(start=6)) == content(whole_run[6:])


def test_a_propagation_that_was_stopped_goes_on_as_if_it_had_not_been():
    at_once, in_parts = open_video(), open_video()
    for video in (at_once, in_parts):
        video.prompt(0, points=FIRST)
    expected = content(at_once.propagate())
    found = content(in_parts.propagate(stop=5)) + content(in_parts.propagate(start=5))
    assert found == expected


def test_results_of_an_earlier_run_are_gone_on_from():
    first, second = open_video(), open_video()
    for video in (first, second):
        video.prompt(0, points=FIRST)
    done = list(first.propagate(stop=6))
    second.restore(done)
    rest = list(second.propagate(start=6))
    assert [answer.index for answer in rest] == [6, 7, 8, 9, 10, 11]
    assert content([second.answer(3)]) == content([done[3]])
    assert second._tracker.encoded == [0, 5, 6, 7, 8, 9, 10, 11]


def test_a_stream_gives_the_answers_of_a_file():
    frames, video = level_frames(12), open_video()
    video.prompt(0, object_id=1, points=FIRST)
    video.prompt(4, object_id=2, points=SECOND)
    expected = content(video.propagate())
    stream = VideoStream(StubTracker())
    found = []
    for number, frame in enumerate(frames):
        answer = stream.track(frame)
        if number == 0:
            answer = stream.prompt(object_id=1, points=FIRST)
        if number == 4:
            answer = stream.prompt(object_id=2, points=SECOND)
        found.append(answer)
    assert content(found) == expected
    assert len(stream._video._objects[1].results) == 1


def test_a_correction_in_a_stream_is_that_in_a_file():
    frames, video = level_frames(8), open_video(level_frames(8))
    video.prompt(0, points=FIRST)
    list(video.propagate())
    video.prompt(3, points=SECOND)
    expected = content(video.propagate())
    stream = VideoStream(StubTracker())
    found = []
    for number, frame in enumerate(frames):
        answer = stream.track(frame)
        if number in (0, 3):
            answer = stream.prompt(points=FIRST if number == 0 else SECOND)
        found.append(answer)
    assert content(found) == expected


def test_an_iterator_is_propagated_while_it_is_read():
    video = open_video(iter(level_frames(12)))
    video.prompt(0, points=FIRST)
    assert [answer.index for answer in video.propagate()] == list(range(12))
    assert video.num_frames == 12


def test_an_object_that_is_gone_is_absent_with_an_empty_mask():
    frames = level_frames(6)
    frames[3, ..., 1] = 0
    video = open_video(frames)
    video.prompt(0, points=FIRST)
    answers = list(video.propagate())
    assert [one.states[0] for one in answers] == ["present"] * 3 + ["absent"] + ["present"] * 2
    assert not answers[3].masks.any()
    assert answers[3].scores.tolist() == [0]
    assert answers[3].present.tolist() == [False]


def test_prompts_that_are_taken_back():
    video = open_video()
    video.prompt(0, points=FIRST)
    before = content(video.propagate())
    video.prompt(4, points=SECOND)
    video.clear(4, object_id=1)
    assert content(video.propagate()) == before
    with pytest.raises(PromptError, match="object 1 has no prompts in frame 4"):
        video.clear(4, object_id=1)
    video.clear(0, object_id=1)
    assert video.object_ids == ()
    with pytest.raises(PromptError, match="there is no object 1; there are none"):
        video.remove(1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "a prompt needs"),
        ({"points": [[70, 3]]}, r"point \(70, 3\) lies outside"),
        ({"boxes": [[0, 0, 9, 9], [2, 2, 5, 5]]}, "one object at a time; got prompts for 2"),
        ({"mask": np.zeros((3, 3), bool)}, "mask"),
        ({"mask": np.zeros((48, 64), bool)}, "no pixel"),
        ({"mask": np.full((48, 64), 0.5)}, r"\(H, W\) of booleans"),
        ({"mask": np.ones((48, 64), bool), "points": FIRST}, "but not both"),
        ({"points": FIRST, "object_id": 1.5}, "object_id must be a whole number"),
    ],
)
def test_wrong_prompts_are_refused_and_leave_no_trace(arguments, message):
    video = open_video()
    with pytest.raises(PromptError, match=message) as caught:
        video.prompt(0, **arguments)
    assert "\n" not in str(caught.value)
    assert video.object_ids == ()


def test_prompts_and_propagation_outside_of_the_video_are_refused():
    video = open_video()
    with pytest.raises(VideoError, match="has frames 0 to 11; got 12"):
        video.prompt(12, points=FIRST)
    with pytest.raises(PromptError, match="no object has a prompt: call prompt"):
        video.propagate()
    video.prompt(6, points=[[18, 6]])
    with pytest.raises(VideoError, match="has frames 0 to 11; got 40"):
        video.propagate(start=40)
    with pytest.raises(PromptError, match="no object has a prompt before frame 4"):
        video.propagate(start=0, stop=4)


def test_a_stream_needs_a_frame_first():
    with pytest.raises(VideoError, match=r"call track\(frame\) first"):
        VideoStream(StubTracker()).prompt(points=FIRST)


def test_objects_do_not_overlap_where_that_is_asked():
    rng = np.random.default_rng(0)
    coords = StubTracker().coords((37, 61))
    answers = [
        ObjectAnswer(logits=rng.normal(size=(64, 64)).astype(np.float32), coords=coords, score=0.5)
        for _ in range(3)
    ]
    settled = without_overlaps(answers)
    masks = np.stack([answer.mask() for answer in settled])
    assert masks.sum(axis=0).max() == 1
    before = np.stack([answer.logits for answer in answers])
    after = np.stack([answer.logits for answer in settled])
    assert (after.argmax(axis=0) == before.argmax(axis=0)).all()


def test_tracked_objects_give_way_to_confirmed_ones():
    mask = np.zeros((48, 64), bool)
    mask[30:40, 20:25] = True  # half of the second square
    video = open_video(non_overlapping=True)
    video.prompt(0, object_id=1, points=SECOND)
    video.prompt(3, object_id=2, mask=mask)
    answers = list(video.propagate(stop=4))
    assert answers[3].masks[1].sum() == 50
    assert answers[3].masks[0].sum() == 50
    assert not answers[3].masks.all(axis=0).any()


def test_memory_does_not_grow_with_the_length():
    count = 600

    def frames():
        for number in range(count):
            frame = level_frames(1)[0]
            frame[..., 0] = number % 256
            yield frame

    video = open_video(frames())
    video.prompt(0, points=FIRST)
    for _ in video.propagate():
        assert len(video._features) <= 2
        assert len(video._objects[1].memory["recent"]) <= 6
    assert video.num_frames == count
    assert len(video._objects[1].results) == count  # run-length encodings
