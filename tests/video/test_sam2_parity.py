"""Our SAM 2 tracker against `transformers.Sam2VideoModel`, on copied random weights.

And our EdgeTAM against `EdgeTamVideoModel`, whose trunk is ours in both.

Each of their sessions has one object: with several they treat the masks of all objects of a frame
as prompted if one of them is.
"""

from collections.abc import Callable, Iterable
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import transformers
from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession

from sam2_parity import video_pair
from samkit.models import Sam2
from samkit.predict import Predictor, normalise
from samkit.types import Prompts
from samkit.video.sam2_answer import Sam2Answer
from samkit.video.sam2_memory import PUBLISHED, ObjectMemory
from samkit.video.sam2_tracker import Sam2Tracker

NUM_FRAMES = 12
ATOL = 1e-3
# Of the random models' object scores, which hardly vary.
OBJECT_SHIFTS, OBJECT_SCALE = {"tiny_sam2": -0.2, "tiny_edgetam": 0.4}, 100.0
OBJECT_SIGNS = {"tiny_sam2": -1, "tiny_edgetam": 1}

Click = list[tuple[float, float, int]]


class Theirs:
    """A session of theirs with one object."""

    def __init__(self, model: transformers.PreTrainedModel, frames: np.ndarray, spec: Any) -> None:
        self.model = model
        pixels = torch.cat([normalise(frame, spec) for frame in frames])
        size = frames.shape[1]
        self.session = Sam2VideoInferenceSession(
            video=pixels, video_height=size, video_width=size, dtype=torch.float32
        )
        self.session.obj_id_to_idx(1)

    def click(self, index: int, clicks: Click) -> dict[str, torch.Tensor]:
        points = torch.tensor([[[c[:2] for c in clicks]]], dtype=torch.float32)
        labels = torch.tensor([[[c[2] for c in clicks]]], dtype=torch.int32)
        self.session.add_point_inputs(0, index, {"point_coords": points, "point_labels": labels})
        self.session.obj_with_new_inputs = [1]
        self.model(self.session, frame_idx=index)
        return self.output(index)

    def give(self, index: int, mask: np.ndarray) -> dict[str, torch.Tensor]:
        self.session.add_mask_inputs(0, index, torch.from_numpy(mask)[None, None].float())
        self.session.obj_with_new_inputs = [1]
        self.model(self.session, frame_idx=index)
        return self.output(index)

    def track(self, index: int, *, reverse: bool = False) -> dict[str, torch.Tensor]:
        self.model(self.session, frame_idx=index, reverse=reverse)
        return self.output(index)

    def output(self, index: int) -> dict[str, torch.Tensor]:
        outputs = self.session.output_dict_per_obj[0]
        kinds = ("cond_frame_outputs", "non_cond_frame_outputs")
        return next(outputs[kind][index] for kind in kinds if index in outputs[kind])


class Ours:
    """Our tracker on the same frames."""

    def __init__(self, model: Sam2, frames: np.ndarray, **options: Any) -> None:
        predictor = Predictor(model, model_name="tiny_sam2")
        self.tracker = Sam2Tracker(predictor, PUBLISHED, **options)
        self.features = [self.tracker.encode(frame) for frame in frames]

    def click(self, memory: ObjectMemory, index: int, clicks: Click) -> Sam2Answer:
        prompts = Prompts.of(points=[c[:2] for c in clicks], labels=[c[2] for c in clicks])
        return self.show(memory, index, prompts)

    def show(self, memory: ObjectMemory, index: int, prompts: Prompts) -> Sam2Answer:
        features = self.features[index]
        answer = self.tracker.prompt(features, memory, index, prompts, None)
        self.tracker.memorise(features, memory, index, answer, prompted=True, reverse=False)
        return answer

    def track(
        self, memories: list[ObjectMemory], index: int, *, reverse: bool = False
    ) -> list[Sam2Answer]:
        features = self.features[index]
        answers = self.tracker.track(features, memories, index, reverse=reverse)
        for memory, answer in zip(memories, answers, strict=True):
            self.tracker.memorise(features, memory, index, answer, prompted=False, reverse=reverse)
        return answers


def assert_same(own: Sam2Answer, theirs: dict[str, torch.Tensor], *, pointer: bool = True) -> None:
    expected = theirs["pred_masks"].squeeze().numpy()
    np.testing.assert_allclose(own.logits, expected, atol=ATOL, rtol=ATOL)
    object_logit = theirs["object_score_logits"].item()
    assert own.object_logit == pytest.approx(object_logit, abs=OBJECT_SCALE * ATOL)
    if pointer:
        theirs_pointer = theirs["object_pointer"].view(1, -1)
        torch.testing.assert_close(own.pointer, theirs_pointer, atol=ATOL, rtol=ATOL)


