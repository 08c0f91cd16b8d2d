"""MAE pre-training task: a SAM ViT encoder learns to reconstruct images from a few patches.

Source: He et al., arXiv:2111.06377; its use for SAM is in arXiv:2304.02643, appendix A.

Deviations: there is no class token, as in SAM. The position embedding is SAM's trainable table,
initialised with sines and cosines; the paper's is fixed. Patches outside of the image are hidden or
visible like any other, but do not count in the loss.

All visible patches attend to one another, without SAM's windows and relative positions: windows of
a quarter of their patches would hold no two neighbours. Windows, relative positions and the neck
are learned when the weights are trained within a SAM.

Shape legend: B images, N patches, V visible patches, C channels of the encoder, D of the decoder,
P values of a patch, S side of the model space, G side of the grid of patches.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from samkit.errors import ConfigError
from samkit.files import write_tensors
from samkit.models import LAYER_NORM_EPS, Block, ImageEncoderViT, ViTConfig
from samkit.training.encoder_weights import UNTRAINED
from samkit.training.settings import check_range
from samkit.training.task import Batch, StepResult, Task
from samkit.weights import MODEL_KEY

FREQUENCY_BASE = 10_000.0  # base of the frequencies of sines and cosines. arXiv:1706.03762, 3.5
MASK_TOKEN_STD = 0.02  # as in BERT and ViT
VARIANCE_EPS = 1e-6  # keeps patches of one colour finite


@dataclass(frozen=True, kw_only=True)
class MaeConfig:
    """Masking, and the decoder, which is discarded after pre-training.

    The defaults are the paper's.

    Attributes:
        mask_ratio: fraction of patches that are hidden.
        decoder_dim: width of the decoder.
        decoder_depth: number of transformer blocks.
        decoder_heads: attention heads of each block.
        normalise_patches: targets are patches with mean 0 and std 1.
    """

    mask_ratio: float = 0.75
    decoder_dim: int = 512
    decoder_depth: int = 8
    decoder_heads: int = 16
    normalise_patches: bool = True

    def __post_init__(self) -> None:
        check_range("mask_ratio", self.mask_ratio, 0, 0.99, exclusive=True)
        check_range("decoder_depth", self.decoder_depth, 1)
        check_range("decoder_heads", self.decoder_heads, 1)
        check_range("decoder_dim", self.decoder_dim, 4)
        if self.decoder_dim % self.decoder_heads or self.decoder_dim % 4:
            raise ConfigError(
                f"decoder_dim must be a multiple of 4 and of decoder_heads ({self.decoder_heads});"
                f" got {self.decoder_dim}"
            )


def patchify(pixels_B3SS: Tensor, patch_size: int) -> Tensor:
    """Cut images into patches (B, N, P), row by row; P = patch_size**2 * 3, colours last."""
    batch, colours, side, _ = pixels_B3SS.shape
    grid = side // patch_size
    x = pixels_B3SS.reshape(batch, colours, grid, patch_size, grid, patch_size)
    return x.permute(0, 2, 4, 3, 5, 1).reshape(batch, grid * grid, patch_size**2 * colours)


def unpatchify(patches_BNP: Tensor, patch_size: int) -> Tensor:
    """Invert `patchify`: images (B, 3, S, S)."""
    batch, count, _ = patches_BNP.shape
    grid = round(count**0.5)
    x = patches_BNP.reshape(batch, grid, grid, patch_size, patch_size, -1)
    side = grid * patch_size
    return x.permute(0, 5, 1, 3, 2, 4).reshape(batch, -1, side, side)


def normalise_patches(patches: Tensor) -> Tensor:
    """Normalise each patch (..., P) to mean 0 and std 1; a constant one becomes 0."""
    mean, std = patch_scale(patches)
    return (patches - mean) / std


def patch_scale(patches: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and std (..., 1) of patches."""
    variance, mean = torch.var_mean(patches, dim=-1, keepdim=True)
    return mean, (variance + VARIANCE_EPS).sqrt()


