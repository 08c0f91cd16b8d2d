"""SAM's mask decoder in plain form, as the reference for the fast one in `samkit.models`.

It follows the paper step by step, repetitions included, and shares no code with the fast decoder
except its parameters' names: state dicts load into both.

Source: arXiv:2304.02643, section 3 and appendix A.
Shape legend: P prompts, T tokens, N image positions, C channels, M masks, D channels a head.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from samkit.models.mask_decoder import MaskDecoderConfig

LAYER_NORM_2D_EPS = 1e-6
SINGLE_MASK = slice(0, 1)  # token 0 answers unambiguous prompts
AMBIGUOUS_MASKS = slice(1, None)  # tokens 1.. answer with alternatives, such as part and whole


class LayerNorm2d(nn.Module):
    """Layer norm over the channels of a (P, C, H, W) map, position by position."""

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_channels))
        self.bias = nn.Parameter(torch.zeros(num_channels))

    def forward(self, x_PCHW: Tensor) -> Tensor:
        x_PHWC = x_PCHW.permute(0, 2, 3, 1)
        normed = nn.functional.layer_norm(
            x_PHWC, self.weight.shape, self.weight, self.bias, LAYER_NORM_2D_EPS
        )
        return normed.permute(0, 3, 1, 2)


class TransformerMlp(nn.Module):
    """Two linear layers with an activation between them: C -> hidden -> C."""

    def __init__(self, dim: int, hidden_dim: int, activation: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.lin1 = nn.Linear(dim, hidden_dim)
        self.lin2 = nn.Linear(hidden_dim, dim)
        self.act = activation()

    def forward(self, x: Tensor) -> Tensor:
        return self.lin2(self.act(self.lin1(x)))


class Attention(nn.Module):
    """Multi-head attention whose inner width may be smaller than the tokens' width."""

    def __init__(self, dim: int, num_heads: int, inner_dim: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q_proj = nn.Linear(dim, inner_dim)
        self.k_proj = nn.Linear(dim, inner_dim)
        self.v_proj = nn.Linear(dim, inner_dim)
        self.out_proj = nn.Linear(inner_dim, dim)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Queries (P, T, C) over keys and values (P, N, C): (P, T, C)."""
        q = self.split_heads(self.q_proj(q))
        k = self.split_heads(self.k_proj(k))
        v = self.split_heads(self.v_proj(v))
        out = nn.functional.scaled_dot_product_attention(q, k, v)
        return self.out_proj(out.transpose(1, 2).flatten(2))

    def split_heads(self, x_PNC: Tensor) -> Tensor:
        batch, tokens, _ = x_PNC.shape
        return x_PNC.view(batch, tokens, self.num_heads, -1).transpose(1, 2)


class TwoWayBlock(nn.Module):
    """Self-attention of tokens, tokens to image, MLP, image to tokens; a norm after each."""

    def __init__(self, config: MaskDecoderConfig, *, first: bool) -> None:
        super().__init__()
        dim, heads = config.dim, config.num_heads
        inner = dim // config.cross_attention_downsample
        self.first = first
        self.self_attn = Attention(dim, heads, dim)
        self.norm1 = nn.LayerNorm(dim)
        self.cross_attn_token_to_image = Attention(dim, heads, inner)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = TransformerMlp(dim, config.mlp_dim, nn.ReLU)
        self.norm3 = nn.LayerNorm(dim)
        self.norm4 = nn.LayerNorm(dim)
        self.cross_attn_image_to_token = Attention(dim, heads, inner)

    def forward(
        self, tokens: Tensor, image: Tensor, token_pos_enc: Tensor, image_pos_enc: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Update tokens (P, T, C) and image (P, N, C), given their position codes."""
        if self.first:  # the tokens are still their own codes: none is added, nor a residual
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            q = tokens + token_pos_enc
            tokens = tokens + self.self_attn(q, q, tokens)
        tokens = self.norm1(tokens)
        image_k = image + image_pos_enc
        attended = self.cross_attn_token_to_image(tokens + token_pos_enc, image_k, image)
        tokens = self.norm2(tokens + attended)
        tokens = self.norm3(tokens + self.mlp(tokens))
        attended = self.cross_attn_image_to_token(image_k, tokens + token_pos_enc, tokens)
        return tokens, self.norm4(image + attended)


class TwoWayTransformer(nn.Module):
    """The decoder's blocks and a last attention of the tokens to the image."""

    def __init__(self, config: MaskDecoderConfig) -> None:
        super().__init__()
        inner = config.dim // config.cross_attention_downsample
        self.layers = nn.ModuleList(TwoWayBlock(config, first=i == 0) for i in range(config.depth))
        self.final_attn_token_to_image = Attention(config.dim, config.num_heads, inner)
        self.norm_final_attn = nn.LayerNorm(config.dim)

    def forward(
        self, tokens: Tensor, image: Tensor, image_pos_enc: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Tokens (P, T, C) and image (P, N, C) to the same, answered."""
        token_pos_enc = tokens
        for layer in self.layers:
            tokens, image = layer(tokens, image, token_pos_enc, image_pos_enc)
        attended = self.final_attn_token_to_image(
            tokens + token_pos_enc, image + image_pos_enc, image
        )
        return self.norm_final_attn(tokens + attended), image


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
        return self.layers[-1](x)


class MaskDecoder(nn.Module):
    """Answer prompts with mask logits and the IoU that each mask is expected to have."""

    def __init__(self, config: MaskDecoderConfig) -> None:
        super().__init__()
        self.config = config
        dim, num_masks = config.dim, config.num_multimask + 1
        self.transformer = TwoWayTransformer(config)
        self.iou_token = nn.Embedding(1, dim)
        self.mask_tokens = nn.Embedding(num_masks, dim)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(dim, dim // 4, kernel_size=2, stride=2),
            LayerNorm2d(dim // 4),
            nn.GELU(),
            nn.ConvTranspose2d(dim // 4, dim // 8, kernel_size=2, stride=2),
            nn.GELU(),
        )
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
            image_pos_enc: position codes of the embedding (1, C, G, G).
            sparse: prompt tokens (P, T, C).
            dense: mask prompts (1 or P, C, G, G).
            multimask: the three ambiguous masks instead of the single one.

        Returns:
            mask logits (P, M, 4 G, 4 G) and predicted IoU (P, M).
        """
        output_tokens = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens = torch.cat([output_tokens.expand(sparse.shape[0], -1, -1), sparse], dim=1)
        image = (features + dense).flatten(2).transpose(1, 2)
        image = image.expand(sparse.shape[0], -1, -1)  # the whole image again for each prompt
        tokens, image = self.transformer(tokens, image, image_pos_enc.flatten(2).transpose(1, 2))

        chosen = AMBIGUOUS_MASKS if multimask else SINGLE_MASK
        iou_pred = self.iou_prediction_head(tokens[:, 0])[:, chosen]
        mask_tokens = tokens[:, 1 : 1 + self.mask_tokens.num_embeddings]
        kernels = torch.stack(
            [
                mlp(token)
                for mlp, token in zip(
                    self.output_hypernetworks_mlps[chosen],
                    mask_tokens[:, chosen].unbind(1),
                    strict=True,
                )
            ],
            dim=1,
        )
        image_map = image.transpose(1, 2).reshape(image.shape[0], -1, *features.shape[-2:])
        upscaled = self.output_upscaling(image_map)
        logits = torch.einsum("pmc,pchw->pmhw", kernels, upscaled)
        return logits, iou_pred
