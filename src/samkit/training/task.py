"""What is trained: a network with its loss, so that one loop trains them all."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from samkit.training.batch import Batch


class StepResult(NamedTuple):
    """What a step gives.

    Attributes:
        loss: scalar to be backpropagated, a mean over `Task.weight` things.
        parts: detached scalars to be logged, means over the same.
    """

    loss: Tensor
    parts: dict[str, Tensor]


class Task(nn.Module, ABC):
    """A network and the loss that it is trained with; all its parameters are in its state."""

    @abstractmethod
    def forward(self, batch: Batch, generator: torch.Generator) -> StepResult:
        """The loss of a batch.

        Args:
            batch: on the task's device.
            generator: on the same device; all random choices are drawn from it, but for those of
                layers such as drop path, which take torch's own.
        """

    @abstractmethod
    def export(self, path: Path) -> None:
        """Write what users load afterwards, as safetensors.

        Raises:
            OutputError: the file cannot be written.
        """

    def weight(self, batch: Batch) -> int:
        """How many things the loss of a batch is a mean over; by default its masks.

        Batches of several processes, or accumulated ones, count by it.
        """
        return len(batch.masks)

    def parameter_depths(self) -> dict[str, int]:
        """How deep in the network parameters are, from 0 at the input, for layer-wise decay.

        Parameters that are not named are at the output: their learning rate is not decayed.
        """
        return {}
