"""AdamW with layer-wise learning rates, and the schedule."""

import math
import re
from collections.abc import Mapping

import torch
from torch import nn

from samkit.training.recipe import OptimRecipe


def parameter_groups(
    module: nn.Module, depths: Mapping[str, int], recipe: OptimRecipe
) -> list[dict[str, object]]:
    """Parameters that learn, by learning rate and weight decay.

    Args:
        module: whose parameters; those that need no gradient are left out.
        depths: of parameters by name, from 0 at the input; see `Task.parameter_depths`.
        recipe: rate, decay, layer decay.

    Returns:
        groups for a torch optimiser, in an order that only depends on the module.
    """
    output = max(depths.values(), default=0) + 1
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        scale = recipe.layer_decay ** (output - depths.get(name, output))
        groups.setdefault((scale, _weight_decay(name, parameter, recipe)), []).append(parameter)
    return [
        {"params": parameters, "lr": recipe.lr * scale, "weight_decay": decay}
        for (scale, decay), parameters in groups.items()
    ]


# Tokens and position embeddings: places, not directions, which have no reason to be small.
UNDECAYED = re.compile(
    r"pos_embed|rel_pos_[hw]|(iou|mask)_tokens?\.weight|_embed\.weight|point_embeddings|attention_bias"
)


def _weight_decay(name: str, parameter: nn.Parameter, recipe: OptimRecipe) -> float:
    is_place = UNDECAYED.search(name) is not None
    return 0.0 if parameter.ndim < 2 or is_place else recipe.weight_decay


def rate_factor(step: int, steps: int, recipe: OptimRecipe) -> float:
    """What the learning rate is multiplied with at a step, counted from 0, of `steps`."""
    if step < recipe.warmup_steps:
        return (step + 1) / recipe.warmup_steps
    if recipe.schedule == "cosine":
        part = (step - recipe.warmup_steps) / max(1, steps - recipe.warmup_steps)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, part)))
    passed = sum(step >= milestone for milestone in recipe.milestones)
    return recipe.decay_factor**passed


def make_optimiser(
    module: nn.Module, depths: Mapping[str, int], recipe: OptimRecipe, *, steps: int
) -> tuple[torch.optim.AdamW, torch.optim.lr_scheduler.LambdaLR]:
    """AdamW over the parameters that learn, and its schedule."""
    groups = parameter_groups(module, depths, recipe)
    optimiser = torch.optim.AdamW(groups, lr=recipe.lr, betas=recipe.betas)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: rate_factor(step, steps, recipe)
    )
    return optimiser, schedule
