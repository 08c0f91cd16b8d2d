"""The drop-in's video predictor, used as programs written for `sam2` use it."""

import inspect

import numpy as np
import pytest
import torch

import samkit
from samkit.backends import create_backend
from samkit.compat.sam2.build_sam import build_sam2_video_predictor
from samkit.compat.sam2.errors import (
    FramesError,
    MissingPromptError,
    NoObjectError,
    PromptShapeError,
    VideoPromptError,
)
from samkit.compat.sam2.sam2_video_predictor import SAM2VideoPredictor, fitted, read_prompt
from samkit.compat.sam2.video_session import NO_OBJECT_LOGIT, logits_of
from samkit.errors import PromptError, VideoError
from samkit.video import VideoPredictor
from video.clips import write_clip

CLICK, LABEL = np.array([[30, 30]], np.float32), np.array([1], np.int32)
BOX = np.array([40, 10, 90, 50], np.float32)


@pytest.fixture
def own(predictor):
    """samkit's own predictor with the same model, and with the precision of this machine."""
    network = predictor.network
    backend = create_backend(network, device="cpu")
    return VideoPredictor(samkit.Predictor(network, model_name="tiny_sam2", backend=backend))


def followed(predictor, state, **options):
    """Masks by frame and object."""
    found = {}
    for index, names, logits in predictor.propagate_in_video(state, **options):
        assert logits.shape == (len(names), 1, 60, 100)
        assert logits.dtype == torch.float32
        found[index] = {
            name: (logits[row] > 0.0).cpu().numpy()[0] for row, name in enumerate(names)
        }
    return found


def same(found, expected):
    return {i: {n: m.tolist() for n, m in one.items()} for i, one in found.items()} == {
        i: {n: m.tolist() for n, m in one.items()} for i, one in expected.items()
    }


def answers(video, **options):
    return {
        answer.index: dict(zip(answer.object_ids, answer.masks, strict=True))
        for answer in video.propagate(**options)
    }


def test_signatures_are_the_originals():
    def defaults(method):
        parameters = inspect.signature(getattr(SAM2VideoPredictor, method)).parameters
        return {
            name: one.default if one.default is not inspect.Parameter.empty else ...
            for name, one in parameters.items()
            if name not in ("self", "inference_state")
        }

    assert defaults("init_state") == {
        "video_path": ...,
        "offload_video_to_cpu": False,
        "offload_state_to_cpu": False,
        "async_loading_frames": False,
    }
    assert defaults("add_new_points_or_box") == {
        "frame_idx": ...,
        "obj_id": ...,
        "points": None,
        "labels": None,
        "clear_old_points": True,
        "normalize_coords": True,
        "box": None,
    }
    assert defaults("add_new_mask") == {"frame_idx": ..., "obj_id": ..., "mask": ...}
    assert defaults("propagate_in_video") == {
        "start_frame_idx": None,
        "max_frame_num_to_track": None,
        "reverse": False,
    }
    assert defaults("clear_all_prompts_in_frame") == {
        "frame_idx": ...,
        "obj_id": ...,
        "need_output": True,
    }
    assert defaults("remove_object") == {"obj_id": ..., "strict": False, "need_output": True}
    for name in ("propagate_in_video_preflight", "reset_state"):
        assert defaults(name) == {}


def test_two_objects_are_followed_as_by_samkits_own_predictor(predictor, own, clip, frames):
    state = predictor.init_state(video_path=clip)
    assert (state["num_frames"], state["video_height"], state["video_width"]) == (6, 60, 100)
    index, names, logits = predictor.add_new_points_or_box(
        inference_state=state, frame_idx=0, obj_id=4, points=CLICK, labels=LABEL
    )
    assert (index, names, logits.shape) == (0, [4], (1, 1, 60, 100))
    _, names, logits = predictor.add_new_points_or_box(state, 2, 9, box=BOX)
    assert names == [4, 9]
    assert (logits[0] == NO_OBJECT_LOGIT).all()  # nothing is known of it in frame 2 yet
    assert (logits[1] > 0).any()
    found = followed(predictor, state)
    video = own.open(frames)
    video.prompt(0, object_id=4, points=CLICK, labels=LABEL)
    video.prompt(2, object_id=9, boxes=BOX)
    expected = answers(video)
    nothing = np.zeros((60, 100), bool)
    expected[0][9] = expected[1][9] = nothing
    assert same(found, expected)
    assert state["obj_ids"] == [4, 9]
    assert dict(state["obj_id_to_idx"]) == {4: 0, 9: 1}
    assert dict(state["obj_idx_to_id"]) == {0: 4, 1: 9}


