"""Two-way transformer: prompt tokens and an image attend to each other.

Source: arXiv:2304.02643, section 3 and appendix A. The arithmetic is reordered, exactly: an image
has 4096 positions and a prompt about 7 tokens, so the image's projections move to the tokens' side,

    softmax(q (X Wk)^T) (X Wv) = (softmax((q Wk^T) X^T) X) Wv,

and what depends only on the image (`ImageContext`) or only on the weights (`PosEncProjections`) is
computed once. This takes half of the arithmetic and a fraction of the memory traffic;
tests/reference/mask_decoder.py is the plain form that it is tested against.

The image side may have a lower precision than the tokens, which are few and cost next to nothing:
they are converted to the image's precision where they meet it.

Shape legend: P prompts, T tokens, N image positions, C channels, H heads, D channels per
head. The image side may have a batch of 1 that serves all prompts.
"""

from __future__ import annotations

import math
from typing import NamedTuple, cast

from torch import Tensor, nn

from samkit.models.layers import TransformerMlp


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
        finer: tokens of finer levels, for upscaling, if the image encoder has any.
    """

    image: Tensor
    pos_enc: PosEncProjections
    shared: SharedProjections | None = None
    finer: tuple[Tensor, ...] = ()


class SharedProjections(NamedTuple):
    """First-layer projections of an image that serves all prompts.

    That layer sees the same image for all prompts; later layers see each prompt's updated image.

    Attributes:
        keys, values, queries: (1, H, D, N).
    """

    keys: Tensor
    values: Tensor
    queries: Tensor


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

    def __init__(
        self, dim: int, *, num_heads: int, mlp_dim: int, inner_dim: int, first: bool
    ) -> None:
        super().__init__()
        self.first = first
        self.self_attn = SelfAttention(dim, num_heads, dim)
        self.norm1 = nn.LayerNorm(dim)
        self.cross_attn_token_to_image = TokenToImageAttention(dim, num_heads, inner_dim)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = TransformerMlp(dim, mlp_dim, nn.ReLU)
        self.norm3 = nn.LayerNorm(dim)
        self.norm4 = nn.LayerNorm(dim)
        self.cross_attn_image_to_token = ImageToTokenAttention(dim, num_heads, inner_dim)

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

    def __init__(
        self, dim: int, *, depth: int, num_heads: int, mlp_dim: int, inner_dim: int
    ) -> None:
        """Build the transformer; `inner_dim` is the width inside of cross-attention."""
        super().__init__()
        self.layers = nn.ModuleList(
            TwoWayBlock(
                dim, num_heads=num_heads, mlp_dim=mlp_dim, inner_dim=inner_dim, first=i == 0
            )
            for i in range(depth)
        )
        self.final_attn_token_to_image = TokenToImageAttention(dim, num_heads, inner_dim)
        self.norm_final_attn = nn.LayerNorm(dim)

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
