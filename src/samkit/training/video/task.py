"""Training task of SAM 2: objects are shown in a clip, followed through it, and corrected.

Source: arXiv:2408.00714, section 4 and appendix D.2. Deviations: the loss is the mean over all
answers, where the paper adds them up; masks of objects that are found to be absent are trained as
they are, and emptied for the memory alone.

Shape legend: F frames, P objects of all clips, M candidates, T side of the target space,
C channels, L side of mask logits.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from samkit.errors import WeightsError
from samkit.models import ImageFeatures, Memory, ObjectMasks, PosEncProjections, PromptTensors, Sam2
from samkit.training.sam.task import in_float32, to_target_size
from samkit.training.sam.trainable import Trainable
from samkit.training.task import Batch, StepResult, Task
from samkit.training.video.losses import ObjectLosses, mean_losses, object_losses
from samkit.training.video.prompts import (
    Plan,
    add_correction,
    draw_plan,
    first_prompts,
)
from samkit.training.video.recipe import VideoSessionRecipe
from samkit.video import (
    CORRECTED_LOGIT,
    GIVEN_LOGIT,
    NO_OBJECT_LOGIT,
    PUBLISHED,
    MemoryFrame,
    ObjectMemory,
)


class VideoTask(Task):
    """A SAM 2 and the loss of what it answers in clips.

    Attributes:
        trainable: the network with its trainable parts, to which the memory always belongs.
        recipe: settings of prompts and losses.
    """

    def __init__(self, trainable: Trainable, recipe: VideoSessionRecipe) -> None:
        """Create the task.

        Raises:
            WeightsError: the network has no memory.
        """
        super().__init__()
        if not isinstance(trainable.sam, Sam2) or trainable.sam.memory is None:
            raise WeightsError(
                f"{trainable.recipe.weights} has no networks for videos: it is of a model for"
                " images alone"
            )
        self.trainable, self.recipe = trainable, recipe
        for part in trainable.sam.video_parts:
            part.requires_grad_(True)

    @property
    def sam(self) -> Sam2:
        """The network."""
        sam = self.trainable.sam
        assert isinstance(sam, Sam2)
        return sam

    def forward(self, batch: Batch, generator: torch.Generator) -> StepResult:
        encoded = self.trainable.encode(batch)
        truth = batch.masks.view(-1, batch.num_frames, *batch.masks.shape[1:])  # (P, F, T, T)
        plan = draw_plan(truth, self.recipe.prompts, generator)
        with in_float32(encoded.grid):
            positions = self.sam.prompt_encoder.grid_positions()
        followed = _Clips(
            self,
            encoded,
            batch.image_index.view(-1, batch.num_frames)[:, 0],
            truth,
            self.sam.mask_decoder.project_pos_enc(positions),
            generator,
        )
        for index in plan.shown:
            followed.show(index, plan)
        for index in range(batch.num_frames):
            if index not in plan.shown:
                followed.track(index, plan)
        loss, parts = mean_losses(followed.losses)
        return StepResult(loss, parts)

    def export(self, path: Path) -> None:
        """Write a SAM 2 checkpoint."""
        self.trainable.export(path)

    def parameter_depths(self) -> dict[str, int]:
        return {f"trainable.{k}": v for k, v in self.trainable.parameter_depths().items()}


class _Clips:
    """Clips in which objects are followed, frame after frame, all together.

    Attributes:
        losses: of all answers so far.
    """

    def __init__(  # noqa: PLR0917 - of one step
        self,
        task: VideoTask,
        encoded: ImageFeatures,
        first_image: Tensor,
        truth: Tensor,
        pos_enc: PosEncProjections,
        generator: torch.Generator,
    ) -> None:
        """Begin at the first frames; `first_image` (P,) is each object's."""
        self.sam, self.recipe = task.sam, task.recipe
        self.encoded, self.first_image, self.truth = encoded, first_image, truth
        self.pos_enc, self.generator = pos_enc, generator
        self.bank = ObjectMemory()  # of all objects at once
        self.losses: list[ObjectLosses] = []

    @property
    def memory(self) -> Memory:
        """The networks for videos."""
        assert self.sam.memory is not None
        return self.sam.memory

    def show(self, index: int, plan: Plan) -> None:
        """Show the objects in a frame, without memory of others."""
        frame = self._frame(index)
        if plan.kind == "mask":
            self._show_masks(frame)
            return
        prompts = first_prompts(
            self.truth[:, index],
            plan.kind,
            self.sam.config.image_size,
            self.recipe.prompts,
            self.generator,
        )
        masks = self._answer(frame, frame.features.grid, prompts, has_memory=False)
        if index in plan.corrected:
            masks = self._correct(frame, frame.features.grid, prompts, masks, has_memory=False)
        self._memorise(frame, masks, prompted=True)

    def track(self, index: int, plan: Plan) -> None:
        """Find the objects in a frame by the memory of others."""
        frame = self._frame(index)
        config = self.memory.config
        begun = self.memory.attention.begin(frame.features.grid)
        grid = self.memory.recall(
            begun,
            self.bank.frames_for(index, config, PUBLISHED),
            self.bank.pointers_for(index, config.num_pointers),
            span=config.num_pointers,
        )
        count = len(self.truth)
        nothing = PromptTensors(
            points_xy=grid.new_zeros(count, 1, 2, dtype=torch.float32),
            labels=torch.full((count, 1), -1, device=grid.device),
        )
        masks = self._answer(frame, grid, nothing, has_memory=True)
        if index in plan.corrected:
            masks = self._correct(frame, grid, PromptTensors(), masks, has_memory=True)
        self._memorise(frame, masks, prompted=index in plan.corrected)

    def _frame(self, index: int) -> _Frame:
        """A frame of each object's clip."""
        features = self.encoded.rows(self.first_image + index)
        return _Frame(index, features, self.sam.finer_tokens(features))

    def _show_masks(self, frame: _Frame) -> None:
        """Show the true masks themselves; the decoder only points at the objects."""
        truth, size = self.truth[:, frame.index, None].float(), self.sam.config.image_size
        given = truth
        if truth.shape[-1] != size:
            given = nn.functional.interpolate(truth, (size, size), mode="bilinear")
            given = (given >= 0.5).float()
        is_there = truth.flatten(1).any(1)
        prompts = PromptTensors(
            points_xy=given.new_zeros(len(given), 1, 2),
            labels=torch.full((len(given), 1), -1, device=given.device),
            mask_logits=self.memory.mask_downsample(given).float(),
        )
        # The frame as it is, even without the mark that it was seen without memory.
        masks = self._decode(frame, frame.features.grid, prompts, multimask=False, has_memory=True)
        appears = is_there & (masks.object_logits > 0)
        self._put(
            frame,
            (2 * given - 1) * GIVEN_LOGIT,
            is_there,
            self.memory.point(masks.mask_tokens[:, 0], appears),
            prompted=True,
        )

    def _correct(
        self,
        frame: _Frame,
        grid: Tensor,
        prompts: PromptTensors,
        masks: ObjectMasks,
        *,
        has_memory: bool,
    ) -> ObjectMasks:
        """Correct the answer of a frame by clicks, one after another."""
        truth = self.truth[:, frame.index]
        for _ in range(self.recipe.prompts.corrections):
            previous = self._chosen(masks)[0].detach()[:, None].float()
            predicted = to_target_size(previous, truth.shape[-1])[:, 0] > 0
            prompts = add_correction(
                prompts,
                truth,
                predicted,
                self.sam.config.image_size,
                self.recipe.prompts,
                self.generator,
            )
            limited = previous.clamp(-CORRECTED_LOGIT, CORRECTED_LOGIT)
            masks = self._answer(
                frame, grid, prompts._replace(mask_logits=limited), has_memory=has_memory
            )
        return masks

    def _answer(
        self, frame: _Frame, grid: Tensor, prompts: PromptTensors, *, has_memory: bool
    ) -> ObjectMasks:
        """Answer prompts, and note the loss of the answer."""
        num_points = 0 if prompts.labels is None else prompts.labels.shape[1]
        multimask = prompts.boxes_xyxy is None and num_points <= 1
        masks = self._decode(frame, grid, prompts, multimask=multimask, has_memory=has_memory)
        truth = self.truth[:, frame.index]
        is_recalled = has_memory and prompts.mask_logits is None
        self.losses.append(
            object_losses(
                to_target_size(masks.logits, truth.shape[-1]),
                masks.iou_pred,
                masks.object_logits,
                truth,
                self.recipe.loss,
                others=self.recipe.loss.others if is_recalled else 0.0,
            )
        )
        return masks

    def _decode(
        self,
        frame: _Frame,
        grid: Tensor,
        prompts: PromptTensors,
        *,
        multimask: bool,
        has_memory: bool,
    ) -> ObjectMasks:
        return self.sam.decode_objects(
            grid,
            frame.finer,
            prompts,
            multimask=multimask,
            has_memory=has_memory,
            pos_enc=self.pos_enc,
        )

    def _chosen(self, masks: ObjectMasks) -> tuple[Tensor, Tensor]:
        """Logits (P, L, L) and tokens (P, C) of the candidates with the highest predicted IoU."""
        rows = torch.arange(len(masks.logits), device=masks.logits.device)
        best = masks.iou_pred.argmax(1)
        return masks.logits[rows, best], masks.mask_tokens[rows, best]

    def _memorise(self, frame: _Frame, masks: ObjectMasks, *, prompted: bool) -> None:
        logits, tokens = self._chosen(masks)
        is_there = masks.object_logits > 0
        size = self.sam.config.image_size
        large = nn.functional.interpolate(logits[:, None].float(), (size, size), mode="bilinear")
        large = torch.where(is_there[:, None, None, None], large, NO_OBJECT_LOGIT)
        pointer = self.memory.point(tokens, is_there)
        self._put(frame, large, is_there, pointer, prompted=prompted)

    def _put(
        self,
        frame: _Frame,
        mask_logits: Tensor,
        is_there: Tensor,
        pointer: Tensor,
        *,
        prompted: bool,
    ) -> None:
        # Not binarised even where it was prompted, so that the memory teaches the mask.
        maps = self.memory.encode(frame.features.grid, mask_logits, is_there, binarise=False)
        self.bank.put(
            frame.index,
            MemoryFrame(map=maps, pointer=pointer),
            self.memory.config,
            PUBLISHED,
            prompted=prompted,
        )


@dataclass(frozen=True, eq=False)
class _Frame:
    """A frame of each object's clip.

    Attributes:
        index: in the clips.
        features: (P, ...) each.
        finer: tokens of the finer levels.
    """

    index: int
    features: ImageFeatures
    finer: tuple[Tensor, ...]
