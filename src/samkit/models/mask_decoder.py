"""SAM's mask decoder: a two-way transformer between prompt tokens and the image.

Source: arXiv:2304.02643, section 3 and appendix A. The arithmetic is reordered, exactly: an image
has 4096 positions and a prompt about 7 tokens, so the image's projections move to the tokens' side,

    softmax(q (X Wk)^T) (X Wv) = (softmax((q Wk^T) X^T) X) Wv,

and what depends only on the image (`ImageContext`) or only on the weights (`PosEncProjections`) is
computed once. This takes half of the arithmetic and a fraction of the memory traffic;
tests/reference/mask_decoder.py is the plain form that it is tested against.

The image side may have a lower precision than the tokens, which are few and cost next to nothing:
they are converted to the image's precision where they meet it.

Shape legend: P prompts, T tokens, N image positions, C channels, M masks, H heads, D channels per
head, G side of the embedding grid. The image side may have a batch of 1 that serves all prompts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from samkit.models.layers import LayerNorm2d, TransformerMlp

# Mask tokens: the first answers unambiguous prompts, the others offer alternatives such as part and
# whole.
SINGLE_MASK, AMBIGUOUS_MASKS = slice(0, 1), slice(1, None)


@dataclass(frozen=True, kw_only=True)
class MaskDecoderConfig:
    """Configuration of the mask decoder."""

    dim: int = 256
    depth: int = 2
    num_heads: int = 8
    mlp_dim: int = 2048
    num_multimask: int = 3
    cross_attention_downsample: int = 2
    iou_hidden_dim: int = 256


class PosEncProjections(NamedTuple):
    """Positional encodings of the image as projected by each attention; constants of a model.

    Attributes:
        keys: for each layer and for the last attention, (1, H, D, N).
        queries: for each layer, (1, H, D, N).
    """

    keys: list[Tensor]
    queries: list[Tensor]


class ImageContext(NamedTuple):
    """An image prepared for the transformer: shared by all prompts, or one per prompt.

    Attributes:
        image: tokens (1, N, C) that serve all prompts, or (P, N, C).
        pos_enc: projected positional encodings.
        shared: first-layer projections of a shared image; None for one image per prompt.
    """

    image: Tensor
    pos_enc: PosEncProjections
    shared: SharedProjections | None = None


class SharedProjections(NamedTuple):
    """First-layer projections of an image that serves all prompts.

    That layer sees the same image for all prompts; later layers see each prompt's updated image.

    Attributes:
        keys, values, queries: (1, H, D, N).
    """

    keys: Tensor
    values: Tensor
    queries: Tensor


class Attended(NamedTuple):
    """Output of the transformer for P prompts, before anything is upscaled.

    Attributes:
        iou_pred: (P, M), predicted IoU.
        kernels: (P, M, C / 8), weights that turn pixel embeddings into each mask's logits.
        image: (P, N, C), the updated image tokens.
    """

    iou_pred: Tensor
    kernels: Tensor
    image: Tensor

    def rows(self, index: Any) -> Attended:
        """Select prompts by a slice or an index."""
        return Attended(*(part[index] for part in self))


class Attention(nn.Module):
    """Multi-head attention whose inner width may be smaller than the tokens' width."""

    def __init__(self, dim: int, num_heads: int, inner_dim: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.head_dim = inner_dim // num_heads
        self.scale = 1 / math.sqrt(self.head_dim)
        self.q_proj = nn.Linear(dim, inner_dim)
        self.k_proj = nn.Linear(dim, inner_dim)
        self.v_proj = nn.Linear(dim, inner_dim)
        self.out_proj = nn.Linear(inner_dim, dim)

    def split_heads(self, x_PNC: Tensor) -> Tensor:
        """Reshape (P, N, inner) to (P, H, N, D)."""
        batch, tokens, _ = x_PNC.shape
        return x_PNC.view(batch, tokens, self.num_heads, self.head_dim).transpose(1, 2)

    def merge_heads(self, x_PHND: Tensor) -> Tensor:
        """Merge the heads and project: (P, H, N, D) to (P, N, C)."""
        merged: Tensor = self.out_proj(x_PHND.transpose(1, 2).flatten(2))
        return merged

    def split_map(self, x_1CN: Tensor) -> Tensor:
        """Reshape a projected image (1, inner, N) to (1, H, D, N)."""
        return x_1CN.view(1, self.num_heads, self.head_dim, -1)

    def head_weights(self, proj: nn.Linear) -> Tensor:
        """An input projection's weights by head: (1, H, D, C)."""
        return proj.weight.view(1, self.num_heads, self.head_dim, -1)


class SelfAttention(Attention):
    """Attention among the tokens of each prompt."""

    def forward(self, q: Tensor, v: Tensor) -> Tensor:
        """Attend with queries and keys q (P, T, C) to values v (P, T, C): (P, T, C)."""
        q_PHTD, k_PHTD = self.split_heads(self.q_proj(q)), self.split_heads(self.k_proj(q))
        v_PHTD = self.split_heads(self.v_proj(v))
        weights = (q_PHTD * self.scale @ k_PHTD.transpose(-1, -2)).softmax(-1)
        return self.merge_heads(weights @ v_PHTD)


class TokenToImageAttention(Attention):
    """Attention of each prompt's tokens to the image."""

    def pos_keys(self, pos_enc_1CN: Tensor) -> Tensor:
        """Keys (1, H, D, N) of positional encodings (1, C, N), bias included."""
        return self.split_map(self.k_proj.weight @ pos_enc_1CN + self.k_proj.bias[:, None])

    def forward_shared(self, tokens: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Attend to a shared image with projections (1, H, D, N): tokens (P, T, C)."""
        q_PHTD = self.split_heads(self.q_proj(tokens)) * self.scale
        seen = (q_PHTD.to(keys.dtype) @ keys).softmax(-1) @ values.transpose(-1, -2)
        return self.merge_heads(seen.to(tokens.dtype))

    def forward(self, tokens: Tensor, image: Tensor, pos_keys: Tensor) -> Tensor:
        """Attend to each prompt's own image (P, N, C): tokens (P, T, C)."""
        q_PHTD = self.split_heads(self.q_proj(tokens)) * self.scale
        prompts, heads, num_tokens, _ = q_PHTD.shape
        q_image = (q_PHTD @ self.head_weights(self.k_proj)).flatten(1, 2).to(image.dtype)
        logits = q_image @ image.transpose(1, 2)  # (P, H T, N)
        logits = logits + (q_PHTD.to(image.dtype) @ pos_keys).flatten(1, 2)
        seen = (logits.softmax(-1) @ image).to(tokens.dtype)  # (P, H T, C)
        seen = seen.view(prompts, heads, num_tokens, -1)
        values = seen @ self.head_weights(self.v_proj).transpose(-1, -2)
        return self.merge_heads(values + self.v_proj.bias.view(1, heads, 1, -1))


class ImageToTokenAttention(Attention):
    """Attention of each position of the image to a prompt's tokens."""

    def pos_queries(self, pos_enc_1CN: Tensor) -> Tensor:
        """Queries (1, H, D, N) of positional encodings (1, C, N), bias included."""
        return self.split_map(self.q_proj.weight @ pos_enc_1CN + self.q_proj.bias[:, None])

    def forward_shared(self, queries: Tensor, tokens: Tensor, values: Tensor) -> Tensor:
        """Attend from a shared image with projections (1, H, D, N): image (P, N, C)."""
        k_PHTD = self.split_heads(self.k_proj(tokens)) * self.scale
        return self.mix_values(k_PHTD.to(queries.dtype) @ queries, values)

    def forward(self, image: Tensor, pos_queries: Tensor, tokens: Tensor, values: Tensor) -> Tensor:
        """Attend from each prompt's own image (P, N, C) to tokens (P, T, C): image (P, N, C)."""
        k_PHTD = self.split_heads(self.k_proj(tokens)) * self.scale
        k_image = (k_PHTD @ self.head_weights(self.q_proj)).flatten(1, 2).to(image.dtype)
        logits = (k_image @ image.transpose(1, 2)).view(*k_PHTD.shape[:3], -1)
        return self.mix_values(logits + k_PHTD.to(image.dtype) @ pos_queries, values)

    def mix_values(self, logits_PHTN: Tensor, values: Tensor) -> Tensor:
        """Weight the tokens' values (P, T, C) by the attention of each position: (P, N, C)."""
        v_PHTD = self.split_heads(self.v_proj(values))
        out_weights = self.out_proj.weight.view(-1, self.num_heads, self.head_dim)
        v_out = (v_PHTD @ out_weights.permute(1, 2, 0)[None]).flatten(1, 2)  # (P, H T, C)
        # Each head's weights sum to 1, so equal parts of the bias in every head's row sum to the
        # bias.
        v_out = v_out + self.out_proj.bias / self.num_heads
        weights = logits_PHTN.softmax(2).flatten(1, 2)  # (P, H T, N)
        return weights.transpose(1, 2) @ v_out.to(weights.dtype)


class TwoWayBlock(nn.Module):
    """Self-attention of tokens, tokens to image, MLP, image to tokens; a norm after each."""

    def __init__(self, config: MaskDecoderConfig, *, first: bool) -> None:
        super().__init__()
        dim, heads = config.dim, config.num_heads
        inner = dim // config.cross_attention_downsample
        self.first = first
        self.self_attn = SelfAttention(dim, heads, dim)
        self.norm1 = nn.LayerNorm(dim)
        self.cross_attn_token_to_image = TokenToImageAttention(dim, heads, inner)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = TransformerMlp(dim, config.mlp_dim, nn.ReLU)
        self.norm3 = nn.LayerNorm(dim)
        self.norm4 = nn.LayerNorm(dim)
        self.cross_attn_image_to_token = ImageToTokenAttention(dim, heads, inner)

    def forward(
        self,
        tokens: Tensor,
        token_pos_enc: Tensor,
        image: Tensor,
        pos_keys: Tensor,
        pos_queries: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Update tokens (P, T, C) and each prompt's own image (P, N, C)."""
        tokens = self.attend_self(tokens, token_pos_enc)
        seen = self.cross_attn_token_to_image(tokens + token_pos_enc, image, pos_keys)
        tokens = self.update_tokens(tokens, seen)
        k = tokens + token_pos_enc
        update = self.cross_attn_image_to_token(image, pos_queries, k, tokens)
        return tokens, self.norm4(image + update)

    def forward_shared(
        self, tokens: Tensor, token_pos_enc: Tensor, image: Tensor, shared: SharedProjections
    ) -> tuple[Tensor, Tensor]:
        """Update tokens (P, T, C); the image (1, N, C) becomes each prompt's own (P, N, C)."""
        tokens = self.attend_self(tokens, token_pos_enc)
        seen = self.cross_attn_token_to_image.forward_shared(
            tokens + token_pos_enc, shared.keys, shared.values
        )
        tokens = self.update_tokens(tokens, seen)
        k = tokens + token_pos_enc
        update = self.cross_attn_image_to_token.forward_shared(shared.queries, k, tokens)
        return tokens, self.norm4(image + update)

    def attend_self(self, tokens: Tensor, token_pos_enc: Tensor) -> Tensor:
        """Self-attention of the tokens, followed by the norm."""
        if self.first:  # tokens equal their positional encodings; by design without a residual
            attended = self.self_attn(tokens, tokens)
        else:
            attended = tokens + self.self_attn(tokens + token_pos_enc, tokens)
        normed: Tensor = self.norm1(attended)
        return normed

    def update_tokens(self, tokens: Tensor, seen: Tensor) -> Tensor:
        """Add the values attended to in the image, then apply the MLP."""
        tokens = self.norm2(tokens + seen)
        normed: Tensor = self.norm3(tokens + self.mlp(tokens))
        return normed


class TwoWayTransformer(nn.Module):
    """The decoder's blocks and a final attention of the tokens to the image."""

    def __init__(self, config: MaskDecoderConfig) -> None:
        super().__init__()
        inner = config.dim // config.cross_attention_downsample
        self.layers = nn.ModuleList(TwoWayBlock(config, first=i == 0) for i in range(config.depth))
        self.final_attn_token_to_image = TokenToImageAttention(config.dim, config.num_heads, inner)
        self.norm_final_attn = nn.LayerNorm(config.dim)

    @property
    def blocks(self) -> list[TwoWayBlock]:
        """The layers, with their type."""
        return cast("list[TwoWayBlock]", list(self.layers))

    def forward(self, tokens: Tensor, context: ImageContext) -> tuple[Tensor, Tensor]:
        """Update tokens (P, T, C) and a prepared image: tokens (P, T, C), images (P, N, C)."""
        token_pos_enc, image, pos_enc = tokens, context.image, context.pos_enc
        projected = zip(self.blocks, pos_enc.keys, pos_enc.queries, strict=False)
        for number, (layer, keys, queries) in enumerate(projected):
            if number == 0 and context.shared is not None:
                tokens, image = layer.forward_shared(tokens, token_pos_enc, image, context.shared)
            else:
                tokens, image = layer(tokens, token_pos_enc, image, keys, queries)
        seen = self.final_attn_token_to_image(tokens + token_pos_enc, image, pos_enc.keys[-1])
        return self.norm_final_attn(tokens + seen), image


class Mlp(nn.Module):
    """Three linear layers with ReLU between them."""

    def __init__(self, dim: int, hidden_dim: int, out_dim: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Linear(in_dim, width)
            for in_dim, width in (
                (dim, hidden_dim),
                (hidden_dim, hidden_dim),
                (hidden_dim, out_dim),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = layer(x).relu()
        out: Tensor = self.layers[-1](x)
        return out


class Upscaling(nn.Sequential):
    """Two transposed convolutions; each turns a position into 2 x 2.

    With stride equal to kernel size they are matrix products, and norm and activations act on each
    position alone: so positions stay in the order in which they arise.
    """

    def __init__(self, dim: int) -> None:
        super().__init__(
            nn.ConvTranspose2d(dim, dim // 4, kernel_size=2, stride=2),
            LayerNorm2d(dim // 4),
            nn.GELU(),
            nn.ConvTranspose2d(dim // 4, dim // 8, kernel_size=2, stride=2),
            nn.GELU(),
        )

    def forward(self, image: Tensor) -> Tensor:
        """Images (P, N, C) to pixels (P, 16 N, C / 8), ordered (position, half, quarter)."""
        modules = list(self)
        conv1, conv2 = (cast("nn.ConvTranspose2d", modules[i]) for i in (0, 3))
        norm, gelu = cast("LayerNorm2d", modules[1]), modules[2]
        x = gelu(norm.over_last(self.apply_transposed(image, conv1)))
        pixels: Tensor = gelu(self.apply_transposed(x, conv2))
        return pixels

    @staticmethod
    def apply_transposed(x: Tensor, conv: nn.ConvTranspose2d) -> Tensor:
        """Apply a transposed convolution with kernel and stride 2: (P, N, C) to (P, 4 N, C')."""
        assert conv.bias is not None
        weight = conv.weight.permute(0, 2, 3, 1).flatten(1)  # (C, 2 2 C')
        return (x @ weight + conv.bias.repeat(4)).view(x.shape[0], x.shape[1] * 4, -1)


class MaskDecoder(nn.Module):
    """Decodes prompts to mask logits and the predicted IoU of each mask."""

    def __init__(self, config: MaskDecoderConfig) -> None:
        super().__init__()
        self.config = config
        dim, num_masks = config.dim, config.num_multimask + 1
        self.transformer = TwoWayTransformer(config)
        self.iou_token = nn.Embedding(1, dim)
        self.mask_tokens = nn.Embedding(num_masks, dim)
        self.output_upscaling = Upscaling(dim)
        self.output_hypernetworks_mlps = nn.ModuleList(
            Mlp(dim, dim, dim // 8) for _ in range(num_masks)
        )
        self.iou_prediction_head = Mlp(dim, config.iou_hidden_dim, num_masks)

    def forward(
        self,
        features: Tensor,
        image_pos_enc: Tensor,
        sparse: Tensor,
        dense: Tensor,
        *,
        multimask: bool,
    ) -> tuple[Tensor, Tensor]:
        """Decode P prompts.

        Args:
            features: image embedding (1 or P, C, G, G).
            image_pos_enc: positional encodings of the embedding (1, C, G, G).
            sparse: prompt tokens (P, T, C).
            dense: dense prompt map (1 or P, C, G, G).
            multimask: the three masks for ambiguous prompts instead of the single one.

        Returns:
            mask logits (P, M, 4 G, 4 G) and predicted IoU (P, M).
        """
        pos_enc = self.project_pos_enc(image_pos_enc)
        is_shared = max(len(features), len(dense)) == 1
        context = self.prepare(features, dense, pos_enc, is_shared=is_shared)
        selected = self.select(self.attend(sparse, context), multimask=multimask)
        return self.upscale(selected.image, selected.kernels), selected.iou_pred

    def project_pos_enc(self, image_pos_enc: Tensor) -> PosEncProjections:
        """Project the embedding's positional encodings (1, C, G, G) for every attention."""
        flat = image_pos_enc.flatten(2)
        layers, last = self.transformer.blocks, self.transformer.final_attn_token_to_image
        to_image = [layer.cross_attn_token_to_image for layer in layers]
        to_token = [layer.cross_attn_image_to_token for layer in layers]
        return PosEncProjections(
            keys=[attention.pos_keys(flat) for attention in (*to_image, last)],
            queries=[attention.pos_queries(flat) for attention in to_token],
        )

    def prepare(
        self, features: Tensor, dense: Tensor, pos_enc: PosEncProjections, *, is_shared: bool
    ) -> ImageContext:
        """Prepare images for the transformer.

        Args:
            features: (1 or P, C, G, G).
            dense: (1 or P, C, G, G).
            pos_enc: see `project_pos_enc`.
            is_shared: one image for all prompts, which is projected for the first layer in advance.
        """
        image = (features + dense).flatten(2)
        if not is_shared:
            return ImageContext(image=image.transpose(1, 2), pos_enc=pos_enc)
        return ImageContext(
            image=image.transpose(1, 2).contiguous(),
            pos_enc=pos_enc,
            shared=self._project_shared(image, pos_enc),
        )

    def _project_shared(self, image: Tensor, pos_enc: PosEncProjections) -> SharedProjections:
        """Project an image (1, C, N) for the first layer."""
        first = self.transformer.blocks[0]
        to_image, to_token = first.cross_attn_token_to_image, first.cross_attn_image_to_token
        projections = (to_image.k_proj, to_image.v_proj, to_token.q_proj)
        weights = torch.cat([projection.weight for projection in projections]).to(image.dtype)
        keys, values, queries = (
            to_image.split_map(part) for part in (weights @ image).chunk(3, dim=1)
        )
        value_bias = to_image.split_map(to_image.v_proj.bias[None, :, None])
        return SharedProjections(
            keys=keys + pos_enc.keys[0],  # which includes the bias
            values=values + value_bias.to(image.dtype),
            queries=queries + pos_enc.queries[0],
        )

    def attend(self, sparse: Tensor, context: ImageContext) -> Attended:
        """Run the transformer on prompt tokens (P, T, C): answers of all mask tokens."""
        output_tokens = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens = torch.cat([output_tokens.expand(sparse.shape[0], -1, -1), sparse], dim=1)
        tokens, image = self.transformer(tokens, context)
        mask_tokens = tokens[:, 1 : 1 + self.mask_tokens.num_embeddings].unbind(1)
        kernels = [
            mlp(token)
            for mlp, token in zip(self.output_hypernetworks_mlps, mask_tokens, strict=True)
        ]
        return Attended(
            iou_pred=self.iou_prediction_head(tokens[:, 0]),
            kernels=torch.stack(kernels, dim=1),
            image=image,
        )

    @staticmethod
    def select(attended: Attended, *, multimask: bool) -> Attended:
        """Select the three masks for ambiguous prompts, or the single one."""
        chosen = AMBIGUOUS_MASKS if multimask else SINGLE_MASK
        return attended._replace(
            iou_pred=attended.iou_pred[:, chosen], kernels=attended.kernels[:, chosen]
        )

    def upscale(self, image: Tensor, kernels: Tensor) -> Tensor:
        """Images (P, N, C) and kernels (P, M, C / 8) to mask logits (P, M, 4 G, 4 G)."""
        pixels = self.output_upscaling(image)  # (P, 16 N, C / 8)
        prompts, masks, _ = kernels.shape
        grid = math.isqrt(image.shape[1])
        # (P, M, y, x, y half, x half, y quarter, x quarter): group the axes of y and of x
        cells: Tensor = (kernels @ pixels.transpose(1, 2)).view(
            prompts, masks, grid, grid, 2, 2, 2, 2
        )
        return cells.permute(0, 1, 2, 4, 6, 3, 5, 7).reshape(prompts, masks, 4 * grid, 4 * grid)
