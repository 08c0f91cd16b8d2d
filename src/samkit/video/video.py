"""Video: prompts on its frames, and objects followed through them."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from samkit.arrays import BoolArray, RgbImage
from samkit.errors import NothingFoundError, PromptError
from samkit.geometry import decode_rle, encode_rle, mask_to_logits
from samkit.types import Prompts
from samkit.video.answer import ObjectResult, VideoAnswer
from samkit.video.frames import FrameSource
from samkit.video.interface import ObjectAnswer, Tracker
from samkit.video.tracked_object import TrackedObject

# Frames whose features are cached: the one that is tracked and the one that is prompted.
FEATURES_CACHED = 2


class Video:
    """An open video: prompts, and the objects that they name, followed through its frames.

        video = samkit.VideoPredictor.load().open("clip.mp4")
        video.prompt(0, object_id=1, points=[[500, 375]])
        for answer in video.propagate():
            answer.masks

    A frame in which an object was prompted is confirmed for it: propagation gives its mask back as
    it is, and begins anew from it. What follows in the direction of propagation depends on it, what
    lies before does not: a correction changes nothing that came before, and to propagate from a
    confirmed frame gives the same as to propagate from the beginning. Where both directions reach a
    frame, its result is that from the nearer confirmed frame; see `TrackedObject`.
    """

    def __init__(
        self, tracker: Tracker, source: FrameSource, *, non_overlapping: bool = False
    ) -> None:
        self._tracker, self._source = tracker, source
        self.non_overlapping = non_overlapping
        self._objects: dict[int, TrackedObject] = {}
        self._features: OrderedDict[int, Any] = OrderedDict()
        self._size_hw: tuple[int, int] | None = None

    @property
    def num_frames(self) -> int | None:
        """Number of frames; None for a stream that has not ended yet."""
        return self._source.count

    @property
    def rate(self) -> float | None:
        """Frames per second; None if there is no clock."""
        return self._source.rate

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width of the frames."""
        if self._size_hw is None:
            height, width = self._source.read(0).shape[:2]
            self._size_hw = (height, width)
        return self._size_hw

    @property
    def object_ids(self) -> tuple[int, ...]:
        """The objects, in the order in which they were first prompted."""
        return tuple(self._objects)

    def __enter__(self) -> Video:  # noqa: PYI034 - Self is not in typing before Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def has(self, index: int) -> bool:
        """Whether there is such a frame; waits for the next one of a stream."""
        return self._source.has(index)

    def read(self, index: int) -> RgbImage:
        """Read a frame (H, W, 3); see `samkit.video.FrameSource`."""
        return self._source.read(index)

    def close(self) -> None:
        """Close the file or the camera; results stay."""
        self._source.close()

    def prompt(
        self,
        index: int,
        *,
        object_id: int = 1,
        points: npt.ArrayLike | None = None,
        labels: npt.ArrayLike | None = None,
        boxes: npt.ArrayLike | None = None,
        mask: npt.ArrayLike | None = None,
        add: bool = True,
    ) -> VideoAnswer:
        """Show where an object is in a frame, or correct its mask there.

        Points add to earlier points and the box of the same frame, and correct the mask that the
        object has there. A box or a mask begins anew.

        Args:
            index: of the frame, from 0.
            object_id: names the object; a new name is a new object.
            points: (2,) or (N, 2), xy in pixels of the frame.
            labels: (N,): 1 foreground, 0 background; default: all foreground.
            boxes: (4,) or (1, 4): one box, x0 y0 x1 y1.
            mask: (H, W) of booleans: the mask itself, which is taken as it is.
            add: whether points add to the earlier points and the box, or take their place.

        Returns:
            the answer for this frame with all of its objects.

        Raises:
            PromptError: the prompt is invalid, or lies outside of the frame.
            NothingFoundError: nothing is there.
            VideoError: there is no such frame.
        """
        index = as_integer("a frame's index", index)
        object_id = as_integer("object_id", object_id)
        prompts = read_prompts(points, labels, boxes, mask)
        features = self._encode(index)
        coords = self._tracker.coords(self.size_hw)
        prompts.check_fits(coords)
        known = self._objects.get(object_id) or TrackedObject(memory=self._tracker.start())
        previous = None
        if prompts.boxes_xyxy is None and prompts.mask_logits is None:
            if index in known.results and known.results[index].area:
                previous = mask_to_logits(decode_rle(known.results[index].rle), coords)
            if add and index in known.prompts:
                prompts = with_earlier(known.prompts[index], prompts)
        answer = self._tracker.prompt(features, known.memory, index, prompts, previous)
        mask_there = answer.mask()
        if not mask_there.any():
            raise NothingFoundError(
                f"nothing is found at this prompt of object {object_id} in frame {index}: give"
                " other points, a box or a mask"
            )
        self._objects[object_id] = known
        known.confirm(index, prompts, result_of(answer, mask_there, confirmed=True))
        self._tracker.memorise(features, known.memory, index, answer, prompted=True, reverse=False)
        if known.moment is not None and known.moment[0] != index:
            known.moment = None
        return self.answer(index)

    def clear(self, index: int, *, object_id: int) -> None:
        """Take back an object's prompts of a frame, and its mask there.

        An object without any other prompt is removed.

        Raises:
            PromptError: the object has no prompts in this frame.
        """
        known = self._objects.get(object_id)
        if known is None or index not in known.prompts:
            raise PromptError(f"object {object_id} has no prompts in frame {index}")
        known.clear(index)
        self._tracker.release(known.memory, index)
        known.moment = None
        if not known.prompts:
            del self._objects[object_id]

    def remove(self, object_id: int) -> None:
        """Remove an object with all of its masks.

        Raises:
            PromptError: there is no such object.
        """
        if object_id not in self._objects:
            raise PromptError(f"there is no object {object_id}; there are {self._listed()}")
        del self._objects[object_id]

    def answer(self, index: int) -> VideoAnswer:
        """What is known of a frame so far: all objects with a mask or a state there."""
        there = {
            name: known.results[index]
            for name, known in self._objects.items()
            if index in known.results
        }
        return VideoAnswer(
            index=index,
            object_ids=tuple(there),
            results=tuple(there.values()),
            size_hw=self.size_hw,
        )

    def restore(self, answers: Iterable[VideoAnswer], *, reverse: bool = False) -> None:
        """Put back results of an earlier run on the same video, so that propagation resumes.

        Confirmed frames are those that were prompted here; of other frames, and of objects that
        were prompted here, results are taken over.

        Args:
            answers: of `propagate` in one direction.
            reverse: that direction.
        """
        for answer in answers:
            for object_id, result in zip(answer.object_ids, answer.results, strict=True):
                known, index = self._objects.get(object_id), answer.index
                if known is None or not known.has_begun(index, reverse=reverse):
                    continue
                if index not in known.prompts and not known.is_settled(index, reverse=reverse):
                    known.put(index, result, reverse=reverse)
        for known in self._objects.values():
            known.moment = None

    def propagate(
        self, *, reverse: bool = False, start: int | None = None, stop: int | None = None
    ) -> Iterator[VideoAnswer]:
        """Follow all objects through the frames, one answer for each frame.

        An object is in the answers from its first confirmed frame on, in the direction of time or,
        with `reverse`, against it. To go both ways from the middle, propagate twice: a frame that
        both reach has the result from the nearer confirmed frame, which the other direction leaves
        as it is.

        Args:
            reverse: from later frames to earlier ones.
            start: first frame; default: the first confirmed one, with `reverse` the last one.
            stop: frame to stop before, as in `range`; default: the end of the video.

        Raises:
            PromptError: there is no object to follow in these frames.
            VideoError: there is no such frame, or one cannot be read.
        """
        confirmed = [at for known in self._objects.values() for at in known.prompts]
        if not confirmed:
            raise PromptError("no object has a prompt: call prompt() on a frame first")
        first = max(confirmed) if reverse else min(confirmed)
        start = first if start is None else as_integer("start", start)
        stop = None if stop is None else as_integer("stop", stop)
        if not self._source.has(start):
            self._source.read(start)  # says which frames there are
        nearest = min(start, first) if reverse else max(start, first)
        if stop is not None and (nearest <= stop if reverse else nearest >= stop):
            raise PromptError(
                f"no object has a prompt before frame {stop}{' in reverse' * reverse}, where this"
                f" propagation stops; the first is in frame {first}"
            )
        return self._propagate(start, stop, reverse=reverse)

    def _propagate(self, start: int, stop: int | None, *, reverse: bool) -> Iterator[VideoAnswer]:
        for index in range(start, -1, -1) if reverse else itertools.count(start):
            if index == stop or not self._source.has(index):
                return
            yield self.step(index, reverse=reverse)

    def step(self, index: int, *, reverse: bool = False) -> VideoAnswer:
        """Follow the objects into one frame, the next one of a propagation."""
        begun = [one for one in self._objects.values() if one.has_begun(index, reverse=reverse)]
        tracked = [
            one
            for one in begun
            if index not in one.prompts and not one.is_settled(index, reverse=reverse)
        ]
        if tracked:
            self._bring_up(tracked, index + 1 if reverse else index - 1, reverse=reverse)
            features = self._encode(index)
            answers = self._tracker.track(
                features, [one.memory for one in tracked], index, reverse=reverse
            )
            taken = None
            if self.non_overlapping:
                answers = without_overlaps(answers)
                taken = self._taken_pixels(index, tracked)
            for one, answer in zip(tracked, answers, strict=True):
                mask = answer.mask()
                if taken is not None:
                    mask = mask & ~taken
                one.put(index, result_of(answer, mask), reverse=reverse)
                self._tracker.memorise(
                    features, one.memory, index, answer, prompted=False, reverse=reverse
                )
                one.moment = (index, reverse)
        for one in begun:
            if index in one.prompts:
                self._tracker.release(one.memory)
                one.moment = (index, reverse)
        return self.answer(index)

    def forget_results(self, *, before: int, after: int | None = None) -> None:
        """Forget the results of frames before and after these, so that memory does not grow."""
        for one in self._objects.values():
            one.forget_results(before=before, after=after)

    def _bring_up(self, objects: Sequence[TrackedObject], before: int, *, reverse: bool) -> None:
        """Bring memories to the moment after a frame.

        If an object was tracked there last, its memory is. Otherwise it starts from its confirmed
        frames, and from its result in that frame, if it has one.
        """
        features = None
        for one in objects:
            if one.moment == (before, reverse):
                continue
            self._tracker.release(one.memory)
            result = one.results.get(before)
            if result is None or result.confirmed or not one.has_begun(before, reverse=reverse):
                continue
            features = self._encode(before) if features is None else features
            coords = self._tracker.coords(self.size_hw)
            mask = decode_rle(result.rle)
            answer = ObjectAnswer(
                logits=mask_to_logits(mask, coords),
                coords=coords,
                score=result.score,
                state=result.state,
                exact=mask,
            )
            self._tracker.memorise(
                features, one.memory, before, answer, prompted=False, reverse=reverse
            )

    def _taken_pixels(self, index: int, tracked: Sequence[TrackedObject]) -> BoolArray | None:
        """The pixels of masks that stay as they are in a frame; None if there are none."""
        masks = [
            decode_rle(one.results[index].rle)
            for one in self._objects.values()
            if index in one.results and one not in tracked
        ]
        return np.logical_or.reduce(masks) if masks else None

    def _encode(self, index: int) -> Any:
        """Features of a frame, cached."""
        features = self._features.pop(index, None)
        if features is None:
            frame = self._source.read(index)
            self._size_hw = (frame.shape[0], frame.shape[1])
            while len(self._features) >= FEATURES_CACHED:
                self._features.popitem(last=False)
            features = self._tracker.encode(frame)
        self._features[index] = features
        return features

    def _listed(self) -> str:
        return ", ".join(map(str, self._objects)) or "none"

    def __repr__(self) -> str:
        frames = "a stream" if self.num_frames is None else f"{self.num_frames} frames"
        return f"<Video {self._source.name}: {frames}, objects {self._listed()}>"