def test_logits_are_the_decoders_and_not_just_signs(predictor, clip):
    state = predictor.init_state(clip)
    _, _, prompted = predictor.add_new_points_or_box(state, 0, 1, CLICK, LABEL)
    for index, _, logits in predictor.propagate_in_video(state):
        assert len(logits.unique()) > 1000
        if index == 0:
            assert torch.equal(logits, prompted)


def test_where_logits_are_not_known_signs_are(predictor, clip):
    state = predictor.init_state(clip)
    predictor.add_new_points_or_box(state, 0, 1, CLICK, LABEL)
    found = followed(predictor, state)
    predictor.add_new_points_or_box(state, 5, 1, box=BOX)
    for index, _, logits in predictor.propagate_in_video(state, 5, reverse=True):
        if index in (1, 2):  # nearer to frame 0: as it was
            assert set(logits.unique().tolist()) <= {-10.0, 10.0}
            np.testing.assert_array_equal(logits[0, 0] > 0, found[index][1])
    disc = np.zeros((4, 5), bool)
    assert (logits_of(disc, None) == NO_OBJECT_LOGIT).all()
    disc[1, 2] = True
    assert logits_of(disc, None)[1].tolist() == [-10, -10, 10, -10, -10]


def test_points_replace_or_add(predictor, own, clip, frames):
    """All points given again, or only the new ones: the first mask is corrected either way."""
    second = np.array([[80, 20]], np.float32), np.array([0], np.int32)
    both = np.concatenate([CLICK, second[0]]), np.concatenate([LABEL, second[1]])
    video = own.open(frames)
    video.prompt(0, points=CLICK, labels=LABEL)
    expected = video.prompt(0, points=second[0], labels=second[1]).masks[0]
    for points, options in ((both, {}), (second, {"clear_old_points": False})):
        state = predictor.init_state(clip)
        predictor.add_new_points_or_box(state, 0, 1, CLICK, LABEL)
        _, _, logits = predictor.add_new_points_or_box(state, 0, 1, *points, **options)
        np.testing.assert_array_equal(logits[0, 0] > 0, expected)
    state = predictor.init_state(clip)
    predictor.add_new_points_or_box(state, 0, 1, *second)
    _, _, alone = predictor.add_new_points_or_box(state, 0, 1, CLICK, LABEL)
    _, _, first = predictor.add_new_points(predictor.init_state(clip), 0, 1, CLICK, LABEL)
    assert not torch.equal(alone, first)


