"""`SamAutomaticMaskGenerator`, by `samkit.AutoMasker`."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from samkit.backends import create_backend
from samkit.compat.segment_anything.build_sam import to_network
from samkit.compat.segment_anything.errors import SettingError
from samkit.compat.segment_anything.predictor import SamPredictor, check_image
from samkit.errors import ConfigError
from samkit.geometry import CoordMap, Rle, decode_rle, rle_counts, xyxy_to_xywh
from samkit.models import ImageFeatures
from samkit.predict import PointMasks, Predictor
from samkit.proposals import AutoMaskConfig, AutoMasker, PointPredictor
from samkit.types import ImageEmbedding

if TYPE_CHECKING:
    from samkit.compat.segment_anything.modeling import Sam

OUTPUT_MODES = ("binary_mask", "uncompressed_rle", "coco_rle")
# Embeddings never leave a call of `generate`, so nothing needs to tell them apart.
CHECKSUM = "of the model that is running"
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
        if output_mode not in OUTPUT_MODES:
            raise SettingError(
                f"output_mode must be one of {', '.join(OUTPUT_MODES)}; got {output_mode!r}"
            )
        if (points_per_side is None) == (point_grids is None):
            raise SettingError("give either points_per_side or point_grids, and None for the other")
        self.predictor = SamPredictor(model)
        self.points_per_batch = points_per_batch
        self.output_mode = output_mode
        self.point_grids = point_grids
        try:
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
        except ConfigError as error:
            raise SettingError(str(error)) from error

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
        masks = self._masker().generate(image)
        # An AutoMasker's masks always have these.
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


class NetworkPredictor(Predictor):
    """The predictor without the checksum of its weights, which takes seconds for large models."""

    @cached_property
    def encoder_checksum(self) -> str:
        return CHECKSUM


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
