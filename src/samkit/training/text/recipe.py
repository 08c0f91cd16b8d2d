"""Recipes of `samkit pretrain` for a small CLIP from random weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from samkit.errors import ConfigError
from samkit.training.settings import OptimRecipe, RunRecipe, check_range

MIN_TEMPERATURE = 0.01  # as in OpenAI's CLIP


@dataclass(frozen=True, kw_only=True)
class ClipRecipe:
    """Settings of the training of a small CLIP from random weights.

    Attributes:
        image_size: side of its images, a multiple of `patch_size`.
        patch_size: side of a patch.
        vision_width, vision_layers: width and layers of the image transformer.
        text_width, text_layers: width and layers of the text transformer.
        dim: dimension of the common embedding space.
        heads: attention heads of both transformers.
        temperature: initial temperature of the softmax over cosines; at least 0.01, as afterwards.
        crops: number of crops in each batch of each process.
        train: data set whose masks have names; see `open_data`.
        val: data set to evaluate on.
        held_out_crops: number of crops in an evaluation.
        optim: optimiser and schedule.
        run: length, precision and hardware.
    """

    image_size: int = 48
    patch_size: int = 8
    vision_width: int = 128
    vision_layers: int = 4
    text_width: int = 64
    text_layers: int = 2
    dim: int = 64
    heads: int = 4
    temperature: float = 0.07
    crops: int = 128
    train: str = "named:count=20000,size=128,seed=0"
    val: str = "named:count=500,size=128,seed=1"
    held_out_crops: int = 512
    optim: OptimRecipe = field(default_factory=OptimRecipe)
    run: RunRecipe

    def __post_init__(self) -> None:
        for name in ("vision_layers", "text_layers", "dim", "crops", "held_out_crops"):
            check_range(name, getattr(self, name), 1)
        check_range("temperature", self.temperature, MIN_TEMPERATURE)
        if self.image_size % self.patch_size or self.image_size < self.patch_size:
            raise ConfigError(
                f"image_size must be a multiple of {self.patch_size}; got {self.image_size}"
            )
        for name in ("vision_width", "text_width"):
            if getattr(self, name) % self.heads:
                raise ConfigError(
                    f"{name} must be a multiple of {self.heads}; got {getattr(self, name)}"
                )


def clip_named() -> ClipRecipe:
    """A CLIP for synthetic scenes of named objects: a few minutes on two cores."""
    return ClipRecipe(
        optim=OptimRecipe(lr=1e-3, weight_decay=0.05, warmup_steps=50, schedule="cosine"),
        run=RunRecipe(steps=1700, evaluate_every=340, save_every=340),
    )


CLIP_RECIPES: Mapping[str, Callable[[], ClipRecipe]] = MappingProxyType({"clip_named": clip_named})