def read_prompts(
    points: npt.ArrayLike | None,
    labels: npt.ArrayLike | None,
    boxes: npt.ArrayLike | None,
    mask: npt.ArrayLike | None,
) -> Prompts:
    """Read the prompts of one object in one frame, as a batch of one.

    Raises:
        PromptError: there is none, or not one.
    """
    if mask is not None:
        if points is not None or boxes is not None or labels is not None:
            raise PromptError("give a mask, or points and a box, but not both")
        array = np.asarray(mask)
        if array.ndim != 2 or not (array.dtype == np.bool_ or np.isin(array, (0, 1)).all()):
            raise PromptError(
                f"mask must be (H, W) of booleans; got {array.dtype} of shape {array.shape}"
            )
        return Prompts.of(mask_logits=array.astype(bool))
    prompts = Prompts.of(points=points, labels=labels, boxes=boxes)
    if len(prompts) != 1:
        raise PromptError(
            f"prompt() takes one object at a time; got prompts for {len(prompts)}: call it for each"
            " with its object_id"
        )
    return replace(prompts, batched=False)


def with_earlier(earlier: Prompts, prompts: Prompts) -> Prompts:
    """Add points to the points and the box of the same frame."""
    if earlier.points_xy is None or earlier.labels is None:
        return replace(prompts, boxes_xyxy=earlier.boxes_xyxy)
    assert prompts.points_xy is not None
    assert prompts.labels is not None
    return replace(
        prompts,
        points_xy=np.concatenate([earlier.points_xy, prompts.points_xy], axis=1),
        labels=np.concatenate([earlier.labels, prompts.labels], axis=1),
        boxes_xyxy=earlier.boxes_xyxy,
    )


