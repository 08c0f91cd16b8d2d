import pytest
import torch

from samkit.errors import ConfigError
from samkit.models import MemoryConfig
from samkit.video.sam2_memory import (
    DISTRACTOR_AWARE,
    PLAIN,
    PUBLISHED,
    SAMURAI,
    MemoryFrame,
    MemoryPolicy,
    ObjectMemory,
)

CONFIG = MemoryConfig()  # 6 recent maps, 15 recent pointers


def frame(number: int) -> MemoryFrame:
    return MemoryFrame(map=torch.full((1,), number), pointer=torch.full((1,), number))


def memory_of(prompted=(), tracked=(), policy=PLAIN, *, reverse=False) -> ObjectMemory:
    memory = ObjectMemory()
    for index in prompted:
        memory.put(index, frame(index), CONFIG, policy, prompted=True)
    for index in tracked:
        memory.note_tracked(index, reverse=reverse)
        memory.put(index, frame(index), CONFIG, policy, prompted=False)
    return memory


def shown(memory: ObjectMemory, index: int, policy=PLAIN) -> list[tuple[int, int]]:
    """Frames that are shown, and how many steps ago."""
    return [(int(one.map), one.steps) for one in memory.frames_for(index, CONFIG, policy)]


def pointed(memory: ObjectMemory, index: int, span: int = 16) -> list[tuple[int, int]]:
    return [(int(one.pointer), one.distance) for one in memory.pointers_for(index, span)]


def test_prompted_frames_come_first_then_the_oldest_of_the_last_six() -> None:
    memory = memory_of([0], range(1, 12))
    assert shown(memory, 12) == [(0, 0), (6, 6), (7, 5), (8, 4), (9, 3), (10, 2), (11, 1)]
    assert shown(memory, 3) == [(0, 0)]  # what came later is of no use before


def test_pointers_go_from_the_newest_to_the_oldest() -> None:
    memory = memory_of([0], range(1, 30))
    assert pointed(memory, 30) == [(0, 30), *((30 - steps, steps) for steps in range(1, 16))]
    assert pointed(memory, 30, span=4) == [(0, 30), (29, 1), (28, 2), (27, 3)]


def test_frames_that_were_not_tracked_are_skipped() -> None:
    memory = memory_of([0], [1, 2, 4])
    assert shown(memory, 5) == [(0, 0), (1, 4), (2, 3), (4, 1)]
    assert pointed(memory, 5) == [(0, 5), (4, 1), (2, 3), (1, 4)]


def test_backwards_the_frames_behind_are_the_memory() -> None:
    memory = memory_of([20], range(19, 8, -1), reverse=True)
    assert shown(memory, 8) == [(20, 0), (14, 6), (13, 5), (12, 4), (11, 3), (10, 2), (9, 1)]
    assert pointed(memory, 8)[:3] == [(20, 12), (9, 1), (10, 2)]
    assert shown(memory, 21) == []


def test_prompted_frames_ahead_count_only_as_published() -> None:
    memory = memory_of([0, 9], [1, 2], PUBLISHED)
    assert shown(memory, 3) == [(0, 0), (1, 2), (2, 1)]
    assert shown(memory, 3, PUBLISHED) == [(0, 0), (9, 0), (1, 2), (2, 1)]
    assert pointed(memory, 3) == [(0, 3), (2, 1), (1, 2)]


def test_a_prompt_begins_anew() -> None:
    assert shown(memory_of([], [1, 2]), 3) == [(1, 2), (2, 1)]
    memory = memory_of([0], [1, 2, 3])
    memory.put(3, frame(3), CONFIG, PLAIN, prompted=True)
    assert shown(memory, 4) == [(0, 0), (3, 0)]
    assert pointed(memory, 4) == [(0, 4), (3, 1)]


@pytest.mark.parametrize("reverse", [False, True])
def test_memory_is_bounded(reverse: bool) -> None:
    indices = range(4999, -1, -1) if reverse else range(5000)
    memory = memory_of([], indices, reverse=reverse)
    assert len(memory.tracked) == 15
    assert sum(one.map is not None for one in memory.tracked.values()) == 6
    assert memory.span == (0, 4999)
    unbounded = memory_of([], range(100), PUBLISHED)
    assert len(unbounded.tracked) == 100


