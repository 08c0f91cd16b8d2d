"""The tracker of SAM 2: objects found again by what the model remembers of them.

Source: arXiv:2408.00714, section 4 and appendix D. Deviations: `MemoryPolicy`; pointers are
remembered over as many frames in short videos as in long ones, so that a stream gives the same as
a file; holes of a few pixels are not filled.

Shape legend: P objects, C channels, G side of the grid, S side of the model space, L side of the
mask logits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from samkit.arrays import BoolArray, Logits, RgbImage
from samkit.backends import ExportedBackend
from samkit.errors import ConfigError, WeightsError
from samkit.geometry import CoordMap
from samkit.models import (
    Memory,
    ObjectMasks,
    PromptTensors,
    RememberedFrame,
    RememberedPointer,
    Sam2,
)
from samkit.predict import Predictor
from samkit.types import Prompts
from samkit.video.interface import ObjectAnswer
from samkit.video.sam2_answer import Sam2Answer, Sam2Features, is_good, state_of
from samkit.video.sam2_choice import Choice, choose_by_motion, has_rival
from samkit.video.sam2_memory import (
    PLAIN,
    MemoryFrame,
    MemoryPolicy,
    ObjectMemory,
    ShownMemory,
)
from samkit.video.sam2_networks import ExportedNetworks, Sam2Networks, TorchNetworks
from samkit.video.sam2_pooling import blocks_with, pooling_for

NO_OBJECT_LOGIT = -1024.0  # of masks of absent objects
GIVEN_LOGIT = 10.0  # of masks that were given
CORRECTED_LOGIT = 32.0  # limit of the logits of a mask that is corrected
# Objects decoded together. On a CPU nothing is gained by more, and alone each object's answer has
# the same bits whatever the others are.
OBJECTS_AT_ONCE = {"cpu": 1}
MOST_AT_ONCE = 16


class Sam2Tracker:
    """Follows objects by a SAM 2; a `Tracker`.

    Attributes:
        predictor: its image encoder encodes frames.
        networks: memory and decoder, in PyTorch, or those of an exported folder.
        policy: rules of the memory.
        span: length of time over which pointers are remembered, in frames.
        num_blocks: number of blocks of pooled cells along a side of the grid.
    """

    def __init__(
        self, predictor: Predictor, policy: MemoryPolicy = PLAIN, *, span: int | None = None
    ) -> None:
        """Create a tracker.

        Args:
            predictor: a SAM 2.
            policy: rules of the memory.
            span: default: the model's; the original takes the length of shorter videos.

        Raises:
            WeightsError: the model has no networks for videos, or was exported without them.
            ConfigError: the policy pools blocks that do not fill the model's grid, or pools and
                the model was exported, or has a perceiver.
        """
        model = predictor.model
        if not isinstance(model, Sam2) or model.memory is None:
            raise WeightsError(
                f"{predictor.model_name} has no networks for videos: its file is of a model for"
                " images alone"
            )
        grid = model.config.encoder.grid_size
        if grid % policy.pooled_cells:
            raise ConfigError(
                f"pooled_cells must divide the {grid} cells along a side of the model's"
                f" grid; got {policy.pooled_cells}"
            )
        if policy.pooled_cells > 1 and model.memory.config.perceiver is not None:
            raise ConfigError(
                f"{predictor.model_name} remembers no cells that could be pooled: its perceiver"
                " sums up each frame; choose another policy"
            )
        self.predictor, self.policy = predictor, policy
        self.num_blocks = grid // policy.pooled_cells
        self.device = torch.device(predictor.backend.info.device)
        self.networks: Sam2Networks
        if isinstance(predictor.backend, ExportedBackend):
            if policy.pooled_cells > 1:
                raise ConfigError("exported networks do not pool: choose another policy")
            self.model, self.networks = model, ExportedNetworks(predictor.backend, model)
        else:
            is_lower = predictor.backend.info.precision == "bfloat16"
            networks = TorchNetworks(model, self.device, lower_memory=is_lower)
            self.model, self.networks = networks.model, networks
        self.span = model.memory.config.num_pointers if span is None else span

    @property
    def memory(self) -> Memory:
        """The networks for videos."""
        assert self.model.memory is not None
        return self.model.memory

    def describe(self) -> dict[str, Any]:
        """Name and settings, as JSON."""
        return {"name": "sam2", "span": self.span, **asdict(self.policy)}

    def coords(self, size_hw: tuple[int, int]) -> CoordMap:
        """The coordinate spaces of frames of a size."""
        return CoordMap.of(size_hw, self.model.image_spec)

    def encode(self, frame: RgbImage) -> Sam2Features:
        """Encode a frame."""
        embedding = self.predictor.encode(frame)
        return Sam2Features(
            embedding.features.to(self.device).float(), embedding.coords, self.model
        )

    def start(self) -> ObjectMemory:
        """The memory of a new object."""
        return ObjectMemory()

    @torch.no_grad()
    def prompt(
        self,
        features: Sam2Features,
        memory: ObjectMemory,
        index: int,
        prompts: Prompts,
        previous: Logits | None,
    ) -> Sam2Answer:
        """Answer one prompt of an object.

        In a frame that was not tracked yet the prompt speaks for itself; elsewhere it corrects what
        the memory finds. See `Tracker.prompt`.
        """
        if prompts.mask_logits is not None:
            return self._given(features, prompts.mask_logits[0, 0] > 0)
        tensors = self._tensors(features, prompts, previous)
        num_points = 0 if tensors.labels is None else tensors.labels.shape[1]
        multimask = tensors.boxes_xyxy is None and num_points <= 1
        grid, has_memory = features.features.grid, False
        if memory.was_tracked(index):
            shown = self._shown(memory, index)
            if shown.frames:
                grid, has_memory = self._recall(features, [shown]), True
        masks = self.networks.decode(
            features, grid, tensors, multimask=multimask, has_memory=has_memory
        )
        best = Choice(int(masks.iou_pred[0].argmax()))
        return self.answers(features, masks, [best])[0]

    @torch.no_grad()
    def track(
        self,
        features: Sam2Features,
        memories: Sequence[ObjectMemory],
        index: int,
        *,
        reverse: bool,
    ) -> list[ObjectAnswer]:
        """Find objects in a frame; see `Tracker.track`."""
        answers: dict[int, Sam2Answer] = {}
        for numbers, masks in self.candidates(features, memories, index, reverse=reverse):
            choices = [self._choose(masks, row, memories[n]) for row, n in enumerate(numbers)]
            answers |= dict(zip(numbers, self.answers(features, masks, choices), strict=True))
        return [answers[number] for number in range(len(memories))]

    def candidates(
        self,
        features: Sam2Features,
        memories: Sequence[ObjectMemory],
        index: int,
        *,
        reverse: bool,
    ) -> Iterator[tuple[list[int], ObjectMasks]]:
        """Decode a frame by some memories: groups of their numbers, and each group's candidates."""
        shown: list[ShownMemory] = []
        for memory in memories:
            if memory.reverse != reverse:
                memory.reverse, memory.motion = reverse, None
            shown.append(self._shown(memory, index))
        for numbers in self._together(shown):
            prompts = self._no_prompts(len(numbers))
            has_memory = bool(shown[numbers[0]].frames)
            grid = features.features.grid
            if has_memory:
                near = memories[numbers[0]].near_before(index)
                grid = self._recall(features, [shown[number] for number in numbers], near)
            masks = self.networks.decode(
                features, grid, prompts, multimask=True, has_memory=has_memory
            )
            yield numbers, masks

    @torch.no_grad()
    def memorise(
        self,
        features: Sam2Features,
        memory: ObjectMemory,
        index: int,
        answer: ObjectAnswer,
        *,
        prompted: bool,
        reverse: bool,
    ) -> None:
        """Put an answer into an object's memory; see `Tracker.memorise`."""
        if not prompted:
            memory.note_tracked(index, reverse=reverse)
            memory.motion = answer.motion if isinstance(answer, Sam2Answer) else None
        if not isinstance(answer, Sam2Answer):
            answer = self._given(features, answer.mask())
        is_present = answer.object_logit > self.policy.present_thresh
        if self.policy.num_anchors and not prompted and not is_present:
            return  # nothing is to be learned from a frame without the object
        size = self.model.config.image_size
        logits = torch.from_numpy(answer.logits).to(self.device)
        large = nn.functional.interpolate(logits[None, None], (size, size), mode="bilinear")
        present = torch.tensor([is_present], device=self.device)
        maps = self.networks.encode(features.features.grid, large, present, binarise=prompted)
        is_pooled = self.policy.pooled_cells > 1
        frame = MemoryFrame(
            map=maps.to(torch.bfloat16),
            pointer=answer.pointer,
            is_good=is_good(answer, self.policy),
            near=blocks_with(logits, self.num_blocks) if is_pooled else None,
        )
        if prompted and not self.policy.corrections_stick and memory.was_tracked(index):
            prompted = False
        memory.put(index, frame, self.memory.config, self.policy, prompted=prompted)
        if self.policy.num_anchors and not prompted:
            area = int((answer.logits > 0).sum())
            if answer.has_rival:
                memory.anchor(index, answer.score, area, self.policy)
            if area:
                memory.note_area(area)

    def release(self, memory: ObjectMemory, index: int | None = None) -> None:
        """Forget a confirmed frame, or, without an index, all that was tracked."""
        if index is None:
            memory.forget_tracked()
        else:
            memory.prompted.pop(index, None)

    def _shown(self, memory: ObjectMemory, index: int) -> ShownMemory:
        return ShownMemory(
            frames=memory.frames_for(index, self.memory.config, self.policy),
            pointers=memory.pointers_for(index, self.span),
        )

    def _together(self, shown: Sequence[ShownMemory]) -> list[list[int]]:
        """Groups of objects, by number, that are shown as much and decoded together."""
        alike: dict[object, list[int]] = {}
        for number, one in enumerate(shown):
            alike.setdefault(one.kind, []).append(number)
        most = OBJECTS_AT_ONCE.get(self.device.type, MOST_AT_ONCE)
        if self.policy.pooled_cells > 1:
            most = 1  # each object has tokens of its own
        return [
            numbers[start : start + most]
            for numbers in alike.values()
            for start in range(0, len(numbers), most)
        ]

    def _recall(
        self, features: Sam2Features, shown: Sequence[ShownMemory], near: Tensor | None = None
    ) -> Tensor:
        """What the memories of P objects make of a frame: (P, C, G, G).

        Args:
            features: of the frame.
            shown: of each memory.
            near: where the object was in the frame before, if the policy pools what is elsewhere.
        """
        frames = [
            RememberedFrame(torch.cat([frame.map for frame in same]).float(), same[0].steps)
            for same in zip(*(one.frames for one in shown), strict=True)
        ]
        pointers = [
            RememberedPointer(torch.cat([one.pointer for one in same]), same[0].distance)
            for same in zip(*(one.pointers for one in shown), strict=True)
        ]
        pooling = None
        if self.policy.pooled_cells > 1:
            pooling = pooling_for(shown[0].frames, near, self.policy.pooled_cells)
        return self.networks.recall(features, frames, pointers, span=self.span, pooling=pooling)

    def _choose(self, masks: ObjectMasks, row: int, memory: ObjectMemory) -> Choice:
        """Choose among an object's candidates."""
        iou_pred = masks.iou_pred[row].cpu().numpy()
        choice = Choice(int(iou_pred.argmax()))
        if self.policy.motion_weight == 0 and self.policy.num_anchors == 0:
            return choice
        seen = (masks.logits[row] > 0).cpu().numpy()
        seen &= bool(masks.object_logits[row] > self.policy.present_thresh)
        if self.policy.motion_weight > 0:
            choice = choose_by_motion(seen, iou_pred, memory.motion, self.policy.motion_weight)
        if self.policy.num_anchors > 0:
            choice = replace(choice, has_rival=has_rival(seen, choice.candidate))
        return choice

    def answers(
        self, features: Sam2Features, masks: ObjectMasks, choices: Sequence[Choice]
    ) -> list[Sam2Answer]:
        """The chosen candidate of each object, one choice for each."""
        rows = torch.arange(len(choices), device=self.device)
        chosen = torch.tensor([choice.candidate for choice in choices], device=self.device)
        is_present = masks.object_logits > self.policy.present_thresh
        logits = masks.logits[rows, chosen]
        logits = torch.where(is_present[:, None, None], logits, NO_OBJECT_LOGIT)
        pointers = self.networks.point(masks.mask_tokens[rows, chosen], is_present)
        scores = masks.iou_pred[rows, chosen].tolist()
        return [
            Sam2Answer(
                logits=logits[row].cpu().numpy(),
                coords=features.coords,
                score=score,
                state=state_of(logit - self.policy.present_thresh, score),
                object_logit=logit,
                pointer=pointers[row : row + 1],
                motion=choices[row].motion,
                motion_iou=choices[row].motion_iou,
                has_rival=choices[row].has_rival,
            )
            for row, (score, logit) in enumerate(
                zip(scores, masks.object_logits.tolist(), strict=True)
            )
        ]

    def _given(self, features: Sam2Features, mask: BoolArray) -> Sam2Answer:
        """The answer to a mask (H, W) is the mask itself; the decoder only points at the object."""
        size = self.model.config.image_size
        given = torch.from_numpy(np.ascontiguousarray(mask, np.float32)).to(self.device)[None, None]
        if given.shape[-2:] != (size, size):
            given = nn.functional.interpolate(given, (size, size), mode="bilinear", antialias=True)
            given = (given >= 0.5).float()
        stride = features.coords.logits_stride
        logits = nn.functional.interpolate(
            (2 * given - 1) * GIVEN_LOGIT,
            (size // stride, size // stride),
            mode="bilinear",
            antialias=True,
        )
        prompts = self._no_prompts(1)._replace(mask_logits=self.networks.mask_prompt(given))
        # The frame as it is, even without the mark that it was seen without memory.
        masks = self.networks.decode(
            features, features.features.grid, prompts, multimask=False, has_memory=True
        )
        is_present = given.flatten(1).any(1)
        appears = is_present & (masks.object_logits > self.policy.present_thresh)
        pointer = self.networks.point(masks.mask_tokens[:, 0], appears)
        is_there = bool(is_present)
        return Sam2Answer(
            logits=logits[0, 0].cpu().numpy(),
            coords=features.coords,
            score=1.0,
            state="present" if is_there else "absent",
            exact=np.asarray(mask, bool),
            object_logit=GIVEN_LOGIT if is_there else -GIVEN_LOGIT,
            pointer=pointer,
        )

    def _no_prompts(self, count: int) -> PromptTensors:
        """Prompts of objects that are only tracked: one padding point each."""
        return PromptTensors(
            points_xy=torch.zeros(count, 1, 2, device=self.device),
            labels=torch.full((count, 1), -1, device=self.device),
        )

    def _tensors(
        self, features: Sam2Features, prompts: Prompts, previous: Logits | None
    ) -> PromptTensors:
        """Prompts in the model space, with the mask that they correct."""
        coords = features.coords

        def tensor(array: npt.NDArray[Any] | None) -> Tensor | None:
            if array is None:
                return None
            return torch.as_tensor(array, dtype=torch.float32, device=self.device)

        points, boxes = prompts.points_xy, prompts.boxes_xyxy
        corrected = tensor(previous)
        if corrected is not None:
            corrected = corrected.clamp(-CORRECTED_LOGIT, CORRECTED_LOGIT)[None, None]
        return PromptTensors(
            points_xy=tensor(None if points is None else coords.points_to_model(points)),
            labels=tensor(prompts.labels),
            boxes_xyxy=tensor(None if boxes is None else coords.boxes_to_model(boxes)),
            mask_logits=corrected,
        )
