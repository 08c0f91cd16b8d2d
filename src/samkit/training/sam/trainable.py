"""SAM with trainable and frozen parts: everything, the decoder, or LoRA."""

import copy
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from samkit.errors import ConfigError, WeightsError
from samkit.files import write_tensors
from samkit.models import CONFIGS, ImageFeatures, Sam, build_sam, checkpoint_blocks
from samkit.training.encoder_weights import load_encoder
from samkit.training.sam.lora import add_lora, merge_lora, read_corrections
from samkit.training.task import Batch
from samkit.weights import TextEncoder, load_model, model_config, save_checkpoint

Parts = Literal["all", "decoder", "lora"]
PARTS: tuple[Parts, ...] = ("all", "decoder", "lora")
BLOCK = re.compile(r"(layers\.\d+\.|trunk\.(stages\.\d+\.)?)?blocks\.\d+\.")


@dataclass(frozen=True, kw_only=True)
class ModelRecipe:
    """Network, initial weights and trainable parts.

    Attributes:
        config: architecture, a name in `samkit.models.CONFIGS`.
        weights: initial weights, a model's name or a checkpoint; None for random weights.
        encoder_weights: a checkpoint of `samkit pretrain`, or a published MAE checkpoint, for the
            image encoder; None uses the encoder of `weights`.
        text_encoder: a CLIP for text prompts, by folder or name on the hub: the prompt encoder gets
            a projection of its embeddings. None uses the CLIP of `weights`; published weights have
            none.
        learns: "all"; "decoder" with the prompt encoder, while the image encoder is frozen and not
            needed for cached embeddings; or "lora", which adds low-rank corrections to the image
            encoder.
        drop_path: rate of stochastic depth in the last block of the image encoder.
        lora_rank: rank of the corrections.
        lora_alpha: corrections are multiplied by alpha / rank.
        checkpoint_encoder: recompute each block in the backward pass: less memory, a third more
            time.
    """

    config: str = "mobile_sam"
    weights: str | None = "mobile_sam"
    encoder_weights: str | None = None
    text_encoder: str | None = None
    learns: Parts = "decoder"
    drop_path: float = 0.0
    lora_rank: int = 8
    lora_alpha: float = 16.0
    checkpoint_encoder: bool = False

    def __post_init__(self) -> None:
        if self.config not in CONFIGS:
            raise ConfigError(f"unknown model {self.config!r}; known are {', '.join(CONFIGS)}")
        if self.learns not in PARTS:
            raise ConfigError(f"learns must be one of {', '.join(PARTS)}; got {self.learns!r}")
        if not 0 <= self.drop_path < 1:
            raise ConfigError(f"drop_path must be at least 0 and less than 1; got {self.drop_path}")