def test_frames_between_tracked_ones_are_corrected() -> None:
    memory = memory_of([5], [6, 7, 8])
    assert [index for index in range(12) if memory.was_tracked(index)] == [6, 7, 8]
    assert not memory_of([5]).was_tracked(5)


def gated(good: dict[int, bool], index: int) -> list[tuple[int, int]]:
    memory = ObjectMemory()
    for at, is_good in good.items():
        one = MemoryFrame(map=torch.full((1,), at), pointer=torch.zeros(1), is_good=is_good)
        memory.put(at, one, CONFIG, SAMURAI, prompted=False)
    return shown(memory, index, SAMURAI)


def test_good_frames_are_remembered_however_long_ago_and_the_last_one_always() -> None:
    good = {at: at in (3, 5, 40, 41) for at in range(1, 60)}
    assert gated(good, 60) == [(3, 5), (5, 4), (40, 3), (41, 2), (59, 1)]


def test_where_all_frames_are_good_the_last_six_are_shown() -> None:
    everything = dict.fromkeys(range(1, 30), True)
    memory = memory_of([], range(1, 30))
    assert gated(everything, 30) == shown(memory, 30)


def test_gated_memory_is_bounded_too() -> None:
    memory = ObjectMemory()
    for at in range(3000):
        one = MemoryFrame(map=torch.zeros(1), pointer=torch.zeros(1), is_good=at % 100 == 0)
        memory.put(at, one, CONFIG, SAMURAI, prompted=False)
    assert sum(one.map is not None for one in memory.tracked.values()) == 7
    assert len(memory.tracked) <= 15 + 6


def test_settings_are_checked(refusal) -> None:
    with refusal(ConfigError, "motion_weight must be a number from 0 to 1"):
        MemoryPolicy(motion_weight=2)
    with refusal(ConfigError, "min_iou must be a number from 0 to 1"):
        MemoryPolicy(min_iou=-0.1)


def aware(indices, policy=DISTRACTOR_AWARE) -> ObjectMemory:
    memory = memory_of([0], policy=policy)
    for at in indices:
        memory.put(at, frame(at), CONFIG, policy, prompted=False)
    return memory


def test_distractor_aware_memory_has_half_for_anchors_and_half_for_every_fifth_frame() -> None:
    memory = aware(range(1, 23))
    memory.note_area(100)
    memory.anchor(22, 0.9, 110, DISTRACTOR_AWARE)
    memory.put(23, frame(23), CONFIG, DISTRACTOR_AWARE, prompted=False)
    expected = [(0, None), (22, None), (15, 3), (20, 2), (23, 1)]
    assert shown(memory, 24, DISTRACTOR_AWARE) == expected
    assert shown(aware(range(1, 21)), 21, DISTRACTOR_AWARE) == [
        (0, None),
        (10, 3),
        (15, 2),
        (20, 1),
    ]


@pytest.mark.parametrize(
    ("score", "area", "is_anchor"),
    [(0.9, 100, True), (0.9, 119, True), (0.9, 121, False), (0.9, 79, False), (0.8, 100, False)],
)
def test_anchors_are_good_masks_of_the_usual_size(score, area, is_anchor) -> None:
    memory = aware(range(1, 8))
    memory.anchor(7, 0.9, 100, DISTRACTOR_AWARE)
    assert not memory.anchors  # nothing is known of its size yet
    for known in (20, 100, 100, 100, 500):
        memory.note_area(known)
    memory.anchor(7, score, area, DISTRACTOR_AWARE)
    assert list(memory.anchors) == [7] * is_anchor


def test_anchors_are_some_frames_apart_and_the_oldest_is_forgotten() -> None:
    memory = aware(range(1, 41))
    memory.note_area(100)
    for at in range(20, 41):
        memory.tracked.setdefault(at, frame(at))
        memory.anchor(at, 0.9, 100, DISTRACTOR_AWARE)
    assert list(memory.anchors) == [26, 32, 38]
    memory.forget_tracked()
    assert not memory.anchors


def test_distractor_aware_memory_is_bounded() -> None:
    memory = aware(range(1, 3000))
    assert sum(one.map is not None for one in memory.tracked.values()) <= 4
    assert len(memory.tracked) <= 18
    for area in range(100):
        memory.note_area(area)
    assert memory.areas == [*range(90, 100)]


def test_policies_that_contradict_themselves_are_refused(refusal) -> None:
    with refusal(ConfigError, "num_anchors or min_iou"):
        MemoryPolicy(num_anchors=3, min_iou=0.5)