@pytest.fixture(scope="module", params=["tiny_sam2", "tiny_edgetam"])
def pair(
    request: pytest.FixtureRequest, randomise: Callable[..., None]
) -> tuple[Sam2, transformers.PreTrainedModel]:
    """A pair to which objects are present in some frames, and clearly absent in others."""
    ours, theirs = video_pair(request.param, randomise)
    own_head = ours.mask_decoder.pred_obj_score_head.layers[2]
    scale = OBJECT_SIGNS[request.param] * OBJECT_SCALE
    for layer in (own_head, theirs.mask_decoder.pred_obj_score_head.proj_out):
        layer.weight.data *= scale
        layer.bias.data.add_(OBJECT_SHIFTS[request.param]).mul_(scale)
    return ours, theirs


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    """Frames of the model's size, so that nothing is resized."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 100, (128, 160, 3))
    clip = [noise[:, 2 * i : 2 * i + 128] + 60 for i in range(NUM_FRAMES)]
    clip[7], clip[9] = 255 - clip[7], 0 * clip[9]  # objects leave
    return np.array(clip, np.uint8)


CLICKS: list[dict[int, Click]] = [
    {0: [(40, 60, 1)], 4: [(50, 64, 1), (10, 10, 0)]},
    {0: [(90, 30, 1), (100, 40, 1), (20, 100, 0)], 4: [(92, 34, 1)]},
]
CORRECTIONS: list[Click] = [[(44, 70, 1), (80, 80, 0)], [(60, 60, 1)]]


@torch.no_grad()
def compare(ours: Sam2, model: transformers.PreTrainedModel, frames: np.ndarray) -> set[bool]:
    """Two objects with clicks on two frames, a correction, then backwards.

    Returns:
        whether objects were seen as present, as absent, or both.
    """
    theirs = [Theirs(model, frames, ours.image_spec) for _ in range(2)]
    own = Ours(ours, frames, span=min(NUM_FRAMES, ours.memory.config.num_pointers))
    memories = [own.tracker.start() for _ in range(2)]

    def click(index: int, clicks: list[Click]) -> None:
        for memory, session, some in zip(memories, theirs, clicks, strict=True):
            answer = own.click(memory, index, some)
            assert_same(answer, session.click(index, some))

    def track(frames: Iterable[int], *, reverse: bool = False) -> None:
        for index in frames:
            answers = own.track(memories, index, reverse=reverse)
            for answer, session in zip(answers, theirs, strict=True):
                assert_same(answer, session.track(index, reverse=reverse))
                states.add(answer.object_logit > 0)

    states: set[bool] = set()
    for index in (0, 4):
        click(index, [clicks[index] for clicks in CLICKS])
    track([1, 2, 3, *range(5, NUM_FRAMES)])
    click(6, CORRECTIONS)
    track(range(7, NUM_FRAMES))
    track((3, 2, 1), reverse=True)
    return states


def test_twelve_frames_with_two_objects_and_a_correction(pair, frames) -> None:
    assert compare(*pair, frames) == {True, False}


def test_a_given_mask_is_remembered_as_theirs(pair, frames) -> None:
    """Their pointer of such a frame is of the best of three masks, the original's of the first."""
    theirs = Theirs(pair[1], frames, pair[0].image_spec)
    own = Ours(pair[0], frames, span=5)
    memory = own.tracker.start()
    mask = np.zeros((128, 128), bool)
    mask[20:71, 33:90] = True
    expected = theirs.give(0, mask)
    answer = own.show(memory, 0, Prompts.of(mask_logits=mask))
    assert_same(answer, expected, pointer=False)
    expected["object_pointer"] = answer.pointer[None]
    for index in range(1, 4):
        assert_same(own.track([memory], index)[0], theirs.track(index))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sam2.1_hiera_tiny", "sam2_hiera_tiny", "edgetam"])
@torch.no_grad()
def test_a_published_configuration_tracks_as_theirs(name, randomise, frames) -> None:
    ours, model = video_pair(name, randomise)
    large = np.stack([cv2.resize(frame, (1024, 1024)) for frame in frames[:3]])
    theirs = Theirs(model, large, ours.image_spec)
    own = Ours(ours, large, span=3)
    memory = own.tracker.start()
    clicks: Click = [(320, 480, 1)]
    assert_same(own.click(memory, 0, clicks), theirs.click(0, clicks))
    for index in (1, 2):
        assert_same(own.track([memory], index)[0], theirs.track(index))