class Trainable(nn.Module):
    """A SAM with its trainable parts.

    If the image encoder has initial weights, its batch norms keep their statistics, which small
    batches would spoil; in the embedded MobileSAM they are folded into the layers before.

    Attributes:
        sam: the network; with LoRA, its image encoder contains the corrections.
        recipe: its settings.
        text_encoder: the CLIP of its text prompts; None if it has none.
    """

    def __init__(
        self, sam: Sam, recipe: ModelRecipe, text_encoder: TextEncoder | None = None
    ) -> None:
        super().__init__()
        self.sam = sam
        self.recipe = recipe
        self.text_encoder = text_encoder
        for part in sam.video_parts:  # no image teaches them
            part.requires_grad_(False)
        if recipe.learns != "all":
            sam.image_encoder.requires_grad_(False)
        if recipe.learns == "lora":
            add_lora(sam.image_encoder, rank=recipe.lora_rank, alpha=recipe.lora_alpha)

    @property
    def encoder_learns(self) -> bool:
        """Whether the image encoder has trainable parameters."""
        return self.recipe.learns != "decoder"

    def train(self, mode: bool = True) -> "Trainable":  # noqa: FBT001, FBT002
        """Switch to training mode, except frozen parts."""
        super().train(mode)
        if not self.encoder_learns:
            self.sam.image_encoder.eval()
        if self.recipe.weights is not None or self.recipe.encoder_weights is not None:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    def encode(self, batch: Batch) -> ImageFeatures:
        """Features of a batch's images: its cached embeddings where it has them."""
        if batch.features is not None:
            if self.encoder_learns:
                raise ConfigError(
                    "cached embeddings cannot train the image encoder: learns must be 'decoder'"
                )
            return ImageFeatures((*batch.finer, batch.features))
        assert batch.pixels is not None
        with torch.set_grad_enabled(self.encoder_learns and torch.is_grad_enabled()):
            return self.sam.encode(batch.pixels)

    def export(self, path: Path) -> None:
        """Write a plain SAM checkpoint: corrections are merged into the weights they correct.

        They are also written on their own, beside it; see `corrections_file`.

        Raises:
            OutputError: a file cannot be written.
        """
        sam = self.sam
        if self.recipe.learns == "lora":
            write_tensors(corrections_file(path), read_corrections(sam.image_encoder), {})
            sam = copy.deepcopy(sam)
            merge_lora(sam.image_encoder)
        save_checkpoint(sam, path, name=self.recipe.config, text_encoder=self.text_encoder)

    def parameter_depths(self) -> dict[str, int]:
        """Return the depth of the image encoder's parameters by name."""
        prefix = "sam.image_encoder."
        depths = encoder_depths(self.sam.image_encoder)
        return {prefix + name: depth for name, depth in depths.items()}


def corrections_file(path: Path) -> Path:
    """The file of the corrections that are merged into an exported checkpoint."""
    return path.with_suffix(".lora.safetensors")


def build_trainable(recipe: ModelRecipe, text_encoder: TextEncoder | None = None) -> Trainable:
    """Build the network of a recipe; random weights come from torch's global generator.

    Args:
        text_encoder: the CLIP that `recipe.text_encoder` names; None uses that of the weights.

    Raises:
        WeightsError: the weights are missing or damaged, do not fit, or are for another CLIP.
    """
    loaded = None
    if recipe.weights is not None:
        loaded = load_model(recipe.weights, name=recipe.config)
        known = loaded.text_encoder
        if text_encoder is None:
            text_encoder = known
        elif known is not None and known.fingerprint != text_encoder.fingerprint:
            raise WeightsError(
                f"{recipe.weights} has text prompts of the CLIP {known.source}"
                f" ({known.fingerprint[:12]}), not of {text_encoder.source}"
                f" ({text_encoder.fingerprint[:12]})"
            )
    config = model_config(recipe.config) if loaded is None else loaded.model.config
    sam = build_sam(
        replace(
            config,
            encoder=replace(config.encoder, drop_path=recipe.drop_path),
            text_dim=None if text_encoder is None else text_encoder.dim,
        )
    )
    if loaded is not None:
        # Parameters that the weights lack (the text projection at most) stay random.
        sam.load_state_dict(sam.state_dict() | loaded.model.state_dict())
    if recipe.encoder_weights is not None:
        load_encoder(sam, Path(recipe.encoder_weights))
    if recipe.checkpoint_encoder:
        checkpoint_blocks(sam.image_encoder)
    return Trainable(sam, recipe, text_encoder)


def encoder_depths(encoder: nn.Module) -> dict[str, int]:
    """Count the blocks before each parameter of an encoder, except for those after all blocks.

    All kinds of encoder name their blocks "blocks.0", after the name of the stage or the trunk if
    there is one.
    """
    depths: dict[str, int] = {}
    blocks: list[str] = []
    for name, _ in encoder.named_parameters():
        if name.startswith("neck."):
            continue
        block = BLOCK.match(name)
        if block is not None and block[0] not in blocks:
            blocks.append(block[0])
        depths[name] = len(blocks)
    return depths
