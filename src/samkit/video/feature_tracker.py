"""The tracker on frozen features: it needs nothing but the weights of a model for images.

In each frame three things say where an object is. Optical flow carries its last mask along, and the
colours beside its outline say where exactly that is now: right for small movements, and what keeps
look-alikes apart. A linear classifier of pixels, fitted to the object's masks so far, knows what it
looks like: right about what flow has not seen, and what finds it again. Both together prompt the
mask decoder, which knows what objects look like at all, by a box and mask logits; its answer is
added to theirs. docs/video.md has what each is worth.

Shape legend: S side of the logits space, O objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from samkit.arrays import BoolArray, FloatArray, Logits, RgbImage
from samkit.geometry import CoordMap, mask_to_logits
from samkit.predict import Predictor
from samkit.types import MaskPrediction, Prompts
from samkit.video.box_motion import BoxMotion
from samkit.video.decoder_votes import Votes
from samkit.video.feature_memory import ObjectMemory, SeenMask, mean_moments
from samkit.video.features import FrameFeatures, encode_frame
from samkit.video.interface import ObjectAnswer, State
from samkit.video.local_colours import beside_outline, votes_of_colours
from samkit.video.motion import Flow, carry, flow_back
from samkit.video.motion_rules import MotionRules, cells_of, window_around
from samkit.video.pixel_classifier import RING, Moments, moments_of

OUTSIDE = -9.0  # logits where an object cannot be, unless the decoder is sure
PROMPT_LIMIT = 12.0  # as of masks that are given; see `mask_to_logits`
# Regions smaller than this fraction of the largest one do not count for the box.
SPECK = 0.02


@dataclass(frozen=True, kw_only=True)
class Freedom:
    """How far an object may be from where flow carries its mask.

    Attributes:
        flow_limit: logits of the carried mask, at most.
        reach: how far around it the object may be: cells, and a fraction of its size.
    """

    flow_limit: float
    reach: tuple[int, float]


@dataclass(frozen=True, kw_only=True)
class FeatureTrackerConfig:
    """Settings of the tracker, all in logits; the defaults are those that docs/video.md measures.

    Attributes:
        classifier_gain: logits for a pixel that the classifier is sure of are half of it.
        classifier_shift: how much more than half the classifier must say of a pixel that may as
            well be outside: this times the share of wrong pixels that it says are inside, where the
            mask is known. Around thin things it says so of a wide margin.
        flow_blur: standard width of the blur of a carried mask, in cells: its outline is not sure.
        hidden, seen: how far the object may be from where flow carries its mask: while no more than
            all of it is found so, since parts that were hidden come back, and else.
        full_size: the multiple of its size that is all of it.
        colour_limit: logits of a carried mask, at most, where colours say how its outline moved.
        flow_weight: weight of the carried mask beside the classifier's.
        decoder_limit: logits from which on the decoder is sure; see `Votes` for what it is worth.
        prompt_gain: the sum of those two times this is the mask prompt.
        new_share: weight of the latest frame in the classifier.
        anchor_share: weight of the confirmed frames, which is put back with each frame.
        search_anchor_share: likewise, for the search for an object that was absent.
        flow_gap: frames over which flow is followed.
        present, uncertain: classifier's mean inside the mask from which an object counts as there.
        found_iou: predicted IoU from which an object that was absent is back.
        found_size: its area then, as a multiple of what it was.
        motion: rules by which motion counts; None: it does not.
    """

    classifier_gain: float = 8.0
    classifier_shift: float = 0.35
    flow_blur: float = 1.5
    hidden: Freedom = Freedom(flow_limit=1.6, reach=(24, 0.3))
    seen: Freedom = Freedom(flow_limit=2.7, reach=(16, 0.2))
    full_size: float = 1.0
    colour_limit: float = 3.0
    flow_weight: float = 1.1
    decoder_limit: float = 12.0
    prompt_gain: float = 3.0
    new_share: float = 0.05
    anchor_share: float = 0.2
    search_anchor_share: float = 0.5
    flow_gap: int = 3
    present: float = 0.6
    uncertain: float = 0.3
    found_iou: float = 0.6
    found_size: tuple[float, float] = (0.12, 3.0)
    motion: MotionRules | None = field(default_factory=MotionRules)


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureAnswer(ObjectAnswer):
    """An answer with what the memory needs of it.

    Attributes:
        looks: (S, S), what the classifier said.
    """

    looks: Logits


class FeatureTracker:
    """Follows objects by flow, a classifier of pixels on frozen features, and the mask decoder."""

    def __init__(
        self,
        predictor: Predictor,
        config: FeatureTrackerConfig | None = None,
        *,
        follower: Predictor | None = None,
    ) -> None:
        """Follow with a predictor's network.

        Args:
            predictor: encodes frames and answers prompts.
            follower: another decoder on the same image encoder, which is asked where objects went;
                None for that of the predictor.
        """
        self.predictor = predictor
        self.follower = predictor if follower is None else follower
        self.config = FeatureTrackerConfig() if config is None else config

    def describe(self) -> dict[str, Any]:
        return {
            "name": "features",
            "decoder": self.follower.model_name,
            **asdict(self.config),
        }

    def coords(self, size_hw: tuple[int, int]) -> CoordMap:
        return CoordMap.of(size_hw, self.predictor.model.image_spec)

    def encode(self, frame: RgbImage) -> FrameFeatures:
        return encode_frame(self.predictor, frame)

    def start(self) -> ObjectMemory:
        return ObjectMemory()

    def prompt(
        self,
        features: FrameFeatures,
        memory: ObjectMemory,  # noqa: ARG002 - prompts alone decide
        index: int,  # noqa: ARG002
        prompts: Prompts,
        previous: Logits | None,
    ) -> ObjectAnswer:
        coords = features.coords
        if prompts.mask_logits is not None:
            mask = prompts.mask_logits[0, 0]
            assert mask.dtype == np.bool_
            logits = mask_to_logits(np.asarray(mask, bool), coords)
            return ObjectAnswer(
                logits=logits, coords=coords, score=1.0, exact=np.asarray(mask, bool)
            )
        is_click = prompts.are_clicks and previous is None
        answer = self.predictor.predict(
            features.embedding,
            points=None if prompts.points_xy is None else prompts.points_xy[0],
            labels=None if prompts.labels is None else prompts.labels[0],
            boxes=None if prompts.boxes_xyxy is None else prompts.boxes_xyxy[0],
            mask_logits=previous,
            multimask=is_click,
        ).best()
        return ObjectAnswer(logits=answer.logits[0], coords=coords, score=float(answer.iou_pred[0]))

    def track(
        self,
        features: FrameFeatures,
        memories: Sequence[ObjectMemory],
        index: int,
        *,
        reverse: bool,
    ) -> list[ObjectAnswer]:
        flows: dict[int, Flow] = {}  # by the earlier frame: objects share them
        answers = []
        for memory in memories:
            anchors = memory.anchors(index, reverse=reverse)
            last = memory.latest or anchors[-1]
            is_far = memory.is_lost or abs(index - last.index) > self.config.flow_gap
            known = last.moments
            if is_far:  # what was learned last may be what covered the object
                known = known.mixed(mean_moments(anchors), self.config.search_anchor_share)
            looks = self._classify(features, memory, known)
            motion = last.predicted(index)
            centre = float(np.mean([one.centre for one in anchors]))
            if is_far:
                expected = self._search(memory, looks, motion, centre)
            else:
                if last.index not in flows:
                    flows[last.index] = flow_back(features.grey, last.grey, features.used_hw())
                expected = self._expect(
                    features,
                    last,
                    flows[last.index],
                    looks=looks,
                    centre=centre,
                    size=memory.size,
                )
            expected = self._where_it_moves(memory, expected, motion)
            votes = Votes.mean([one.votes for one in anchors])
            answers.append(self._decide(features, memory, expected, looks, votes))
        return answers

    def memorise(
        self,
        features: FrameFeatures,
        memory: ObjectMemory,
        index: int,
        answer: ObjectAnswer,
        *,
        prompted: bool,
        reverse: bool,
    ) -> None:
        if memory.scales is None:
            memory.scales = features.scales()
        inside = answer.logits > 0
        if prompted:
            memory.latest = None
            memory.confirmed[index] = self._confirm(features, memory, index, answer.logits)
            memory.see(area=float(inside.sum()), is_first=True)
            return
        # Where masks may not overlap, others may have taken all of it.
        is_there = answer.state != "absent" and bool(inside.any())
        memory.is_lost = not is_there
        anchors = memory.anchors(index, reverse=reverse)
        last = memory.latest or anchors[-1]
        if memory.is_lost:  # nothing is learned, and the last mask stays as it was
            memory.latest = last
            return
        known, motion = last.moments, last.predicted(index)
        if answer.state == "present":
            memory.see(area=float(inside.sum()), is_first=not memory.area)
            if self.config.motion is not None:
                motion = self.config.motion.measured(motion, cells_of(inside))
            known = known.mixed(mean_moments(anchors), self.config.anchor_share)
            looks = answer.looks if isinstance(answer, FeatureAnswer) else None
            new = moments_of(features, answer.logits, memory.scales, looks)
            known = known.mixed(new, self.config.new_share)
        memory.latest = SeenMask(
            index=index,
            logits=answer.logits,
            lab=features.lab,
            grey=features.grey,
            moments=known,
            motion=motion,
            votes=last.votes,
            centre=last.centre,
        )

    def release(self, memory: ObjectMemory, index: int | None = None) -> None:
        memory.latest, memory.is_lost = None, False
        if index is not None:
            del memory.confirmed[index]

    def _confirm(
        self, features: FrameFeatures, memory: ObjectMemory, index: int, logits: Logits
    ) -> SeenMask:
        """A confirmed mask, by which the decoder is judged as well."""
        assert memory.scales is not None
        moments = moments_of(features, logits, memory.scales)
        truth = logits > 0
        if not truth.any():  # finer than a cell
            truth = logits == logits.max()
        looks = self._classify(features, memory, moments)
        centre = 0.5 + self.config.classifier_shift * wrong_share(looks > 0.5, truth)
        limit = self.config.hidden.flow_limit
        moved = np.clip(self._blurred(sigmoid(logits)), -limit, limit)
        expected = self._add_up(moved, looks, centre)
        box = box_of(expected > 0, features.coords)
        votes = Votes()
        if box is not None:
            decoded = self._ask(features, box, expected).logits[0]
            votes = Votes.where_known(decoded > 0, truth, features.used_hw())
        return SeenMask(
            index=index,
            logits=logits,
            lab=features.lab,
            grey=features.grey,
            moments=moments,
            motion=BoxMotion.start(cells_of(truth)),
            votes=votes,
            centre=centre,
        )

    def _ask(self, features: FrameFeatures, box: FloatArray, expected: Logits) -> MaskPrediction:
        """Ask the decoder where the object is that is expected there."""
        prompt = np.clip(expected * self.config.prompt_gain, -PROMPT_LIMIT, PROMPT_LIMIT)
        return self.follower.predict(
            features.embedding, boxes=box, mask_logits=prompt.astype(np.float32), multimask=False
        )

    def _classify(self, features: FrameFeatures, memory: ObjectMemory, moments: Moments) -> Logits:
        """What the classifier says of each pixel (S, S): about 1 inside, 0 outside."""
        assert memory.scales is not None
        weights = moments.solve()
        looks: Logits = features.dot(weights[None, :-1], memory.scales)[0]
        looks += float(weights[-1])
        height, width = features.used_hw()
        looks[height:] = looks[:, width:] = 0  # the padding
        return looks

    def _expect(
        self,
        features: FrameFeatures,
        last: SeenMask,
        flow: Flow,
        *,
        looks: Logits,
        centre: float,
        size: float,
    ) -> Logits:
        """Logits of where the object should be, before the decoder is asked.

        Args:
            centre: see `SeenMask`.
            size: see `ObjectMemory`.
        """
        known = sigmoid(last.logits)
        carried = carry(known, flow)
        is_there = carried > 0.3
        if not is_there.any():
            return np.full_like(looks, OUTSIDE)
        box = cells_of(is_there)
        height, width = features.used_hw()
        rows, cols = np.nonzero(beside_outline(carried[:height, :width] > 0.5))
        inside = votes_of_colours(
            known[:height, :width], last.lab, features.lab, flow, (rows, cols)
        )
        limit = self.config.colour_limit
        votes = np.clip(logit(inside), -limit, limit)
        blurred = self._blurred(carried)
        for freedom in (self.config.hidden, self.config.seen):
            moved = np.clip(blurred, -freedom.flow_limit, freedom.flow_limit)
            moved[rows, cols] = votes
            expected = self._add_up(moved, looks, centre)
            near = only_within(window_around(box, freedom.reach), expected)
            # Less than all of it may have been hidden, and comes back; more is something else.
            if (near > 0).sum() <= self.config.full_size * size:
                break
        return near

    def _blurred(self, mask: Logits) -> Logits:
        """Logits of a mask (S, S) of probabilities of whose outline flow is not sure."""
        return logit(np.asarray(cv2.GaussianBlur(mask, (0, 0), self.config.flow_blur), np.float32))

    def _add_up(self, moved: Logits, looks: Logits, centre: float) -> Logits:
        """Logits of what a carried mask's logits (S, S) and the classifier say together.

        Args:
            centre: see `SeenMask`.
        """
        said = self.config.classifier_gain * (looks - centre)
        return self.config.flow_weight * moved + said

    def _where_it_moves(self, memory: ObjectMemory, expected: Logits, motion: BoxMotion) -> Logits:
        """What is expected, or, of an object that has suddenly grown, only where it should be."""
        rules = self.config.motion
        area = float((expected > 0).sum())
        window = None if rules is None else rules.possible(motion, area, memory.size)
        return expected if window is None else only_within(window, expected)

    def _search(
        self, memory: ObjectMemory, looks: Logits, motion: BoxMotion, centre: float
    ) -> Logits:
        """Logits of where a lost object may be, in the whole frame: the region most like it."""
        labels, number, inside = components(looks > 0.5)
        likeness = looks - 0.5
        if self.config.motion is not None:
            likeness *= self.config.motion.likely(motion, len(looks))
        totals = np.bincount(labels.reshape(-1), likeness.reshape(-1), minlength=number)
        totals[0] = 0
        totals[~self._fits(memory, inside)] = 0
        best = int(totals.argmax()) if totals.any() else 0
        expected = self.config.classifier_gain * (looks - centre)
        return np.where(labels == best, expected, OUTSIDE) if best else np.full_like(looks, OUTSIDE)

    def _fits(self, memory: ObjectMemory, area: npt.NDArray[Any]) -> BoolArray:
        """Whether areas are such as the object may have when it comes back."""
        least, most = self.config.found_size
        return np.asarray((area >= least * memory.area) & (area <= most * memory.area))

    def _decide(
        self,
        features: FrameFeatures,
        memory: ObjectMemory,
        expected: Logits,
        looks: Logits,
        votes: Votes,
    ) -> ObjectAnswer:
        """Ask the decoder, and decide where the object is, if it is there at all."""
        config, coords = self.config, features.coords
        absent = ObjectAnswer(
            logits=np.full_like(looks, OUTSIDE), coords=coords, score=0.0, state="absent"
        )
        box = box_of(expected > 0, coords)
        if box is None:
            return absent
        answer = self._ask(features, box, expected)
        logits = expected + votes.of(answer.logits[0], config.decoder_limit)
        inside = logits > 0
        likeness = float(looks[inside].mean()) if inside.any() else -1.0
        score = float(answer.iou_pred[0])
        state: State = "present" if likeness >= config.present else "uncertain"
        if likeness < config.uncertain:
            return absent
        if memory.is_lost:
            is_back = state == "present" and score >= config.found_iou
            if not is_back or not self._fits(memory, np.array(inside.sum())):
                return absent
        return FeatureAnswer(logits=logits, coords=coords, score=score, state=state, looks=looks)


def only_within(window: tuple[slice, slice], expected: Logits) -> Logits:
    """Logits (S, S) in a window of rows and columns; outside of it there is nothing."""
    near = np.full_like(expected, OUTSIDE)
    near[window] = expected[window]
    return near


def sigmoid(values: Logits) -> Logits:
    """Logits to probabilities."""
    return np.asarray(1 / (1 + np.exp(-np.clip(values, -30, 30))), np.float32)


def logit(values: Logits) -> Logits:
    """Probabilities to logits."""
    inner = np.clip(values, 1e-4, 1 - 1e-4)
    return np.asarray(np.log(inner / (1 - inner)), np.float32)


def wrong_share(found: BoolArray, truth: BoolArray) -> float:
    """Share of the cells found near the truth (S, S each) that are wrong."""
    near = cv2.dilate(truth.astype(np.uint8), np.ones((2 * RING + 1, 2 * RING + 1), np.uint8)) > 0
    found = found & near
    return float(1 - truth[found].mean()) if found.any() else 0.0


def components(inside: BoolArray) -> tuple[npt.NDArray[np.int32], int, npt.NDArray[np.int32]]:
    """Connected regions: their labels (S, S), 0 outside; their number with 0; their areas."""
    number, labels, stats, _ = cv2.connectedComponentsWithStats(inside.astype(np.uint8))
    return np.asarray(labels), int(number), np.asarray(stats[:, cv2.CC_STAT_AREA])


def box_of(inside: BoolArray, coords: CoordMap) -> FloatArray | None:
    """Box in pixels of the frame around the regions of some size; None if nothing is inside."""
    labels, number, areas = components(inside)
    if number < 2:
        return None
    large = np.flatnonzero(areas[1:] >= SPECK * areas[1:].max()) + 1
    cells = cells_of(np.isin(labels, large))
    box: FloatArray = cells * coords.logits_stride / np.tile(coords.scale_xy, 2)
    return box