def in_image(patches_BNP: Tensor) -> Tensor:
    """Whether patches (B, N) show any of the image: padding is exactly 0 after normalising."""
    return (patches_BNP != 0).any(-1)


def draw_visible(
    batch: int, num_patches: int, mask_ratio: float, generator: torch.Generator
) -> Tensor:
    """Draw indices (B, V) of visible patches, ascending, uniformly among all sets of V patches."""
    num_visible = max(1, round(num_patches * (1 - mask_ratio)))
    noise = torch.rand(batch, num_patches, generator=generator, device=generator.device)
    return noise.argsort(1)[:, :num_visible].sort(1).values


def hidden_patches(visible_BV: Tensor, num_patches: int) -> Tensor:
    """Mask (B, N) of the patches that are not visible."""
    hidden = torch.ones(len(visible_BV), num_patches, dtype=torch.bool, device=visible_BV.device)
    return hidden.scatter(1, visible_BV, value=False)


def encode_visible(encoder: ImageEncoderViT, pixels_B3SS: Tensor, visible_BV: Tensor) -> Tensor:
    """Run an encoder's blocks on the visible patches, with global attention: (B, V, C)."""
    tokens: Tensor = (encoder.patch_embed(pixels_B3SS) + encoder.pos_embed).flatten(1, 2)
    x_BVC = tokens.gather(1, visible_BV[..., None].expand(-1, -1, tokens.shape[-1]))
    for block in encoder.blocks:
        assert isinstance(block, Block)
        x_BVC = block.forward_tokens(x_BVC)
    return x_BVC


def sin_cos_positions(grid: int, dim: int) -> Tensor:
    """Fixed position embedding (G, G, dim): a quarter each of sin y, cos y, sin x, cos x.

    Frequencies fall from 1 towards 1 / 10000, as in arXiv:1706.03762, section 3.5.
    """
    frequencies = FREQUENCY_BASE ** -(torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))
    angle = torch.arange(grid, dtype=torch.float64)[:, None] * frequencies
    axis = torch.cat([angle.sin(), angle.cos()], dim=1).float()  # (G, dim / 2)
    rows = axis[:, None].expand(grid, grid, dim // 2)
    return torch.cat([rows, rows.transpose(0, 1)], dim=-1)


class MaeDecoder(nn.Module):
    """Decoder that reconstructs all patches from the visible ones; used in pre-training only."""

    positions: Tensor

    def __init__(self, encoder: ViTConfig, config: MaeConfig) -> None:
        super().__init__()
        dim, grid = config.decoder_dim, encoder.grid_size
        # Ends the encoder's pre-norm blocks; SAM's neck has a norm of its own.
        self.norm = nn.LayerNorm(encoder.embed_dim, eps=LAYER_NORM_EPS)
        self.embed = nn.Linear(encoder.embed_dim, dim)
        self.mask_token = nn.Parameter(torch.randn(dim) * MASK_TOKEN_STD)
        self.register_buffer(
            "positions", sin_cos_positions(grid, dim).flatten(0, 1), persistent=False
        )
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                dim,
                config.decoder_heads,
                dim_feedforward=4 * dim,
                dropout=0.0,
                activation="gelu",
                layer_norm_eps=LAYER_NORM_EPS,
                batch_first=True,
                norm_first=True,
            )
            for _ in range(config.decoder_depth)
        )
        self.last_norm = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.head = nn.Linear(dim, encoder.patch_size**2 * 3)

    def forward(self, latent_BVC: Tensor, visible_BV: Tensor) -> Tensor:
        """Predict all patches (B, N, P) from encoded ones and their indices."""
        seen_BVD = self.embed(self.norm(latent_BVC))
        num_patches, dim = self.positions.shape
        x_BND = self.mask_token.to(seen_BVD.dtype).expand(len(seen_BVD), num_patches, dim)
        x_BND = x_BND.scatter(1, visible_BV[..., None].expand(-1, -1, dim), seen_BVD)
        x_BND = x_BND + self.positions
        for block in self.blocks:
            x_BND = block(x_BND)
        patches: Tensor = self.head(self.last_norm(x_BND))
        return patches


