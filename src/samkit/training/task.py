"""Interfaces of the training loop: tasks (a network with its loss), loaders and batches.

Shape legend: B images, M masks, S side of the model space, T side of the target space, C channels,
G side of the embedding grid, D dimensions of CLIP's space.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar

import torch
from torch import Tensor, nn


class GivenTensors(NamedTuple):
    """Prompts that people gave for M masks, in the model space; NaN where they gave none.

    Attributes:
        boxes_xyxy: (M, 4), first prompts.
        first_xy: (M, 2), first prompts of masks that began with a click.
        points_xy: (M, N, 2), corrections in their order.
        labels: (M, N), of the corrections: 1 foreground, 0 background, -1 for none.
    """

    boxes_xyxy: Tensor
    first_xy: Tensor
    points_xy: Tensor
    labels: Tensor


@dataclass(kw_only=True, eq=False)  # not frozen: Lightning's mixed precision casts its fields
class Batch:
    """Images with their masks.

    The target space is the model space at another resolution: a side from 256, the logits' size,
    for training on a CPU, up to the full 1024.

    Attributes:
        pixels: (B, 3, S, S) float32, normalised and padded; None if there are `features`.
        features: (B, C, G, G) float32 embeddings from a cache, instead of pixels; else None.
        finer: their finer levels (B, C_i, G_i, G_i), finest first, if the model has any.
        masks: (M, T, T) bool, none of them empty; masks of one image are adjacent.
        ignored: (B, T, T) bool, cells without ground truth: padding and void pixels, of which no
            mask has any; None if all count.
        image_index: (M,) int64, the image of each mask, ascending.
        keys: names of the images in their data set.
        phrases: name of each mask; empty if the data set has none.
        text_embeds: (M, D) float32 CLIP embeddings of a crop of each mask; NaN for masks without.
        given: prompts that people gave for the masks; None if nobody knows of any.
        rejected: (J, T, T) bool, where people rejected masks and made no other: a click there asks
            for nothing. None without any; never empty.
        rejected_truths: (J, T, T) bool, masks that people made in place of these; may be empty.
        rejected_index: (J,) int64, the image of each.
        num_frames: F, length of the clips that the images are frames of, one clip after another.
            Of clips, `masks` are those of one object in its F frames, then those of the next one;
            where it is absent they are empty, but never in the first frame.
    """

    pixels: Tensor | None
    features: Tensor | None
    masks: Tensor
    image_index: Tensor
    keys: tuple[str, ...]
    phrases: tuple[str, ...] = ()
    text_embeds: Tensor | None = None
    ignored: Tensor | None = None
    given: GivenTensors | None = None
    rejected: Tensor | None = None
    rejected_truths: Tensor | None = None
    rejected_index: Tensor | None = None
    finer: tuple[Tensor, ...] = ()
    num_frames: int = 1

    def to(self, device: torch.device) -> "Batch":
        """Copy to a device."""

        def moved(tensor: Tensor) -> Tensor:
            return tensor.to(device, non_blocking=True)

        def moved_or_none(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else moved(tensor)

        return replace(
            self,
            pixels=moved_or_none(self.pixels),
            features=moved_or_none(self.features),
            finer=tuple(moved(level) for level in self.finer),
            text_embeds=moved_or_none(self.text_embeds),
            given=None if self.given is None else GivenTensors(*map(moved, self.given)),
            masks=moved(self.masks),
            ignored=moved_or_none(self.ignored),
            rejected=moved_or_none(self.rejected),
            rejected_truths=moved_or_none(self.rejected_truths),
            rejected_index=moved_or_none(self.rejected_index),
            image_index=moved(self.image_index),
        )


class Loader(Protocol):
    """An endless iterator of batches whose position can be saved."""

    def __iter__(self) -> Iterator[Batch]: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class StepResult(NamedTuple):
    """Result of a forward pass.

    Attributes:
        loss: scalar to backpropagate, a mean over `Task.weight` items.
        parts: detached scalars to log, means over the same items.
    """

    loss: Tensor
    parts: dict[str, Tensor]


class Task(nn.Module, ABC):
    """A network and its training loss; all its parameters are in its state dict."""

    @abstractmethod
    def forward(self, batch: Batch, generator: torch.Generator) -> StepResult:
        """Compute the loss of a batch.

        Args:
            batch: batch on the task's device.
            generator: random generator on the same device; the source of all randomness except for
                layers such as drop path, which use torch's global generator.
        """

    @abstractmethod
    def export(self, path: Path) -> None:
        """Write the trained weights as safetensors, for use outside of the training.

        Raises:
            OutputError: the file cannot be written.
        """

    def constrain(self) -> None:
        """Put parameters back into their allowed range; called after each optimiser step."""

    def weight(self, batch: Batch) -> int:
        """Return the number of items that a batch's loss is a mean over, by default its masks.

        It weights the batches of several processes, and accumulated ones.
        """
        return len(batch.masks)

    def parameter_depths(self) -> dict[str, int]:
        """Return the depth of parameters in the network, from 0 at the input, for layer-wise decay.

        Parameters that are not listed count as the output: their learning rate is not decayed.
        """
        return {}


TaskT = TypeVar("TaskT", bound=Task)
# Scores of a task, higher is better; the first one chooses the best weights.
Evaluate: TypeAlias = Callable[[TaskT], Mapping[str, float]]
# Called with the evaluated task and the number of steps.
OnEvaluation: TypeAlias = Callable[[TaskT, int], None]
