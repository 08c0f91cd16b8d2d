"""Models for FiftyOne: `apply_model` with prompts from labels, masks of everything, and videos.

    from samkit.integrations.fiftyone import SegmentationModel, VideoSegmentationModel

    model = SegmentationModel()
    dataset.apply_model(model, label_field="masks", prompt_field="ground_truth")
    dataset.apply_model(model, label_field="everything")
    video_model = VideoSegmentationModel()
    videos.apply_model(video_model, label_field="masks", prompt_field="frames.detections")

Source: the protocols of `fiftyone.core.models`, 1.22.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from samkit.errors import ConfigError, DataError, NothingFoundError
from samkit.extras import require_package
from samkit.geometry import decode_rle_patch
from samkit.integrations.maskers import OBJECT, make_masker, scores_of
from samkit.predict import Predictor
from samkit.types import ImageEmbedding, Masks
from samkit.video import VideoAnswer, VideoPredictor, VideoStream

require_package("fiftyone", "the model for FiftyOne")

from fiftyone import Detection, Detections, Keypoint, Keypoints  # noqa: E402
from fiftyone.core.models import Model, SamplesMixin  # noqa: E402

PROMPT_FIELD = "prompt_field"
# Before the names of fields that frames have, where a data set of videos is asked.
OF_FRAMES = "frames."
# FiftyOne cuts the digits of pixel coordinates off: 61.99999 would be 61, and the mask be resized.
ROUNDED_UP_PX = 1e-6
# Attributes of keypoints that say which points are positive (1) and which negative (0), as
# FiftyOne's own models read them.
POINT_LABELS = ("sam_labels", "sam2_labels")
Pixels: TypeAlias = npt.NDArray[np.uint8]


class PromptedModel(SamplesMixin, Model):  # type: ignore[misc]
    """What FiftyOne asks of both models, and the field with their prompts."""

    ragged_batches = False  # images may have any sizes
    transforms = None
    preprocess = False
    config = None

    @property
    def prompt_field(self) -> str | None:
        """The field that `apply_model` was given; None without one.

        Raises:
            ConfigError: a field is asked for by another name than `prompt_field`.
        """
        unknown = [key for key in self.needs_fields if key != PROMPT_FIELD]
        if unknown:
            raise ConfigError(f"prompts are in {PROMPT_FIELD}; got {', '.join(unknown)}")
        field: str | None = self.needs_fields.get(PROMPT_FIELD)
        return field


class SegmentationModel(PromptedModel):
    """Masks of prompts in a field of the samples, or of everything.

    Each detection of a `prompt_field` becomes the mask of its box, and each keypoint the mask of
    its points, with the label and index of the prompt and the predicted IoU as confidence.
    """

    media_type = "image"

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
        """Segment one image, or one frame of a video.

        Args:
            arg: its pixels (H, W, 3).
            sample: its sample or frame, for the prompts.

        Raises:
            ConfigError: a field is asked for by another name than `prompt_field`.
            DataError: the field has neither detections nor keypoints.
        """
        field = self.prompt_field
        if field is None:
            return self._everything(arg)
        if sample is None:
            raise DataError(f"prompts in {field!r} need the samples")
        prompts = prompts_of(sample[field.removeprefix(OF_FRAMES)], field)
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
        size_hw = embedding.coords.original_hw
        if isinstance(prompt, Detection):
            box = box_of(prompt, size_hw)
            answer = self.predictor.predict(embedding, boxes=box, multimask=False)
        else:
            points, labels = points_of(prompt, size_hw)
            answer = self.predictor.predict(
                embedding, points=points, labels=labels, multimask=len(points) == 1
            )
        return answer.best().to_masks()


class VideoSegmentationModel(PromptedModel):
    """Objects followed through videos, from prompts in a field of their frames.

    An object is what has the same index; a prompt without one is an object of its own. A detection
    is the object's mask where it has one, else its box, and a keypoint its points. Prompts in later
    frames correct the object or begin another one. Each frame from the first prompt on gets the
    masks of the objects that are there, with the prompts' labels, an index, and the predicted IoU
    as confidence.
    """

    media_type = "video"

    def __init__(
        self,
        model: VideoPredictor | str | None = None,
        *,
        policy: str | None = None,
        non_overlapping: bool = False,
    ) -> None:
        """Load a model.

        Args:
            model: a video predictor, or a model as `samkit.VideoPredictor.load` takes it; None for
                the default one.
            policy: rules of SAM 2's memory; see `samkit.VideoPredictor.load`.
            non_overlapping: each pixel belongs to one object at most.

        Raises:
            ConfigError: the policy is unknown, or the model is no SAM 2.
            WeightsError, DownloadError: the model cannot be loaded.
        """
        super().__init__()
        if isinstance(model, VideoPredictor):
            self.predictor = model
        else:
            named: dict[str, Any] = {} if model is None else {"source": model}
            self.predictor = VideoPredictor.load(**named, policy=policy)
        self.non_overlapping = non_overlapping

    def predict(self, arg: Any, sample: Any = None) -> dict[int, Detections]:
        """Follow the objects of one video; return the labels by frame number.

        Args:
            arg: a reader of FiftyOne: it gives the frames (H, W, 3) in order, or those of a clip,
                and tells the number of the latest one.
            sample: the video's sample, for the prompts.

        Raises:
            ConfigError: there is no `prompt_field` of frames.
            DataError: the field has neither detections nor keypoints.
        """
        field = self.prompt_field
        if field is None or not field.startswith(OF_FRAMES):
            raise ConfigError(
                f"prompts are in a field of the frames: {PROMPT_FIELD}='frames.detections'"
            )
        if sample is None:
            raise DataError(f"prompts in {field!r} need the samples")
        name = field.removeprefix(OF_FRAMES)
        given = {number: prompts_of(frame[name], field) for number, frame in sample.frames.items()}
        taken = {one.index for prompts in given.values() for one in prompts}
        free = (index for index in count() if index not in taken)
        stream = self.predictor.stream(non_overlapping=self.non_overlapping)
        labels: dict[int, str | None] = {}
        found: dict[int, Detections] = {}
        for image in arg:
            number = arg.frame_number
            answer = stream.track(image)
            for prompt in given.get(number, ()):
                index = next(free) if prompt.index is None else prompt.index
                if (prompted := prompt_object(stream, index, prompt, image.shape[:2])) is not None:
                    answer = prompted
                    labels[index] = prompt.label
            if answer.object_ids:
                found[number] = Detections(detections=list(to_detections(answer, labels)))
        return found


def prompt_object(
    stream: VideoStream, index: int, prompt: Detection | Keypoint, size_hw: tuple[int, int]
) -> VideoAnswer | None:
    """Prompt an object in the latest frame; None where nothing is found."""
    try:
        if not isinstance(prompt, Detection):
            points, labels = points_of(prompt, size_hw)
            return stream.prompt(object_id=index, points=points, labels=labels)
        if prompt.mask is None:
            return stream.prompt(object_id=index, boxes=box_of(prompt, size_hw))
        drawn = prompt.to_segmentation(frame_size=size_hw[::-1], target=1).mask
        return stream.prompt(object_id=index, mask=drawn > 0)
    except NothingFoundError:
        return None


def to_detections(answer: VideoAnswer, labels: dict[int, str | None]) -> Iterator[Detection]:
    """The objects that are in a frame, as detections with instance masks."""
    for index, result in zip(answer.object_ids, answer.results, strict=True):
        masks = Masks.from_rles([result.rle], [result.score], answer.size_hw)
        detection = to_detection(masks, labels[index], index=index)
        if detection is not None:
            yield detection


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


def box_of(detection: Detection, size_hw: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Box (4,) of a detection in pixels of the image: x0 y0 x1 y1."""
    x, y, w, h = detection.bounding_box
    height, width = size_hw
    return np.array([x, y, x + w, y + h]) * [width, height, width, height]


def points_of(
    keypoint: Keypoint, size_hw: tuple[int, int]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Points (N, 2) in pixels of the image, with labels (N,); missing ones left out.

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
    return points[there] * size_hw[::-1], np.asarray(labels, np.int64)[there]


def to_detection(masks: Masks, label: str | None, *, index: int | None = None) -> Detection | None:
    """The first of some masks as a detection with an instance mask; None of an empty one."""
    if not masks.areas[0]:
        return None
    height, width = masks.size_hw
    x0, y0, x1, y1 = (int(value) for value in masks.boxes_xyxy[0])
    return Detection(
        label=label,
        bounding_box=[
            (x0 + ROUNDED_UP_PX) / width,
            (y0 + ROUNDED_UP_PX) / height,
            (x1 - x0) / width,
            (y1 - y0) / height,
        ],
        mask=decode_rle_patch(masks.rles[0], masks.boxes_xyxy[0]),
        confidence=float(masks.scores[0].clip(0, 1)),
        index=index,
    )