def reconstruction_loss(predicted_BNP: Tensor, target_BNP: Tensor, counted_BN: Tensor) -> Tensor:
    """Mean squared error of counted patches, averaged over each image, then over images.

    An image without counted patches adds 0.
    """
    error_BN = (predicted_BNP.float() - target_BNP.float()).square().mean(-1)
    totals = (error_BN * counted_BN).sum(1)
    return (totals / counted_BN.sum(1).clamp(min=1)).mean()


class MaeTask(Task):
    """Masked autoencoder: a SAM encoder that learns by reconstructing hidden patches.

    Attributes:
        encoder: initialised as in the paper; neck and relative positions are not used and need no
            gradients.
        decoder: discarded in the end.
        model_name: key of `samkit.models.CONFIGS` whose encoder this is, except for its image size.
    """

    def __init__(self, encoder: ViTConfig, config: MaeConfig, *, model_name: str) -> None:
        super().__init__()
        self.config = config
        self.model_name = model_name
        self.encoder = ImageEncoderViT(encoder)
        self.decoder = MaeDecoder(encoder, config)
        for module in self.modules():
            _initialise(module)
        with torch.no_grad():
            self.encoder.pos_embed[0] = sin_cos_positions(encoder.grid_size, encoder.embed_dim)
        for name, parameter in self.encoder.named_parameters():
            parameter.requires_grad_(UNTRAINED.search(name) is None)

    def forward(self, batch: Batch, generator: torch.Generator) -> StepResult:
        if batch.pixels is None:
            raise ConfigError("MAE pre-training needs images; got cached embeddings")
        visible_BV = self.draw_visible(len(batch.pixels), generator)
        predicted = self.reconstruct(batch.pixels, visible_BV)
        patches = patchify(batch.pixels, self.encoder.config.patch_size)
        target = normalise_patches(patches) if self.config.normalise_patches else patches
        counted = hidden_patches(visible_BV, patches.shape[1]) & in_image(patches)
        loss = reconstruction_loss(predicted, target, counted)
        return StepResult(loss, {"reconstruction": loss.detach()})

    def draw_visible(self, batch: int, generator: torch.Generator) -> Tensor:
        """Draw indices (B, V) of visible patches."""
        num_patches = self.encoder.config.grid_size**2
        return draw_visible(batch, num_patches, self.config.mask_ratio, generator)

    def reconstruct(self, pixels_B3SS: Tensor, visible_BV: Tensor) -> Tensor:
        """Predict all patches (B, N, P) from the visible ones; normalised if so configured.

        Raises:
            ConfigError: the images do not have the encoder's size.
        """
        side = self.encoder.config.image_size
        if tuple(pixels_B3SS.shape[2:]) != (side, side):
            raise ConfigError(
                f"pixels must be (B, 3, {side}, {side}), the encoder's size;"
                f" got {tuple(pixels_B3SS.shape)}"
            )
        latent_BVC = encode_visible(self.encoder, pixels_B3SS, visible_BV)
        patches: Tensor = self.decoder(latent_BVC, visible_BV)
        return patches

    def weight(self, batch: Batch) -> int:
        """The loss is a mean over images."""
        return len(batch.keys)

    def export(self, path: Path) -> None:
        """Write the trained weights of the image encoder, by their names in a SAM checkpoint.

        `load_encoder` loads them into a SAM.

        Raises:
            OutputError: the file cannot be written.
        """
        learned = {
            f"image_encoder.{name}": tensor
            for name, tensor in self.encoder.state_dict().items()
            if UNTRAINED.search(name) is None
        }
        write_tensors(path, learned, {MODEL_KEY: self.model_name})


def _initialise(module: nn.Module) -> None:
    """Initialise a module as the paper does, where torch differs: Xavier uniform, zero biases."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.MultiheadAttention):
        nn.init.xavier_uniform_(module.in_proj_weight)
    elif isinstance(module, nn.Conv2d):  # the patch embedding, seen as a linear layer
        nn.init.xavier_uniform_(module.weight.data.flatten(1))