def without_overlaps(answers: Sequence[ObjectAnswer]) -> list[ObjectAnswer]:
    """Give each pixel to the object with the highest logit.

    Where one object wins with a logit above 0, the others get at most its negative. Then no two
    logits have a sum above 0, and none after any interpolation: so no two masks overlap.
    """
    there = [number for number, answer in enumerate(answers) if answer.state != "absent"]
    settled = list(answers)
    if len(there) < 2:
        return settled
    logits = np.stack([answers[number].logits for number in there])
    winner, most = logits.argmax(axis=0), np.maximum(logits.max(axis=0), 0)
    for row, number in enumerate(there):
        own = np.where(winner == row, logits[row], np.minimum(logits[row], -most))
        settled[number] = replace(answers[number], logits=own, exact=None)
    return settled


def result_of(answer: ObjectAnswer, mask: BoolArray, *, confirmed: bool = False) -> ObjectResult:
    """What is stored of an answer; an empty mask is that of an absent object."""
    state = answer.state if mask.any() else "absent"
    return ObjectResult(
        rle=encode_rle(mask),
        score=0.0 if state == "absent" else float(np.clip(answer.score, 0, 1)),
        state=state,
        confirmed=confirmed,
    )


def as_integer(name: str, value: object) -> int:
    """Check that a number is a whole one.

    Raises:
        PromptError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise PromptError(f"{name} must be a whole number; got {value!r}")
    return int(value)
