"""`SamAutomaticMaskGenerator`, by `samkit.AutoMasker`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from samkit.backends import create_backend
from samkit.compat.auto_masks import (
    CHECKSUM,
    NetworkPredictor,
    check_output,
    mask_records,
    read_settings,
)
from samkit.compat.segment_anything.build_sam import to_network
from samkit.compat.segment_anything.predictor import SamPredictor, check_image
from samkit.geometry import CoordMap
from samkit.models import ImageFeatures
from samkit.predict import PointMasks
from samkit.proposals import AutoMasker, PointPredictor
from samkit.types import ImageEmbedding

if TYPE_CHECKING:
    from samkit.compat.segment_anything.modeling import Sam

# Prompts decoded together; see `samkit.predict.decoder.PROMPTS_AT_ONCE`.
POINTS_AT_ONCE = 4


class SamAutomaticMaskGenerator:
    """Generates masks of everything in an image, as a list of dictionaries."""

    def __init__(
        self,
        model: Sam,
        points_per_side: int | None = 32,
        points_per_batch: int = 64,
        pred_iou_thresh: float = 0.88,
        stability_score_thresh: float = 0.95,
        stability_score_offset: float = 1.0,
        box_nms_thresh: float = 0.7,
        crop_n_layers: int = 0,
        crop_nms_thresh: float = 0.7,
        crop_overlap_ratio: float = 512 / 1500,
        crop_n_points_downscale_factor: int = 1,
        point_grids: list[npt.NDArray[np.float64]] | None = None,
        min_mask_region_area: int = 0,
        output_mode: str = "binary_mask",
    ) -> None:
        """Create a generator; settings map to those of `AutoMaskConfig`.

        Args:
            model: from `sam_model_registry`, or assembled by hand.
            points_per_side: points per side of the grid.
            points_per_batch: no effect.
            pred_iou_thresh: `iou_thresh`; the default is for the published weights.
            stability_score_thresh: `stability_thresh`.
            stability_score_offset: `stability_offset`.
            box_nms_thresh: the same.
            crop_n_layers: `crop_layers`.
            crop_nms_thresh: the same.
            crop_overlap_ratio: `crop_overlap`.
            crop_n_points_downscale_factor: `crop_points_downscale`.
            point_grids: custom points for each crop layer, (P, 2) in xy as fractions of a crop's
                sides; requires `points_per_side` None.
            min_mask_region_area: `min_area_px`.
            output_mode: form of "segmentation": "binary_mask", an array (H, W); "uncompressed_rle",
                size and a list of counts; "coco_rle", size and a string.

        Raises:
            SettingError: a setting is out of range.
        """
        check_output(output_mode, points_per_side, point_grids)
        self.predictor = SamPredictor(model)
        self.points_per_batch = points_per_batch
        self.output_mode = output_mode
        self.point_grids = point_grids
        self.config = read_settings(
            points_per_side=points_per_side or 1,
            iou_thresh=pred_iou_thresh,
            stability_thresh=stability_score_thresh,
            stability_offset=stability_score_offset,
            box_nms_thresh=box_nms_thresh,
            crop_layers=crop_n_layers,
            crop_nms_thresh=crop_nms_thresh,
            crop_overlap=crop_overlap_ratio,
            crop_points_downscale=crop_n_points_downscale_factor,
            min_area_px=min_mask_region_area,
        )

    def generate(self, image: npt.NDArray[np.uint8]) -> list[dict[str, Any]]:
        """Generate masks of everything in an image, uint8 RGB (H, W, 3), with the current weights.

        Returns:
            for each mask "segmentation" according to `output_mode`, "area" in pixels, "bbox" and
            "crop_box" [x, y, width, height], "predicted_iou", "stability_score", and
            "point_coords" [[x, y]], the point that it answers.

        Raises:
            ImageFormatError: the image has another type or shape.
            ConfigError: `point_grids` are not points for each crop layer.
        """
        check_image(image)
        return mask_records(self._masker().generate(image), self.output_mode)

    def _masker(self) -> AutoMasker:
        """Create a masker for each image: weights may have been trained or loaded since the last.

        Not all such changes can be detected, and creating one takes milliseconds.
        """
        model = self.predictor.model
        network = to_network(model)
        if network is None:
            predictor: PointPredictor = ModulePredictor(self.predictor)
        else:
            backend = create_backend(
                network, backend="torch", precision="float32", device=str(model.device)
            )
            predictor = NetworkPredictor(network, model_name="", backend=backend)
        return AutoMasker(predictor, self.config, point_grids=self.point_grids)


class ModulePredictor:
    """The part of a predictor that an AutoMasker uses, for a model of arbitrary modules."""

    iou_thresh = 0.0  # not used: the generator always gives one

    def __init__(self, predictor: SamPredictor) -> None:
        self.predictor = predictor

    def embed(self, image: npt.NDArray[np.uint8]) -> ImageEmbedding:
        """See `samkit.Predictor.embed`."""
        self.predictor.set_image(image)
        return ImageEmbedding(
            features=ImageFeatures((self.predictor.get_image_embedding(),)),
            coords=CoordMap(
                original_hw=(image.shape[0], image.shape[1]),
                model_size=self.predictor.transform.target_length,
            ),
            model_name="",
            encoder_checksum=CHECKSUM,
        )

    @torch.no_grad()
    def decode_points(
        self,
        embedding: ImageEmbedding,
        points_xy: npt.NDArray[np.float64],
        *,
        iou_thresh: float,
    ) -> PointMasks:
        """See `samkit.Predictor.decode_points`."""
        sam = self.predictor.model
        points = torch.as_tensor(
            embedding.coords.points_to_model(points_xy)[:, None],
            dtype=torch.float32,
            device=sam.device,
        )
        logits, iou_pred, index = [], [], []
        for start in range(0, len(points), POINTS_AT_ONCE):
            batch = points[start : start + POINTS_AT_ONCE]
            sparse, dense = sam.prompt_encoder(
                points=(batch, torch.ones(batch.shape[:2], device=sam.device)),
                boxes=None,
                masks=None,
            )
            masks, iou = sam.mask_decoder(
                image_embeddings=embedding.features.grid,
                image_pe=sam.prompt_encoder.get_dense_pe(),
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                multimask_output=True,
            )
            confident = iou >= iou_thresh
            logits.append(masks[confident].float().cpu())
            iou_pred.append(iou[confident].float().cpu())
            index.append(start + confident.nonzero()[:, 0].cpu())
        return PointMasks(
            logits=torch.cat(logits).numpy(),
            iou_pred=torch.cat(iou_pred).numpy(),
            point_index=torch.cat(index).numpy(),
        )
