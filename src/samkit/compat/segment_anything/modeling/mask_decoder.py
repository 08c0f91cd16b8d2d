"""The mask decoder in plain form, differentiable, with replaceable modules.

Source: arXiv:2304.02643, section 3 and appendix A. Shape legend: B prompts, T tokens, C channels,
M masks, h x w the embedding grid.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from samkit.compat.segment_anything.errors import PromptShapeError
from samkit.compat.segment_anything.modeling.common import LayerNorm2d


class MaskDecoder(nn.Module):
    """Answers prompts with mask logits and the predicted IoU of each mask."""

    def __init__(
        self,
        *,
        transformer_dim: int,
        transformer: nn.Module,
        num_multimask_outputs: int = 3,
        activation: type[nn.Module] = nn.GELU,
        iou_head_depth: int = 3,
        iou_head_hidden_dim: int = 256,
    ) -> None:
        """Build a decoder around a transformer.

        Args:
            transformer_dim: channels of the tokens and of the image embedding.
            transformer: called with image (B, C, h, w), its positional encoding and tokens
                (B, T, C); returns tokens (B, T, C) and image (B, h * w, C).
            num_multimask_outputs: masks that answer an ambiguous prompt.
            activation: activation of the upscaling.
            iou_head_depth: linear layers of the head that predicts the IoU.
            iou_head_hidden_dim: width of that head.
        """
        super().__init__()
        self.transformer_dim = transformer_dim
        self.transformer = transformer
        self.num_multimask_outputs = num_multimask_outputs
        self.iou_token = nn.Embedding(1, transformer_dim)
        self.num_mask_tokens = num_multimask_outputs + 1
        self.mask_tokens = nn.Embedding(self.num_mask_tokens, transformer_dim)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(transformer_dim, transformer_dim // 4, kernel_size=2, stride=2),
            LayerNorm2d(transformer_dim // 4),
            activation(),
            nn.ConvTranspose2d(transformer_dim // 4, transformer_dim // 8, kernel_size=2, stride=2),
            activation(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(
            MLP(transformer_dim, transformer_dim, transformer_dim // 8, 3)
            for _ in range(self.num_mask_tokens)
        )
        self.iou_prediction_head = MLP(
            transformer_dim, iou_head_hidden_dim, self.num_mask_tokens, iou_head_depth
        )

    def forward(
        self,
        image_embeddings: Tensor,
        image_pe: Tensor,
        sparse_prompt_embeddings: Tensor,
        dense_prompt_embeddings: Tensor,
        multimask_output: bool,  # noqa: FBT001
    ) -> tuple[Tensor, Tensor]:
        """Answer B prompts.

        Args:
            image_embeddings: (1, C, h, w) of an image shared by all prompts, or (B, C, h, w), each
                prompt's own.
            image_pe: `PromptEncoder.get_dense_pe()`.
            sparse_prompt_embeddings: (B, T, C), from the prompt encoder.
            dense_prompt_embeddings: (B or 1, C, h, w), from the prompt encoder.
            multimask_output: the masks for ambiguous prompts instead of the single one.

        Returns:
            mask logits (B, M, 4 h, 4 w) and predicted IoU (B, M).

        Raises:
            PromptShapeError: the number of images is neither 1 nor B.
        """
        masks, iou_pred = self.predict_masks(
            image_embeddings, image_pe, sparse_prompt_embeddings, dense_prompt_embeddings
        )
        chosen = slice(1, None) if multimask_output else slice(0, 1)
        return masks[:, chosen], iou_pred[:, chosen]

    def predict_masks(
        self,
        image_embeddings: Tensor,
        image_pe: Tensor,
        sparse_prompt_embeddings: Tensor,
        dense_prompt_embeddings: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Predict all masks, the single one first; see `forward`."""
        images, prompts = len(image_embeddings), len(sparse_prompt_embeddings)
        if prompts != images and 1 not in (prompts, images):
            raise PromptShapeError(
                "image_embeddings must be of one image, or of one for each prompt;"
                f" got {images} images and {prompts} prompts"
            )
        batch = max(prompts, images) if prompts else 0
        output_tokens = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens = torch.cat(
            [output_tokens.expand(batch, -1, -1), sparse_prompt_embeddings.expand(batch, -1, -1)],
            dim=1,
        )
        image = (image_embeddings + dense_prompt_embeddings).expand(batch, -1, -1, -1)
        tokens, image_tokens = self.transformer(image, image_pe, tokens)
        image = image_tokens.transpose(1, 2).reshape(image.shape)
        upscaled = self.output_upscaling(image)
        kernels = torch.stack(
            [mlp(tokens[:, 1 + i]) for i, mlp in enumerate(self.output_hypernetworks_mlps)], dim=1
        )
        masks = (kernels @ upscaled.flatten(2)).unflatten(2, upscaled.shape[2:])
        return masks, self.iou_prediction_head(tokens[:, 0])


class MLP(nn.Module):
    """Linear layers with ReLU between them, and an optional sigmoid after the last."""

    def __init__(
        self,
        input_dim: int,
        hidden_dim: int,
        output_dim: int,
        num_layers: int,
        sigmoid_output: bool = False,  # noqa: FBT001, FBT002
    ) -> None:
        super().__init__()
        self.num_layers = num_layers
        widths = [input_dim, *[hidden_dim] * (num_layers - 1), output_dim]
        self.layers = nn.ModuleList(
            nn.Linear(in_dim, out_dim) for in_dim, out_dim in pairwise(widths)
        )
        self.sigmoid_output = sigmoid_output

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = layer(x).relu()
        out: Tensor = self.layers[-1](x)
        return out.sigmoid() if self.sigmoid_output else out
