"""Text prompts: as tokens of a model that takes them, or as boxes that a detector finds.

Source: arXiv:2304.02643, appendix D.5, for tokens; arXiv:2401.14159 for boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
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


def answer_by_tokens(
    decoder: Decoder,
    embedding: ImageEmbedding,
    codes: npt.NDArray[np.floating],
    corrections: Corrections,
    *,
    multimask: bool,
) -> MaskPrediction:
    """Answer CLIP's vectors (D,) or (P, D); the answer has a prompt axis in either case."""
    prompts = Prompts.of(text_codes=codes, **vars(corrections))
    return decoder.decode(embedding, replace(prompts, batched=True), multimask=multimask)


def answer_words(
    decoder: Decoder,
    embedding: ImageEmbedding,
    words: str | Sequence[str],
    prompter: TextPrompter,
    corrections: Corrections,
    *,
    multimask: bool,
) -> MaskPrediction:
    """Answer words as tokens, one prompt for each phrase."""
    codes = prompter.encode(words)
    answer = answer_by_tokens(
        decoder,
        embedding,
        codes[0] if isinstance(words, str) else codes,
        corrections,
        multimask=multimask,
    )
    phrases = (words,) if isinstance(words, str) else tuple(words)
    return replace(answer, phrases=phrases, phrase_scores=answer.iou_pred.max(axis=1))


def answer_boxes(
    decoder: Decoder,
    embedding: ImageEmbedding,
    detections: Detections,
    corrections: Corrections,
    *,
    multimask: bool,
) -> MaskPrediction:
    """Answer the boxes that a detector found; with points, the one that they mean.

    Raises:
        PromptError: points for several prompts, boxes besides, or a mask without points.
    """
    points, labels, mask = corrections.points, corrections.labels, corrections.mask_logits
    if corrections.boxes is not None or (points is None and mask is not None):
        raise PromptError(
            "a detector finds the boxes of a text itself: points can go with the text, and a mask"
            " with the points"
        )
    if not len(detections):
        return no_answers(embedding, multimask=multimask)
    if points is None:
        prompts = Prompts.of(boxes=detections.boxes_xyxy, labels=labels)
    else:
        clicks = Prompts.of(points=points, labels=labels, mask_logits=mask)
        if len(clicks) > 1:
            raise PromptError(
                f"points correct one of the boxes that a detector found: they must be (N, 2);"
                f" got {np.shape(points)}"
            )
        detections = detections.select(np.array([meant_box(detections, clicks)]))
        prompts = replace(clicks, boxes_xyxy=detections.boxes_xyxy, batched=True)
    answer = decoder.decode(embedding, prompts, multimask=multimask)
    return replace(answer, phrases=detections.phrases, phrase_scores=detections.scores)


def meant_box(detections: Detections, clicks: Prompts) -> int:
    """The best box with the most foreground points in it; the best one where there are none."""
    assert clicks.points_xy is not None
    assert clicks.labels is not None
    inside_xy = clicks.points_xy[0][clicks.labels[0] == 1]
    low, high = detections.boxes_xyxy[:, None, :2], detections.boxes_xyxy[:, None, 2:]
    held = ((inside_xy >= low) & (inside_xy < high)).all(axis=-1).sum(axis=1)
    return int(held.argmax())  # the first of equals, which has the highest score


def no_answers(embedding: ImageEmbedding, *, multimask: bool) -> MaskPrediction:
    """The answer where nothing was found: no prompts."""
    side, candidates = embedding.coords.logits_size, 3 if multimask else 1
    return MaskPrediction(
        logits=np.zeros((0, candidates, side, side), np.float32),
        iou_pred=np.zeros((0, candidates), np.float32),
        coords=embedding.coords,
        phrases=(),
        phrase_scores=np.zeros(0, np.float32),
    )


def photo_of(embedding: ImageEmbedding, image: ImageLike | None) -> npt.NDArray[np.uint8]:
    """The photo that a detector looks at.

    Raises:
        PromptError: it is not given, or of another size than the embedding's.
        ImageError: it cannot be read.
    """
    if image is None:
        raise PromptError(
            "a detector looks at the photo itself: give it, as predict(embedding, text=...,"
            " image=photo)"
        )
    photo = read_image(image)
    if photo.shape[:2] != embedding.coords.original_hw:
        raise PromptError(
            f"image must be the embedding's photo, of {embedding.coords.original_hw};"
            f" got {photo.shape[:2]}"
        )
    return photo


def check_fits(model_name: str, own: TextEncoder | None, text_model: TextModel) -> None:
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
