"""Text prompts: as tokens of a model that takes them, or as boxes that a detector finds.

Source: arXiv:2304.02643, appendix D.5, for tokens; arXiv:2401.14159 for boxes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from samkit.errors import PromptError, WeightsError
from samkit.formats import ImageLike, read_image
from samkit.types import ImageEmbedding, MaskPrediction, Prompts

if TYPE_CHECKING:  # torch and transformers take seconds to import
    from samkit.text import Detections, TextModel, TextPrompter
    from samkit.weights.checkpoint import TextEncoder

Text = str | list[str] | tuple[str, ...] | npt.NDArray[np.floating]
# A click counts as in a box up to so much of its sides beside it: boxes are not exact.
MARGIN = 0.1


class Decoder(Protocol):
    """What answers checked prompts: a `Predictor`."""

    def decode(
        self, embedding: ImageEmbedding, prompts: Prompts, *, multimask: bool = True
    ) -> MaskPrediction: ...


@dataclass(frozen=True, kw_only=True)
class Corrections:
    """What goes with a text, as `Predictor.predict` takes it: with a prompt axis for several."""

    points: npt.ArrayLike | None = None
    labels: npt.ArrayLike | None = None
    boxes: npt.ArrayLike | None = None
    mask_logits: npt.ArrayLike | None = None

    @property
    def is_any(self) -> bool:
        """Whether there is anything."""
        return any(part is not None for part in vars(self).values())

    @property
    def batched(self) -> bool:
        """Whether they have a prompt axis."""
        parts = ((self.points, 3), (self.boxes, 2), (self.mask_logits, 4))
        return any(part is not None and np.ndim(part) == ndim for part, ndim in parts)


class TextReader:
    """Reads the text of one model's prompts.

    Attributes:
        own: the CLIP that the model's text prompts are of; None for a model that takes no text.
    """

    def __init__(
        self,
        model_name: str,
        own: TextEncoder | None,
        given: TextModel | str | os.PathLike[str] | None,
        *,
        device: str,
    ) -> None:
        """Choose what reads text, which is loaded when it is first needed.

        Args:
            model_name: for messages.
            own: see above.
            given: a text model, its folder, or its name on the hub; None for the model's own CLIP,
                or a detector where it has none.
            device: for what is loaded.
        """
        self.own = own
        self._model_name, self._given, self._device = model_name, given, device
        self._loading = Lock()

    @property
    def model(self) -> TextModel:
        """What reads text: words to prompt tokens, or words to boxes.

        Raises:
            ConfigError: what text needs is not installed.
            WeightsError: unknown, damaged or unfitting weights.
            DownloadError: they could not be fetched.
        """
        with self._loading:
            return self._loaded

    @cached_property
    def _loaded(self) -> TextModel:
        from samkit.text import DEFAULT_DETECTOR, load_text_model

        given = self._given
        if given is None:
            given = DEFAULT_DETECTOR if self.own is None else self.own.source
            if not given:
                raise WeightsError(
                    f"{self._model_name} takes text, but its file does not say of which CLIP: give"
                    " it as text_model"
                )
        if isinstance(given, str | os.PathLike):
            given = load_text_model(given, device=self._device)
        check_clip(self._model_name, self.own, given)
        return given

    def answer(
        self,
        decoder: Decoder,
        embedding: ImageEmbedding,
        text: Text,
        corrections: Corrections,
        *,
        image: ImageLike | None,
        thresh: float | None,
        multimask: bool,
    ) -> MaskPrediction:
        """Answer words, or vectors of CLIP; see `Predictor.predict`."""
        from samkit.text import Detector, check_texts, ground

        if not isinstance(text, str | list | tuple):
            return answer_vectors(decoder, embedding, text, corrections, multimask=multimask)
        phrases = (text,) if isinstance(text, str) else tuple(text)
        if not phrases:
            raise PromptError("text must have at least one phrase; got none")
        check_texts(phrases)
        model = self.model
        if isinstance(model, Detector):
            pixels = image_of(embedding, image)
            found = ground(model, pixels, phrases, box_thresh=thresh)
            if corrections.points is not None:
                return correct_box(
                    decoder, embedding, phrases, found, corrections, multimask=multimask
                )
            return answer_boxes(decoder, embedding, found, corrections, multimask=multimask)
        if thresh is not None:
            raise PromptError(
                "text_thresh is for detectors: a model that takes text answers each phrase"
            )
        return answer_phrases(decoder, embedding, phrases, model, corrections, multimask=multimask)


def answer_vectors(
    decoder: Decoder,
    embedding: ImageEmbedding,
    codes: npt.ArrayLike,
    corrections: Corrections,
    *,
    multimask: bool,
) -> MaskPrediction:
    """Answer CLIP's vectors (D,) or (P, D); the answer has a prompt axis in either case."""
    prompts = Prompts.of(text_embeds=codes, **vars(corrections))
    return decoder.decode(embedding, replace(prompts, batched=True), multimask=multimask)


