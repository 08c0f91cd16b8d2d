"""The prompt encoder under the original's names.

Source: arXiv:2304.02643, section 3; Fourier features, arXiv:2006.10739. Shape legend: B prompts,
N points, C channels, h x w the embedding grid.
"""

import torch
from torch import Tensor, nn

from samkit.compat.segment_anything.errors import (
    MissingLabelsError,
    PromptShapeError,
    SettingError,
)
from samkit.models import FourierPositions, PromptEncoderConfig
from samkit.models import PromptEncoder as Network


class PromptEncoder(Network):
    """Encodes points, boxes and masks given in pixels of the resized image."""

    def __init__(
        self,
        embed_dim: int,
        image_embedding_size: tuple[int, int],
        input_image_size: tuple[int, int],
        mask_in_chans: int,
        activation: type[nn.Module] = nn.GELU,
    ) -> None:
        """Build a prompt encoder.

        Args:
            embed_dim: channels of the embeddings.
            image_embedding_size: (h, w) of the image embedding, equal.
            input_image_size: (H, W) of the padded image, equal.
            mask_in_chans: hidden channels for mask prompts.
            activation: activation of the layers for mask prompts.

        Raises:
            SettingError: a size is not a square.
        """
        for size in (image_embedding_size, input_image_size):
            if size[0] != size[1]:
                raise SettingError(f"images and embeddings must be square; got {tuple(size)}")
        super().__init__(
            PromptEncoderConfig(
                image_size=input_image_size[0],
                grid_size=image_embedding_size[0],
                dim=embed_dim,
                mask_hidden=mask_in_chans,
            )
        )
        self.embed_dim = embed_dim
        self.input_image_size = input_image_size
        self.image_embedding_size = image_embedding_size
        self.mask_input_size = (4 * image_embedding_size[0], 4 * image_embedding_size[1])
        self.num_point_embeddings = len(self.point_embeddings)
        self.pe_layer: PositionEmbeddingRandom = PositionEmbeddingRandom(embed_dim // 2)
        for index, layer in enumerate(self.mask_downscaling):
            if isinstance(layer, nn.GELU):
                self.mask_downscaling[index] = activation()

    def forward(  # type: ignore[override]
        self,
        points: tuple[Tensor, Tensor] | None,
        boxes: Tensor | None,
        masks: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Encode B prompts, each of any combination of points, one box and one mask.

        Args:
            points: coordinates (B, N, 2) and labels (B, N): 1 foreground, 0 background, -1 padding.
            boxes: (B, 4) or (B, 1, 4).
            masks: logits (B, 1, 4 h, 4 w).

        Returns:
            sparse embeddings (B, T, C) and dense embeddings (B, C, h, w).

        Raises:
            MissingLabelsError: points without labels.
            PromptShapeError: parts differ in number.
        """
        num_prompts = _count_prompts(points, boxes, masks)
        no_mask = self.no_mask_embed.weight
        tokens = [no_mask.new_empty(num_prompts, 0, self.embed_dim)]
        if points is not None:
            coords, labels = points
            tokens.append(self.embed_points(coords, labels.long(), pad=boxes is None))
        if boxes is not None:
            tokens.append(self.embed_boxes(boxes.reshape(-1, 4).contiguous()))
        if masks is None:
            dense = no_mask.view(1, -1, 1, 1).expand(num_prompts, -1, *self.image_embedding_size)
        else:
            dense = self.mask_downscaling(masks.to(no_mask.dtype))
        return torch.cat(tokens, dim=1), dense

    def get_dense_pe(self) -> Tensor:
        """Positional encoding (1, C, h, w) of the image embedding."""
        encoding: Tensor = self.pe_layer(self.image_embedding_size)
        return encoding[None]

    def positions(self, xy: Tensor) -> Tensor:
        """Encodings (..., C) of pixels (..., 2), at the pixels' centres."""
        return self.pe_layer.forward_with_coords(xy + 0.5, self.input_image_size)


class PositionEmbeddingRandom(FourierPositions):
    """Positional encoding by random Fourier features."""

    def __init__(self, num_pos_feats: int = 64, scale: float | None = None) -> None:
        """Draw the frequencies.

        Args:
            num_pos_feats: half of the channels.
            scale: std of the frequencies; None or values that are not positive mean
                1.
        """
        super().__init__(2 * num_pos_feats)
        if scale is not None and scale > 0:
            self.positional_encoding_gaussian_matrix *= scale

    def forward(self, size: tuple[int, int]) -> Tensor:  # type: ignore[override]
        """Encodings (C, h, w) of the centres of a grid's cells."""
        matrix = self.positional_encoding_gaussian_matrix
        y, x = (
            (torch.arange(side, device=matrix.device, dtype=matrix.dtype) + 0.5) / side
            for side in size
        )
        rows, columns = torch.meshgrid(y, x, indexing="ij")
        return super().forward(torch.stack([columns, rows], dim=-1)).permute(2, 0, 1)

    def forward_with_coords(self, coords_input: Tensor, image_size: tuple[int, int]) -> Tensor:
        """Encodings (..., C) of xy (..., 2) in an image of (H, W) pixels."""
        height, width = image_size
        coords = coords_input.to(self.positional_encoding_gaussian_matrix.dtype)
        return super().forward(coords / coords.new_tensor([width, height]))


def _count_prompts(
    points: tuple[Tensor, Tensor] | None, boxes: Tensor | None, masks: Tensor | None
) -> int:
    """Number of prompts in a batch; 1 if nothing is given.

    Raises:
        MissingLabelsError, PromptShapeError: see `PromptEncoder.forward`.
    """
    counts: dict[str, int] = {}
    if points is not None:
        coords, labels = points
        if labels is None:
            raise MissingLabelsError("points need labels: 1 (foreground) or 0 (background) each")
        if coords.ndim != 3 or labels.shape != coords.shape[:2]:
            raise PromptShapeError(
                "points must be (B, N, 2) and labels (B, N);"
                f" got {tuple(coords.shape)} and {tuple(labels.shape)}"
            )
        counts["points"] = len(coords)
    if boxes is not None:
        if boxes.shape[-1] != 4 or (boxes.ndim != 2 and boxes.shape[1:] != (1, 4)):
            raise PromptShapeError(
                "boxes must be (B, 4), one for each prompt (see SamPredictor.predict_torch);"
                f" got {tuple(boxes.shape)}"
            )
        counts["boxes"] = len(boxes)
    if masks is not None:
        if masks.ndim != 4:
            raise PromptShapeError(f"masks must be (B, 1, h, w); got {tuple(masks.shape)}")
        counts["masks"] = len(masks)
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{count} of {name}" for name, count in counts.items())
        raise PromptShapeError(f"prompts of one batch must agree in number; got {listed}")
    return next(iter(counts.values()), 1)
