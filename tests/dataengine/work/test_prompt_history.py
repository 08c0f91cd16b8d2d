"""The prompts of a mask, from its events."""

import pytest

from samkit.dataengine import NewEvent, given_prompts, read_prompts, save_annotation
from samkit.types import GivenPrompts

FIRST, SECOND = (5.0, 6.0, 1), (9.5, 9.0, 0)


def point(x, y, label):
    return "point", {"xy": [x, y], "label": label}


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([point(*FIRST), point(*SECOND)], GivenPrompts((FIRST, SECOND))),
        ([point(*FIRST), ("move", {"index": 0, "xy": [7, 8]})], GivenPrompts(((7.0, 8.0, 1),))),
        ([point(*FIRST), point(*SECOND), ("remove", {"index": 0})], GivenPrompts((SECOND,))),
        (
            [("box", {"xyxy": [1, 2, 8, 9]}), ("box", {"xyxy": [1, 2, 7, 9], "label": 1})],
            GivenPrompts(box_xyxy=(1, 2, 7, 9)),
        ),
        ([("box", {"xyxy": [1, 2, 8, 9]}), ("remove", {"box": True})], GivenPrompts()),
        ([("box", {"xyxy": [1, 2, 8, 9], "label": 0})], GivenPrompts()),
        ([("brush", {"points": [[1, 2]]}), point(*FIRST)], GivenPrompts((FIRST,))),
        # What somebody else wrote.
        ([("point", {"xy": "here", "label": 1}), ("point", {})], GivenPrompts()),
        ([("point", {"xy": [1, 2], "label": 7}), ("move", {"index": 3})], GivenPrompts()),
        ([("box", {"xyxy": [8, 2, 1, 9]}), ("remove", {"index": "all"})], GivenPrompts()),
    ],
)
def test_prompts_are_as_people_left_them(scene, rle_of, events, expected):
    image = scene.hold(scene.ann)
    made = [NewEvent(kind=kind, data=data) for kind, data in events]
    one = save_annotation(
        scene.store, image_id=image, user_id=scene.ann, rle=rle_of(1, 1, 9, 9), events=made
    )
    assert given_prompts(scene.store, image).get(one.id, GivenPrompts()) == expected


def test_prompts_of_frames_are_read_likewise():
    prompts = {"points": [[5, 6], [9.5, 9]], "labels": [1, 0], "box": [1, 2, 8, 9], "base": "x"}
    assert read_prompts(prompts) == GivenPrompts((FIRST, SECOND), (1, 2, 8, 9))
    assert read_prompts({"points": [], "labels": [], "box": None}) == GivenPrompts()
    assert read_prompts({}) == GivenPrompts()


def test_a_mask_begins_with_a_box_or_with_the_first_click_in_it():
    given = GivenPrompts((SECOND, FIRST, FIRST))
    assert given.first_xy == FIRST[:2]
    assert given.corrections == (SECOND, FIRST)
    boxed = given._replace(box_xyxy=(1, 2, 8, 9))
    assert boxed.first_xy is None
    assert boxed.corrections == given.clicks
    assert GivenPrompts((SECOND,)).first_xy is None
    assert GivenPrompts((SECOND,)).corrections == (SECOND,)