def answer_phrases(
    decoder: Decoder,
    embedding: ImageEmbedding,
    phrases: tuple[str, ...],
    prompter: TextPrompter,
    corrections: Corrections,
    *,
    multimask: bool,
) -> MaskPrediction:
    """Answer phrases as tokens, one prompt for each.

    Raises:
        PromptError: several phrases, with what is for one.
    """
    if len(phrases) > 1 and corrections.is_any and not corrections.batched:
        raise PromptError(
            f"points, a box or a mask go with one phrase; got {len(phrases)} phrases: ask for each"
            " by itself, or give all of them a prompt axis"
        )
    codes = prompter.encode(phrases)
    is_one = len(phrases) == 1 and not corrections.batched
    answer = answer_vectors(
        decoder, embedding, codes[0] if is_one else codes, corrections, multimask=multimask
    )
    scores = answer.iou_pred.max(axis=1).clip(0, 1)
    return replace(answer, phrases=phrases, phrase_scores=scores)


def answer_boxes(
    decoder: Decoder,
    embedding: ImageEmbedding,
    detections: Detections,
    corrections: Corrections = Corrections(),
    *,
    multimask: bool,
) -> MaskPrediction:
    """Answer all boxes that a detector found.

    Raises:
        PromptError: boxes or a mask besides.
    """
    if corrections.is_any:
        raise PromptError(
            "a detector finds the boxes of a text itself: points can go with the text, and a mask"
            " with the points"
        )
    if len(detections):
        prompts = Prompts.of(boxes=detections.boxes_xyxy)
        answer = decoder.decode(embedding, prompts, multimask=multimask)
    else:
        answer = no_answers(embedding, multimask=multimask)
    return replace(answer, phrases=detections.phrases, phrase_scores=detections.scores)


def correct_box(
    decoder: Decoder,
    embedding: ImageEmbedding,
    phrases: tuple[str, ...],
    detections: Detections,
    corrections: Corrections,
    *,
    multimask: bool,
) -> MaskPrediction:
    """Answer points together with the box that they mean; alone where the detector missed it.

    Raises:
        PromptError: several phrases, points for several prompts, or boxes besides.
    """
    clicks = Prompts.of(
        points=corrections.points, labels=corrections.labels, mask_logits=corrections.mask_logits
    )
    if len(phrases) > 1 or len(clicks) > 1 or corrections.boxes is not None:
        raise PromptError(
            "points correct one thing that a detector found: give one phrase, points (N, 2) and no"
            f" box; got {len(phrases)} phrases and {len(clicks)} prompts"
        )
    number = meant_box(detections, clicks)
    if number is None:
        prompts, score = clicks, 0.0
    else:
        box = detections.boxes_xyxy[number : number + 1]
        prompts, score = replace(clicks, boxes_xyxy=box), float(detections.scores[number])
    answer = decoder.decode(embedding, replace(prompts, batched=True), multimask=multimask)
    return replace(answer, phrases=phrases, phrase_scores=np.array([score], np.float32))


def meant_box(detections: Detections, clicks: Prompts) -> int | None:
    """The box with the most foreground points, the best of those; None where none has one.

    Without foreground points it is the best box.
    """
    assert clicks.points_xy is not None
    assert clicks.labels is not None
    inside_xy = clicks.points_xy[0][clicks.labels[0] == 1]
    boxes = detections.boxes_xyxy
    margin = MARGIN * (boxes[:, None, 2:] - boxes[:, None, :2])
    low, high = boxes[:, None, :2] - margin, boxes[:, None, 2:] + margin
    held = ((inside_xy >= low) & (inside_xy < high)).all(axis=-1).sum(axis=1)
    if not len(held) or (len(inside_xy) and not held.any()):
        return None
    return int(held.argmax())  # the first of equals, which has the highest score


def no_answers(embedding: ImageEmbedding, *, multimask: bool) -> MaskPrediction:
    """The answer where nothing was found: no prompts."""
    side, candidates = embedding.coords.logits_size, 3 if multimask else 1
    return MaskPrediction(
        logits=np.zeros((0, candidates, side, side), np.float32),
        iou_pred=np.zeros((0, candidates), np.float32),
        coords=embedding.coords,
    )


def image_of(embedding: ImageEmbedding, image: ImageLike | None) -> npt.NDArray[np.uint8]:
    """The image that a detector looks at.

    Raises:
        PromptError: it is not given, or of another size than the embedding's.
        ImageError: it cannot be read.
    """
    if image is None:
        raise PromptError(
            "a detector looks at the image itself: give it, as predict(embedding, text=...,"
            " image=image)"
        )
    pixels = read_image(image)
    if pixels.shape[:2] != embedding.coords.original_hw:
        raise PromptError(
            f"image must be the embedding's image, of {embedding.coords.original_hw};"
            f" got {pixels.shape[:2]}"
        )
    return pixels


def check_clip(model_name: str, own: TextEncoder | None, text_model: TextModel) -> None:
    """Check that a CLIP is the one that a model's text prompts are of; a detector fits any model.

    Raises:
        WeightsError: the model takes no text, or another CLIP's.
    """
    clip = getattr(text_model, "clip", None)
    if clip is None:
        return
    if own is None:
        raise WeightsError(
            f"{model_name} has no text weights for the CLIP {clip.source}: train them (samkit train"
            " text), or give a detector as text model, such as IDEA-Research/grounding-dino-tiny"
        )
    if own.dim != clip.dim or own.fingerprint not in ("", clip.fingerprint):
        raise WeightsError(
            f"the text weights of {model_name} are of the CLIP {own.source}"
            f" ({own.fingerprint[:12]}), not of {clip.source} ({clip.fingerprint[:12]})"
        )
