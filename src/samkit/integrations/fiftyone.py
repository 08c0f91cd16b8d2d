"""A model for FiftyOne: `dataset.apply_model` with prompts from labels, or masks of everything.

    from samkit.integrations.fiftyone import SegmentationModel

    model = SegmentationModel()
    dataset.apply_model(model, label_field="masks", prompt_field="ground_truth")
    dataset.apply_model(model, label_field="everything")

Source: the protocols of `fiftyone.core.models`, 1.22.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from samkit.errors import ConfigError, DataError
from samkit.extras import require_package
from samkit.geometry import decode_rle_patch
from samkit.integrations.maskers import OBJECT, make_masker, scores_of
from samkit.predict import Predictor
from samkit.types import ImageEmbedding, Masks

require_package("fiftyone", "the model for FiftyOne")

from fiftyone import Detection, Detections, Keypoint, Keypoints  # noqa: E402
from fiftyone.core.models import Model, SamplesMixin  # noqa: E402

PROMPT_FIELD = "prompt_field"
# Attributes of keypoints that say which points are positive (1) and which negative (0), as
# FiftyOne's own models read them.
POINT_LABELS = ("sam_labels", "sam2_labels")
Pixels: TypeAlias = npt.NDArray[np.uint8]


class SegmentationModel(SamplesMixin, Model):  # type: ignore[misc]
    """Masks of prompts in a field of the samples, or of everything.

    Each detection of a `prompt_field` becomes the mask of its box, and each keypoint the mask of
    its points, with the label and index of the prompt and the predicted IoU as confidence.
    """

    media_type = "image"
    ragged_batches = False  # images may have any sizes
    transforms = None
    preprocess = False
    config = None

    def __init__(
        self,
        model: Predictor | str | None = None,
        *,
        preset: str = "instant",
        classes: Sequence[str] = (OBJECT,),
        text_model: str | None = None,
    ) -> None:
        """Load a model.

        Args:
            model: a predictor, or a model as `samkit.Predictor.load` takes it; None for the
                default one.
            preset: of `samkit auto`, for masks of everything.
            classes: one name for all masks of everything; with a text model, those that it finds.
            text_model: a detector or a CLIP, by its name on the hub or as a folder.

        Raises:
            ConfigError: an unknown preset, or several classes without a text model.
            WeightsError, DownloadError: a model cannot be loaded.
        """
        super().__init__()
        if isinstance(model, Predictor):
            self.predictor = model
        else:
            named: dict[str, Any] = {} if model is None else {"source": model}
            self.predictor = Predictor.load(**named, text_model=text_model)
        self.classes = tuple(classes)
        self.masker = make_masker(
            self.predictor, preset, self.classes, has_text=text_model is not None
        )

    def predict(self, arg: Pixels, sample: Any = None) -> Detections:
        """Segment one image.

        Args:
            arg: its pixels (H, W, 3).
            sample: its sample, for the prompts.

        Raises:
            ConfigError: a field is asked for by another name than `prompt_field`.
            DataError: the field has neither detections nor keypoints.
        """
        unknown = [key for key in self.needs_fields if key != PROMPT_FIELD]
        if unknown:
            raise ConfigError(f"prompts are in {PROMPT_FIELD}; got {', '.join(unknown)}")
        field = self.needs_fields.get(PROMPT_FIELD)
        if field is None:
            return self._everything(arg)
        if sample is None:
            raise DataError(f"prompts in {field!r} need the samples")
        prompts = prompts_of(sample[field], field)
        if not prompts:
            return Detections(detections=[])
        embedding = self.predictor.embed(arg)
        found = [
            to_detection(self._answer(embedding, prompt), prompt.label, index=prompt.index)
            for prompt in prompts
        ]
        return Detections(detections=[one for one in found if one is not None])

    def _everything(self, image: Pixels) -> Detections:
        masks = self.masker.generate(image)
        [name, *_] = self.classes
        phrases = masks.phrases or (name,) * len(masks)
        scored = masks.with_columns(scores=scores_of(masks))
        found = [to_detection(scored[row], phrases[row]) for row in range(len(masks))]
        return Detections(detections=[one for one in found if one is not None])

    def _answer(self, embedding: ImageEmbedding, prompt: Detection | Keypoint) -> Masks:
        """The best mask of a prompt."""
        height, width = embedding.coords.original_hw
        if isinstance(prompt, Detection):
            x, y, w, h = prompt.bounding_box
            box = np.array([x, y, x + w, y + h]) * [width, height, width, height]
            answer = self.predictor.predict(embedding, boxes=box, multimask=False)
        else:
            points, labels = points_of(prompt)
            answer = self.predictor.predict(
                embedding,
                points=points * [width, height],
                labels=labels,
                multimask=len(points) == 1,
            )
        return answer.best().to_masks()


def prompts_of(value: Any, field: str) -> list[Any]:
    """The detections or keypoints of a sample's field; none of an empty one.

    Raises:
        DataError: it has others.
    """
    if value is None:
        return []
    if isinstance(value, Detection | Keypoint):
        return [value]
    if isinstance(value, Detections):
        return list(value.detections)
    if isinstance(value, Keypoints):
        return list(value.keypoints)
    raise DataError(
        f"prompts are Detections or Keypoints; field {field!r} has {type(value).__name__}"
    )


def points_of(keypoint: Keypoint) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Points (N, 2) as fractions of the image's sides, with labels (N,); missing ones left out.

    Raises:
        DataError: it has no point, or other numbers of points and labels.
    """
    points = np.asarray(keypoint.points, np.float64).reshape(-1, 2)
    given = (keypoint[name] for name in POINT_LABELS if name in keypoint)
    labels = next((value for value in given if value is not None), None)
    if labels is None:
        labels = np.ones(len(points), np.int64)
    if len(labels) != len(points):
        raise DataError(f"a keypoint has {len(points)} points and {len(labels)} labels")
    there = ~np.isnan(points).any(axis=1)
    if not there.any():
        raise DataError("a keypoint has no points")
    return points[there], np.asarray(labels, np.int64)[there]


def to_detection(masks: Masks, label: str | None, *, index: int | None = None) -> Detection | None:
    """The first of some masks as a detection with an instance mask; None of an empty one."""
    if not masks.areas[0]:
        return None
    height, width = masks.size_hw
    x0, y0, x1, y1 = (int(value) for value in masks.boxes_xyxy[0])
    return Detection(
        label=label,
        bounding_box=[x0 / width, y0 / height, (x1 - x0) / width, (y1 - y0) / height],
        mask=decode_rle_patch(masks.rles[0], masks.boxes_xyxy[0]),
        confidence=float(masks.scores[0].clip(0, 1)),
        index=index,
    )