def test_a_box_with_points_its_corners_as_points_and_fractions_are_the_same(predictor, clip):
    def ask(*args, **prompt):
        _, _, logits = predictor.add_new_points_or_box(
            predictor.init_state(clip), 0, 1, *args, **prompt
        )
        return logits

    expected = ask(CLICK, LABEL, box=BOX)
    corners = np.concatenate([BOX.reshape(2, 2), CLICK]), np.array([2, 3, 1])
    assert torch.equal(ask(*corners), expected)
    assert torch.equal(ask(torch.tensor(CLICK)[None], torch.tensor(LABEL)[None], box=BOX), expected)
    size = np.array([100, 60])
    fractions = ask(CLICK / size, LABEL, box=BOX / np.tile(size, 2), normalize_coords=False)
    torch.testing.assert_close(fractions, expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize("as_tensor", [False, True])
def test_a_mask_is_taken_as_it_is(predictor, clip, as_tensor):
    mask = np.zeros((60, 100), bool)
    mask[10:30, 20:50] = True
    state = predictor.init_state(clip)
    given = torch.from_numpy(mask) if as_tensor else mask.astype(np.uint8)
    _, _, logits = predictor.add_new_mask(state, frame_idx=1, obj_id="cup", mask=given)
    np.testing.assert_array_equal(logits[0, 0] > 0, mask)
    index, names, logits = next(predictor.propagate_in_video(state))
    assert (index, names) == (1, ["cup"])
    np.testing.assert_array_equal(logits[0, 0] > 0, mask)


def test_a_mask_of_another_size_is_resized():
    mask = np.zeros((30, 50), bool)
    mask[5:15, 10:25] = True
    large = fitted(mask, (60, 100))
    assert large.shape == (60, 100)
    assert large[10:30, 20:50].all()
    assert large.sum() == 600


def test_the_range_of_propagation_is_the_originals(predictor, clip):
    state = predictor.init_state(clip)
    predictor.add_new_points_or_box(state, 3, 1, CLICK, LABEL)
    predictor.add_new_points_or_box(state, 2, 2, CLICK, LABEL)

    def order(**options):
        return [index for index, *_ in predictor.propagate_in_video(state, **options)]

    assert order() == [2, 3, 4, 5]
    assert order(start_frame_idx=0) == [0, 1, 2, 3, 4, 5]
    assert order(start_frame_idx=1, max_frame_num_to_track=2) == [1, 2, 3]
    assert order(reverse=True) == [2, 1, 0]
    assert order(reverse=True, start_frame_idx=4, max_frame_num_to_track=1) == [4, 3]
    assert order(reverse=True, start_frame_idx=0) == []


def test_forward_then_reverse_covers_all_frames(predictor, own, clip, frames):
    state = predictor.init_state(clip)
    predictor.add_new_points_or_box(state, 3, 1, CLICK, LABEL)
    found = followed(predictor, state) | followed(predictor, state, reverse=True)
    video = own.open(frames)
    video.prompt(3, points=CLICK, labels=LABEL)
    assert same(found, answers(video) | answers(video, reverse=True))
    assert sorted(found) == [*range(6)]


def test_a_correction_after_propagation_sticks(predictor, clip):
    state = predictor.init_state(clip)
    predictor.add_new_points_or_box(state, 0, 1, CLICK, LABEL)
    before = followed(predictor, state)
    _, _, logits = predictor.add_new_points_or_box(
        state, 3, 1, np.array([[80, 20], [20, 50]]), np.array([1, 0])
    )
    after = followed(predictor, state)
    changed = [i for i in before if not np.array_equal(before[i][1], after[i][1])]
    assert changed == [3, 4, 5]
    np.testing.assert_array_equal(after[3][1], logits[0, 0] > 0)


def test_objects_join_after_propagation_and_leave(predictor, clip):
    state = predictor.init_state(clip)
    predictor.add_new_points_or_box(state, 0, 1, CLICK, LABEL)
    before = followed(predictor, state)
    _, names, _ = predictor.add_new_points_or_box(state, 2, 2, box=BOX)
    assert names == [1, 2]
    joined = followed(predictor, state)
    assert all(np.array_equal(joined[i][1], before[i][1]) for i in before)
    names, updated = predictor.remove_object(state, 1)
    assert names == [2]
    assert [(index, tuple(logits.shape)) for index, logits in updated] == [(0, (1, 1, 60, 100))]
    assert [*followed(predictor, state)] == [2, 3, 4, 5]
    assert predictor.remove_object(state, 7) == ([2], [])
    with pytest.raises(NoObjectError, match="there is no object 7; there are 2"):
        predictor.remove_object(state, 7, strict=True)
    assert predictor.remove_object(state, 2, need_output=False) == ([], [])


def test_prompts_are_taken_back(predictor, clip):
    state = predictor.init_state(clip)
    predictor.add_new_points_or_box(state, 0, 1, CLICK, LABEL)
    before = followed(predictor, state)
    predictor.add_new_points_or_box(state, 3, 1, np.array([[80, 20]]), LABEL)
    index, names, logits = predictor.clear_all_prompts_in_frame(state, 3, 1)
    assert (index, names) == (3, [1])
    assert (logits == NO_OBJECT_LOGIT).all()
    assert same(followed(predictor, state), before)
    assert predictor.clear_all_prompts_in_frame(state, 0, 1, need_output=False) is None
    assert state["obj_ids"] == [1]  # without any prompt, but still there
    with pytest.raises(MissingPromptError):
        next(predictor.propagate_in_video(state))
    predictor.add_new_points_or_box(state, 0, 1, CLICK, LABEL)
    assert same(followed(predictor, state), before)
    with pytest.raises(NoObjectError):
        predictor.clear_all_prompts_in_frame(state, 0, 5)


def test_a_state_is_reset(predictor, clip):
    state = predictor.init_state(clip)
    predictor.add_new_points_or_box(state, 0, 1, CLICK, LABEL)
    before = followed(predictor, state)
    assert state["tracking_has_started"]
    predictor.reset_state(state)
    assert (state["obj_ids"], len(state["obj_id_to_idx"])) == ([], 0)
    assert not state["tracking_has_started"]
    with pytest.raises(RuntimeError, match="no object has a prompt"):
        next(predictor.propagate_in_video(state))
    predictor.add_new_points_or_box(state, 0, 1, CLICK, LABEL)
    assert same(followed(predictor, state), before)


def test_an_object_of_which_nothing_is_found_is_absent(predictor, clip):
    with torch.no_grad():
        predictor.network.mask_decoder.pred_obj_score_head.layers[2].bias.fill_(-30)
    state = predictor.init_state(clip)
    _, names, logits = predictor.add_new_points_or_box(state, 1, 1, CLICK, LABEL)
    assert names == [1]
    assert (logits == NO_OBJECT_LOGIT).all()
    _, _, logits = predictor.add_new_mask(state, 2, 2, np.zeros((60, 100), bool))
    assert logits.shape == (2, 1, 60, 100)
    masks = followed(predictor, state)
    assert [*masks] == [1, 2, 3, 4, 5]
    assert not any(mask.any() for one in masks.values() for mask in one.values())
    predictor.clear_all_prompts_in_frame(state, 1, 1)
    assert predictor.remove_object(state, 1)[0] == [2]


def test_states_do_not_know_of_each_other(predictor, clip):
    one, other = predictor.init_state(clip), predictor.init_state(clip)
    predictor.add_new_points_or_box(one, 0, 1, CLICK, LABEL)
    expected = followed(predictor, one)
    predictor.add_new_points_or_box(other, 0, 1, box=BOX)
    followed(predictor, other)
    assert same(followed(predictor, one), expected)


def test_weights_that_were_loaded_later_are_used(predictor, clip):
    state = predictor.init_state(clip)
    _, _, before = predictor.add_new_points_or_box(state, 0, 1, CLICK, LABEL)
    own = predictor.state_dict()
    predictor.load_state_dict({name: 1.2 * tensor for name, tensor in own.items()})
    _, _, after = predictor.add_new_points_or_box(predictor.init_state(clip), 0, 1, CLICK, LABEL)
    assert not torch.allclose(before, after, atol=1e-3)


def test_objects_do_not_overlap_where_that_is_asked(checkpoint, clip):
    predictor = build_sam2_video_predictor(
        "tiny_sam2",
        checkpoint,
        device="cpu",
        hydra_overrides_extra=["++model.non_overlap_masks=true"],
        vos_optimized=True,
    )
    state = predictor.init_state(clip)
    predictor.add_new_points_or_box(state, 0, 1, CLICK, LABEL)
    predictor.add_new_points_or_box(state, 0, 2, box=BOX)
    for index, masks in followed(predictor, state).items():
        if index:
            assert np.stack([*masks.values()]).sum(axis=0).max() == 1


def test_a_video_file_and_frames_in_memory_are_opened(predictor, frames, tmp_path):
    path = write_clip(tmp_path / "clip.mp4", frames)
    states = [predictor.init_state(video) for video in (str(path), path, frames)]
    assert [state["num_frames"] for state in states] == [6, 6, 6]
    images = states[0]["images"]
    assert len(images) == 6
    assert images[0].shape == (3, 128, 128)
    assert len(images[1:3]) == len(list(images)[1:3]) == 2
    state = predictor.init_state(
        str(path), offload_video_to_cpu=True, offload_state_to_cpu=True, async_loading_frames=True
    )
    assert state["storage_device"] == torch.device("cpu")
    predictor.add_new_points_or_box(state, 0, 1, CLICK, LABEL)
    assert sorted(followed(predictor, state)) == [*range(6)]


def test_it_runs_in_inference_mode_and_autocast(predictor, clip):
    state = predictor.init_state(clip)
    predictor.add_new_points_or_box(state, 0, 1, CLICK, LABEL)
    expected = followed(predictor, state)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        state = predictor.init_state(clip)
        predictor.add_new_points_or_box(state, 0, 1, CLICK, LABEL)
        found = followed(predictor, state, max_frame_num_to_track=3)
    found |= followed(predictor, state, start_frame_idx=4)
    assert same(found, expected)


def test_a_model_of_the_hub_is_loaded(hub, network):
    predictor = SAM2VideoPredictor.from_pretrained(
        "facebook/sam2-hiera-tiny", device="cpu", vos_optimized=True
    )
    assert isinstance(predictor, SAM2VideoPredictor)
    assert predictor.network is network
    assert hub == [("sam2_hiera_tiny",) * 2]


def test_prompts_of_wrong_forms_are_one_line_and_of_the_originals_kind(predictor, clip, refusal):
    state = predictor.init_state(clip)

    def ask(*args, **prompt):
        return predictor.add_new_points_or_box(state, *args, **prompt)

    for prompt, message in (
        ({"points": CLICK}, "points and labels go together"),
        ({}, "a prompt needs points with labels, or a box; got neither"),
        ({"box": BOX, "clear_old_points": False}, "a box comes before points"),
        ({"box": BOX[:3]}, "box must be (4,), of one object; got (3,)"),
        ({"points": CLICK, "labels": [1, 1]}, "points must be (N, 2) with N labels"),
    ):
        with refusal(VideoPromptError, message):
            ask(0, 1, **prompt)
        with pytest.raises(ValueError, match=r"\w"):
            ask(0, 1, **prompt)
    with refusal(PromptShapeError, "mask must be (H, W); got (1, 60, 100)"):
        predictor.add_new_mask(state, 0, 1, np.zeros((1, 60, 100), bool))
    with refusal(PromptError, "point (500, 30) lies outside of the image"):
        ask(0, 1, np.array([[500, 30]]), LABEL)
    with refusal(VideoError, "has frames 0 to 5; got 6"):
        ask(6, 1, CLICK, LABEL)
    assert state["obj_ids"] == []
    assert read_prompt(None, None, [[1, 2], [3, 4]])[2].tolist() == [[1, 2], [3, 4]]


def test_what_has_no_frames_is_one_line(predictor, tmp_path, refusal):
    with refusal(FramesError, "has no images: give a folder of frames, or a video file"):
        predictor.init_state(str(tmp_path))
    with refusal(FramesError, "no such file"):
        predictor.init_state(str(tmp_path / "nowhere.mp4"))
    with refusal(FramesError, "has no known length: give a file, a folder or a list"):
        predictor.init_state(iter([np.zeros((60, 100, 3), np.uint8)]))
    with pytest.raises(RuntimeError):
        predictor.init_state([])


@pytest.mark.slow
def test_the_embedded_tracker_is_behind_it_too():
    """A red disc that moves over noise, shown by a click."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:120, :200]
    noise = rng.integers(60, 120, (120, 200, 3), np.uint8)
    discs = [(x - 60 - 12 * i) ** 2 + (y - 60) ** 2 < 22**2 for i in range(4)]
    clip = [np.where(disc[..., None], np.uint8([200, 30, 30]), noise) for disc in discs]
    predictor = build_sam2_video_predictor("mobile_sam", device="cpu")
    state = predictor.init_state(clip)
    predictor.add_new_points_or_box(state, 0, "disc", [[60, 60]], [1])
    for index, names, logits in predictor.propagate_in_video(state):
        assert names == ["disc"]
        mask = (logits[0, 0] > 0).numpy()
        assert (mask & discs[index]).sum() > 0.85 * (mask | discs[index]).sum()
