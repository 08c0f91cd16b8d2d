"""Exponential moving average of trainable weights."""

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class WeightAverage(AveragedModel):
    """A copy of a module with the moving average of its trainable weights.

    Frozen weights stay bit-identical: averaging would turn -0.0 into +0.0. The state dict is that
    of torch's `AveragedModel`.
    """

    def __init__(self, module: nn.Module, *, decay: float, device: torch.device) -> None:
        """Copy a module.

        Args:
            module: the module in training.
            decay: weight of the old average in each update, between 0 and 1.
            device: device of the copy.
        """
        super().__init__(module, device=device)
        self._move = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Move the average towards a module's weights; the first update copies them."""
        pairs = [
            (own.detach(), current.detach().to(own.device))
            for own, current in zip(self.module.parameters(), model.parameters(), strict=True)
            if current.requires_grad
        ]
        if self.n_averaged == 0:
            for own, current in pairs:
                own.copy_(current)
        elif pairs:
            owns, currents = map(list, zip(*pairs, strict=True))
            self._move(owns, currents, self.n_averaged)
        for own, current in zip(self.module.buffers(), model.buffers(), strict=True):
            own.copy_(current)
        self.n_averaged += 1
