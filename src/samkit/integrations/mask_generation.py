"""Automatic masks by the call of transformers' pipeline "mask-generation"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from samkit.formats import ImageLike
from samkit.predict import Predictor
from samkit.proposals import AutoMaskConfig, AutoMasker


class MaskGenerationPipeline:
    """Takes and gives what `transformers.pipeline("mask-generation")` takes and gives.

        generate = MaskGenerationPipeline()
        masks = generate("image.jpg", points_per_crop=32)["masks"]

    Settings that are not given are samkit's, whose thresholds are the model's own.
    """

    def __init__(self, model: Predictor | str | None = None) -> None:
        """Create it.

        Args:
            model: a predictor, or a model as `samkit.Predictor.load` takes it; None for the
                default one.
        """
        if isinstance(model, Predictor):
            self.predictor = model
        else:
            self.predictor = Predictor.load() if model is None else Predictor.load(model)

    def __call__(
        self,
        image: ImageLike | Sequence[ImageLike],
        *,
        points_per_crop: int | None = None,
        crops_n_layers: int | None = None,
        crop_overlap_ratio: float | None = None,
        crop_n_points_downscale_factor: int | None = None,
        pred_iou_thresh: float | None = None,
        stability_score_thresh: float | None = None,
        crops_nms_thresh: float | None = None,
        output_bboxes_mask: bool = False,
        points_per_batch: int | None = None,  # noqa: ARG002 - samkit chooses it
    ) -> Any:
        """Generate masks of an image, or of several.

        Args:
            image: path, PIL image or array, or a list of them.
            output_bboxes_mask: whether the answer has boxes, too.

        Returns:
            of each image "masks", bool arrays (H, W), the best first; "scores", (M,), predicted
            IoUs; and "bounding_boxes", (M, 4) as x0, y0, x1, y1.

        Raises:
            ConfigError: a setting is not valid.
            ImageError: an image cannot be read.
        """
        given: dict[str, Any] = {
            "points_per_side": points_per_crop,
            "crop_layers": crops_n_layers,
            "crop_overlap": crop_overlap_ratio,
            "crop_points_downscale": crop_n_points_downscale_factor,
            "iou_thresh": pred_iou_thresh,
            "stability_thresh": stability_score_thresh,
            "crop_nms_thresh": crops_nms_thresh,
        }
        settings = {name: value for name, value in given.items() if value is not None}
        masker = AutoMasker(self.predictor, replace(AutoMaskConfig(), **settings))
        if isinstance(image, list | tuple):
            return [self._answer(masker, one, boxes=output_bboxes_mask) for one in image]
        return self._answer(masker, image, boxes=output_bboxes_mask)  # type: ignore[arg-type]

    def _answer(self, masker: AutoMasker, image: ImageLike, *, boxes: bool) -> dict[str, Any]:
        found = masker.generate(image)
        masks: list[npt.NDArray[np.bool_]] = list(found.to_arrays())
        answer: dict[str, Any] = {"masks": masks, "scores": found.scores}
        if boxes:
            answer["bounding_boxes"] = found.boxes_xyxy
        return answer
