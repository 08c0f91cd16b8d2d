"""Prompt encoder and mask decoder as one module for export to ONNX."""

import torch
from torch import Tensor, nn

from samkit.compat.segment_anything.modeling import Sam
from samkit.compat.segment_anything.utils.amg import calculate_stability_score
from samkit.export import at_image_size, inner_size

STABILITY_OFFSET = 1.0
# A prompt of one or two points, padding included, is ambiguous: the single mask is excluded. With
# three or more points it is chosen.
AMBIGUOUS_POINTS = 2.5
EXCLUDED = 1000.0


class SamOnnxModel(nn.Module):
    """Masks of one prompt on one image, with inputs suitable for a graph.

    A box is two points labelled 2 (top left) and 3 (bottom right); a prompt without a box ends in a
    padding point labelled -1.
    """

    def __init__(
        self,
        model: Sam,
        return_single_mask: bool,  # noqa: FBT001
        use_stability_score: bool = False,  # noqa: FBT001, FBT002
        return_extra_metrics: bool = False,  # noqa: FBT001, FBT002
    ) -> None:
        """Choose what the graph returns.

        Args:
            model: provides the prompt encoder and the mask decoder.
            return_single_mask: return the best mask instead of all four.
            use_stability_score: score masks by stability instead of predicted IoU.
            return_extra_metrics: also return stability and area of each mask.
        """
        super().__init__()
        self.model = model
        self.mask_decoder = model.mask_decoder
        self.img_size = model.image_encoder.img_size
        self.return_single_mask = return_single_mask
        self.use_stability_score = use_stability_score
        self.stability_score_offset = STABILITY_OFFSET
        self.return_extra_metrics = return_extra_metrics

    @torch.no_grad()
    def forward(
        self,
        image_embeddings: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
        mask_input: Tensor,
        has_mask_input: Tensor,
        orig_im_size: Tensor,
    ) -> tuple[Tensor, ...]:
        """Answer one prompt.

        Args:
            image_embeddings: (1, C, h, w).
            point_coords: (1, N, 2) in pixels of the resized image.
            point_labels: (1, N): 1 foreground, 0 background, 2 and 3 corners, -1 padding.
            mask_input: logits (1, 1, 4 h, 4 w) of an earlier answer.
            has_mask_input: (1,): 1 if `mask_input` counts, else 0.
            orig_im_size: (2,) height and width of the original image.

        Returns:
            logits (1, M, H, W), scores (1, M), low-resolution logits (1, M, 4 h, 4 w); with extra
            metrics logits, scores, stability (1, M), areas (1, M), low-resolution logits.
        """
        masks, scores = self.mask_decoder.predict_masks(
            image_embeddings=image_embeddings,
            image_pe=self.model.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=self._embed_points(point_coords, point_labels),
            dense_prompt_embeddings=self._embed_masks(mask_input, has_mask_input),
        )
        if self.use_stability_score:
            scores = self._stability(masks)
        if self.return_single_mask:
            masks, scores = self.select_masks(masks, scores, point_coords.shape[1])
        upscaled = self.mask_postprocessing(masks, orig_im_size)
        if self.return_extra_metrics:
            areas = (upscaled > self.model.mask_threshold).sum(dim=(-1, -2))
            return upscaled, scores, self._stability(upscaled), areas, masks
        return upscaled, scores, masks

    @staticmethod
    def resize_longest_image_size(input_image_size: Tensor, longest_side: int) -> Tensor:
        """Size (h, w) of an image of size (2,) whose longest side becomes `longest_side`."""
        return inner_size(input_image_size, longest_side)

    def mask_postprocessing(self, masks: Tensor, orig_im_size: Tensor) -> Tensor:
        """Upsample logits (1, M, h, w) to the original image's size (2,)."""
        return at_image_size(masks, orig_im_size, self.img_size)

    def select_masks(
        self, masks: Tensor, iou_preds: Tensor, num_points: int
    ) -> tuple[Tensor, Tensor]:
        """The best mask (1, 1, h, w) and its score (1, 1): the single one for clear prompts."""
        is_single = torch.arange(masks.shape[1], device=masks.device) == 0
        preference = (num_points - AMBIGUOUS_POINTS) * EXCLUDED * is_single
        best = (iou_preds + preference).argmax(dim=1)
        rows = torch.arange(masks.shape[0], device=masks.device)
        return masks[rows, best][:, None], iou_preds[rows, best][:, None]

    def _stability(self, masks: Tensor) -> Tensor:
        return calculate_stability_score(
            masks, self.model.mask_threshold, self.stability_score_offset
        )

    def _embed_points(self, point_coords: Tensor, point_labels: Tensor) -> Tensor:
        """Sparse embeddings (1, N, C)."""
        encoder = self.model.prompt_encoder
        place = encoder.pe_layer.forward_with_coords(point_coords + 0.5, encoder.input_image_size)
        labels = point_labels[..., None]
        tokens = torch.where(labels == -1, encoder.not_a_point_embed.weight, place)
        for number, kind in enumerate(encoder.kind_embeddings().unbind()):
            tokens = tokens + kind * (labels == number)
        return tokens

    def _embed_masks(self, input_mask: Tensor, has_mask_input: Tensor) -> Tensor:
        """Dense embeddings (1, C, h, w)."""
        encoder = self.model.prompt_encoder
        given: Tensor = encoder.mask_downscaling(input_mask)
        none = encoder.no_mask_embed.weight.view(1, -1, 1, 1)
        return has_mask_input * given + (1 - has_mask_input) * none
