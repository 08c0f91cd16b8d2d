"""`SAM2AutomaticMaskGenerator`, by `samkit.AutoMasker`."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from samkit.backends import create_backend
from samkit.compat.auto_masks import (
    NetworkPredictor,
    check_output,
    mask_records,
    read_settings,
)
from samkit.compat.sam2.errors import SettingError
from samkit.compat.sam2.loading import build_from_hub
from samkit.compat.sam2.modeling.sam2_base import SAM2Base, in_evaluation
from samkit.compat.sam2.sam2_image_predictor import SAM2ImagePredictor
from samkit.compat.segment_anything.predictor import check_image
from samkit.predict import PointMasks
from samkit.proposals import AutoMasker
from samkit.types import ImageEmbedding, Prompts


class SAM2AutomaticMaskGenerator:
    """Generates masks of everything in an image, as a list of dictionaries."""

    def __init__(
        self,
        model: SAM2Base,
        points_per_side: int | None = 32,
        points_per_batch: int = 64,
        pred_iou_thresh: float = 0.8,
        stability_score_thresh: float = 0.95,
        stability_score_offset: float = 1.0,
        mask_threshold: float = 0.0,
        box_nms_thresh: float = 0.7,
        crop_n_layers: int = 0,
        crop_nms_thresh: float = 0.7,
        crop_overlap_ratio: float = 512 / 1500,
        crop_n_points_downscale_factor: int = 1,
        point_grids: list[npt.NDArray[np.float64]] | None = None,
        min_mask_region_area: float = 0,
        output_mode: str = "binary_mask",
        use_m2m: bool = False,  # noqa: FBT001, FBT002
        multimask_output: bool = True,  # noqa: FBT001, FBT002
        **kwargs: Any,  # noqa: ARG002 - as in the original
    ) -> None:
        """Create a generator; settings map to those of `AutoMaskConfig`.

        Args:
            model: of `build_sam2`.
            points_per_side: points per side of the grid.
            points_per_batch: no effect.
            pred_iou_thresh: `iou_thresh`.
            stability_score_thresh: `stability_thresh`.
            stability_score_offset: `stability_offset`.
            mask_threshold: 0.
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
            use_m2m: whether each mask is prompted once more, with its point, before it is judged.
            multimask_output: three masks for each point instead of one.
            kwargs: no effect.

        Raises:
            SettingError: a setting is out of range.
        """
        check_output(output_mode, points_per_side, point_grids)
        if mask_threshold != 0:
            raise SettingError(f"mask_threshold must be 0 here; got {mask_threshold}")
        self.predictor = SAM2ImagePredictor(model)
        self.points_per_batch = points_per_batch
        self.output_mode = output_mode
        self.point_grids = point_grids
        self.use_m2m, self.multimask_output = use_m2m, multimask_output
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
            min_area_px=int(min_mask_region_area),
        )

    @classmethod
    def from_pretrained(cls, model_id: str, **kwargs: Any) -> SAM2AutomaticMaskGenerator:
        """Load a model of the hub, such as "facebook/sam2.1-hiera-tiny"; see `build_sam2_hf`."""
        return cls(build_from_hub(SAM2Base, model_id, **kwargs), **kwargs)

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
        if isinstance(image, Image.Image):
            image = np.asarray(image.convert("RGB"))
        check_image(image)
        model = self.predictor.model
        with in_evaluation(model):
            predictor = GridPredictor(
                model.network,
                model_name=model.model_name,
                backend=create_backend(
                    model.network, backend="torch", precision="float32", device=str(model.device)
                ),
            )
            predictor.multimask, predictor.asks_twice = self.multimask_output, self.use_m2m
            masker = AutoMasker(predictor, self.config, point_grids=self.point_grids)
            return mask_records(masker.generate(image), self.output_mode)


class GridPredictor(NetworkPredictor):
    """Answers points as the generator's settings say.

    Attributes:
        multimask: three masks for each point instead of one.
        asks_twice: whether a point is asked once more, with the logits of each answer.
    """

    multimask = True
    asks_twice = False

    def decode_points(
        self,
        embedding: ImageEmbedding,
        points_xy: npt.NDArray[np.float64],
        *,
        iou_thresh: float,
    ) -> PointMasks:
        """See `samkit.Predictor.decode_points`."""
        if self.multimask and not self.asks_twice:
            return super().decode_points(embedding, points_xy, iou_thresh=iou_thresh)
        labels = np.ones((len(points_xy), 1), np.int64)
        prompts = Prompts.of(points=points_xy[:, None], labels=labels)
        answer = self.decode(embedding, prompts, multimask=self.multimask)
        points, masks = answer.iou_pred.shape
        index = np.repeat(np.arange(points), masks)
        logits, iou_pred = answer.logits.reshape(-1, *answer.logits.shape[2:]), answer.iou_pred
        if self.asks_twice:
            again = Prompts(
                points_xy=points_xy[index][:, None],
                labels=labels[index],
                mask_logits=logits[:, None],
            )
            answer = self.decode(embedding, again, multimask=False)
            logits, iou_pred = answer.logits[:, 0], answer.iou_pred
        is_confident = iou_pred.reshape(-1) >= iou_thresh
        return PointMasks(
            logits=logits[is_confident],
            iou_pred=iou_pred.reshape(-1)[is_confident],
            point_index=index[is_confident],
        )
