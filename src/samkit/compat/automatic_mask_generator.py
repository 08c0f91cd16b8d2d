"""`SamAutomaticMaskGenerator` of Meta's `segment_anything`, by `samkit.AutoMasker`.

Differences: `bbox` holds the whole mask, as COCO's boxes do (there it is a pixel narrower and
lower), `points_per_batch` has no effect, since the batches that are fastest are found out
otherwise, and the model runs in float32 on the device where it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from samkit.backends import create_backend
from samkit.errors import ConfigError, ImageError
from samkit.geometry import Rle, decode_rle
from samkit.geometry.boxes import xyxy_to_xywh
from samkit.geometry.rle import rle_counts
from samkit.models import CONFIGS
from samkit.predict import Predictor
from samkit.proposals import AutoMaskConfig, AutoMasker

if TYPE_CHECKING:
    from samkit.compat.segment_anything import Sam

OUTPUT_MODES = ("binary_mask", "uncompressed_rle", "coco_rle")


class SamAutomaticMaskGenerator:
    """Make masks of everything in an image, as a list of dictionaries."""

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
        """Choose a model and settings; those not named here are `AutoMaskConfig`'s.

        Args:
            model: from `sam_model_registry`.
            points_per_side: of the grid.
            points_per_batch: no effect.
            pred_iou_thresh: `iou_thresh`.
            stability_score_thresh: `stability_thresh`.
            stability_score_offset: `stability_offset`.
            box_nms_thresh: the same.
            crop_n_layers: `crop_layers`.
            crop_nms_thresh: the same.
            crop_overlap_ratio: `crop_overlap`.
            crop_n_points_downscale_factor: `crop_points_downscale`.
            point_grids: own points for each layer of crops, (P, 2) in xy as fractions of a crop's
                sides; then `points_per_side` is None.
            min_mask_region_area: `min_area_px`.
            output_mode: what "segmentation" is in the answer: "binary_mask", an array (H, W);
                "uncompressed_rle", size and a list of counts; "coco_rle", size and a string.

        Raises:
            ConfigError: a setting out of its range.
        """
        from samkit.compat.segment_anything import SamPredictor

        if output_mode not in OUTPUT_MODES:
            raise ConfigError(f"output_mode must be one of {', '.join(OUTPUT_MODES)}")
        if (points_per_side is None) == (point_grids is None):
            raise ConfigError("give either points_per_side or point_grids, and None for the other")
        self.predictor = SamPredictor(model)
        self.points_per_batch = points_per_batch
        self.output_mode = output_mode
        self.point_grids = point_grids
        self.config = AutoMaskConfig(
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
        self._masker: tuple[str, AutoMasker] | None = None  # and the device that it is for

    def generate(self, image: npt.NDArray[np.uint8]) -> list[dict[str, Any]]:
        """Make masks of everything in an image, uint8 RGB (H, W, 3).

        Returns:
            for each mask "segmentation" as `output_mode` says, "area" in pixels, "bbox" and
            "crop_box" [x, y, width, height], "predicted_iou", "stability_score", and
            "point_coords" [[x, y]], the point that it answers.

        Raises:
            ImageError: another type or shape.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ImageError(f"image must be uint8 (H, W, 3); got {image.dtype} {image.shape}")
        masks = self._current_masker().generate(image)
        # Always there of an AutoMasker's masks.
        assert masks.stability is not None
        assert masks.points_xy is not None
        assert masks.crops_xyxy is not None
        boxes_xywh = xyxy_to_xywh(masks.boxes_xyxy)
        crops_xywh = xyxy_to_xywh(masks.crops_xyxy)
        return [
            {
                "segmentation": self._segmentation(rle),
                "area": int(masks.areas[index]),
                "bbox": boxes_xywh[index].tolist(),
                "predicted_iou": float(masks.scores[index]),
                "point_coords": [masks.points_xy[index].tolist()],
                "stability_score": float(masks.stability[index]),
                "crop_box": crops_xywh[index].tolist(),
            }
            for index, rle in enumerate(masks.rles)
        ]

    def _segmentation(self, rle: Rle) -> npt.NDArray[np.bool_] | dict[str, Any]:
        if self.output_mode == "coco_rle":
            return dict(rle)
        mask = decode_rle(rle)
        if self.output_mode == "uncompressed_rle":
            return {"size": list(rle["size"]), "counts": rle_counts(mask)}
        return np.ascontiguousarray(mask)

    def _current_masker(self) -> AutoMasker:
        """What makes the masks, on the device where the model is now."""
        model = self.predictor.model
        device = str(model.device)
        if self._masker is None or self._masker[0] != device:
            name = next((name for name, config in CONFIGS.items() if config == model.config), "sam")
            backend = create_backend(model, backend="torch", precision="float32", device=device)
            predictor = Predictor(model, model_name=name, backend=backend)
            self._masker = device, AutoMasker(predictor, self.config, point_grids=self.point_grids)
        return self._masker[1]
