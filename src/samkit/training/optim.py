"""Optimisers (AdamW or Muon) with layer-wise learning rates, and the learning-rate schedule."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from samkit.training.settings import OptimRecipe

RMS_OF_ADAMW = 0.2  # of the elements of an update; source: arXiv:2502.16982, section 2.2


def parameter_groups(
    module: nn.Module, depths: Mapping[str, int], recipe: OptimRecipe
) -> list[dict[str, object]]:
    """Group trainable parameters by learning rate and weight decay.

    Args:
        module: the network; parameters without gradients are left out.
        depths: depth of parameters by name, from 0 at the input; see `Task.parameter_depths`.
        recipe: learning rate, weight decay and layer decay.

    Returns:
        groups for a torch optimiser, in an order that depends only on the module.
    """
    output = max(depths.values(), default=0) + 1
    groups: dict[tuple[float, float, bool], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        scale = recipe.layer_decay ** (output - depths.get(name, output))
        decay = 0.0 if _is_undecayed(name, parameter) else recipe.weight_decay
        is_matrix = recipe.method == "muon" and _is_matrix(name, parameter)
        groups.setdefault((scale, decay, is_matrix), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": recipe.lr * scale,
            "weight_decay": decay,
            "is_matrix": is_matrix,
        }
        for (scale, decay, is_matrix), parameters in groups.items()
    ]


# Tokens and position embeddings, which weight decay would pull to zero for no reason; they are
# tables of vectors, no matrices. Patch embeddings are layers.
UNDECAYED = re.compile(
    r"pos_embed|rel_pos_[hw]|(iou|mask|obj_score)_tokens?\.weight|maskmem_tpos_enc|no_(mem|obj)_"
    r"|(?<!patch)_embed(ding)?\.weight"
    r"|point_embeddings|attention_bias"
)


def _is_undecayed(name: str, parameter: nn.Parameter) -> bool:
    return parameter.ndim < 2 or UNDECAYED.search(name) is not None


def _is_matrix(name: str, parameter: nn.Parameter) -> bool:
    """Whether a parameter is the weight of a linear layer."""
    return parameter.ndim == 2 and not _is_undecayed(name, parameter)


def rate_factor(step: int, steps: int, recipe: OptimRecipe) -> float:
    """Factor of the learning rate at a step, counted from 0, of `steps`."""
    if step < recipe.warmup_steps:
        return (step + 1) / recipe.warmup_steps
    if recipe.schedule == "cosine":
        part = (step - recipe.warmup_steps) / max(1, steps - recipe.warmup_steps)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, part)))
    passed = sum(step >= milestone for milestone in recipe.milestones)
    return recipe.decay_factor**passed


class Muon(torch.optim.Muon):
    """torch's Muon, which on a CPU orthogonalises in float32.

    torch's own always does so in bfloat16, which takes ten times as long on processors without it:
    of a small network, longer than the rest of a training step.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update the weights; closures are not supported."""
        assert closure is None
        for group in self.param_groups:
            # Those of torch's defaults that no recipe changes.
            assert group["nesterov"]
            assert group["adjust_lr_fn"] == "match_rms_adamw"
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)

    def _update(self, parameter: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        state, inertia = self.state[parameter], group["momentum"]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(grad)
        momentum = state["momentum_buffer"].lerp_(grad, 1 - inertia)
        update = orthogonalised(
            grad.lerp(momentum, inertia), group["ns_coefficients"], group["ns_steps"], group["eps"]
        )
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        rate = group["lr"] * RMS_OF_ADAMW * math.sqrt(max(parameter.shape))
        parameter.add_(update, alpha=-rate)


def orthogonalised(
    matrix: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float
) -> Tensor:
    """Pull all singular values of a matrix near 1, by Newton-Schulz iterations.

    Source: arXiv:2502.16982, section 2.1.
    """
    a, b, c = coefficients
    x = matrix if matrix.device.type == "cpu" else matrix.bfloat16()
    is_tall = len(x) > x.shape[1]
    x = x.T if is_tall else x
    x = x / x.norm().clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    result: Tensor = x.T if is_tall else x
    return result


class MuonWithAdamW(torch.optim.Optimizer):
    """Muon for matrices and AdamW for everything else, as one optimiser.

    Muon orthogonalises the momentum of a matrix before applying it. Its step is scaled to the size
    of AdamW's, so that both share a learning rate. Source: arXiv:2502.16982.
    """

    def __init__(self, groups: list[dict[str, Any]], betas: tuple[float, float]) -> None:
        """Make both parts from groups of `parameter_groups`, which must contain both kinds."""
        matrices = [group for group in groups if group["is_matrix"]]
        others = [group for group in groups if not group["is_matrix"]]
        self._parts = (
            Muon(matrices, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(others, betas=betas),
        )
        super().__init__([*matrices, *others], defaults={})
        self._share_groups()

    def _share_groups(self) -> None:
        """Expose the groups of both parts, through which a schedule changes their rates."""
        self.param_groups = [group for part in self._parts for group in part.param_groups]

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update the weights; closures are not supported."""
        assert closure is None
        for part in self._parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        return {"parts": [part.state_dict() for part in self._parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for part, state in zip(self._parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self._share_groups()


def make_optimiser(
    module: nn.Module, depths: Mapping[str, int], recipe: OptimRecipe, *, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LambdaLR]:
    """Make an optimiser of the trainable parameters, and its schedule."""
    groups = parameter_groups(module, depths, recipe)
    optimiser: torch.optim.Optimizer
    if recipe.method == "muon":
        optimiser = MuonWithAdamW(groups, recipe.betas)
    else:
        optimiser = torch.optim.AdamW(groups, lr=recipe.lr, betas=recipe.betas)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: rate_factor(step, steps, recipe)
    )
    return optimiser, schedule
