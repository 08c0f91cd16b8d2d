"""Text prompts: words resolved to prompt tokens by CLIP, or to boxes by a detector.

Source: arXiv:2304.02643, appendix D.5, for tokens; arXiv:2401.14159 for boxes.
Shape legend: P prompts, D dimensions of CLIP's embeddings.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from samkit.backends import renew_in_children
from samkit.errors import PromptError, WeightsError
from samkit.formats import ImageLike, read_image
from samkit.types import ImageEmbedding, Prompts

if TYPE_CHECKING:  # torch and transformers take seconds to import
    from samkit.text import Detections, TextModel, TextPrompter
    from samkit.weights import TextEncoder

Text = str | list[str] | tuple[str, ...] | npt.NDArray[np.floating]
# Clicks up to this fraction of a box's sides outside of it count as inside: boxes are not exact.
MARGIN = 0.1


@dataclass(frozen=True, kw_only=True, eq=False)
class TextPrompts:
    """A text resolved to prompts.

    Attributes:
        prompts: P prompts, as a batch; 0 if a detector found nothing.
        phrases: the phrase of each prompt; None for CLIP embeddings.
        scores: (P,) a detector's scores; None if the predicted IoU is the score.
    """

    prompts: Prompts
    phrases: tuple[str, ...] | None = None
    scores: npt.NDArray[np.float32] | None = None


class TextReader:
    """Resolves the text prompts of one model.

    Attributes:
        own: the CLIP that the model was trained with; None for a model that takes no text.
    """

    def __init__(
        self,
        model_name: str,
        own: TextEncoder | None,
        given: TextModel | str | os.PathLike[str] | None,
        *,
        device: str,
    ) -> None:
        """Choose a text model, which is loaded when first needed.

        Args:
            model_name: used in messages.
            own: the CLIP that the model was trained with; None for a model that takes no text.
            given: a text model, its folder, or its name on the hub; None for the model's own CLIP,
                or a detector if it has none.
            device: device for the text model.
        """
        self.own = own
        self._model_name, self._given, self._device = model_name, given, device
        self._loading = Lock()
        renew_in_children(self)

    def renew(self) -> None:
        """Renew the lock in a forked process."""
        self._loading = Lock()

    @property
    def model(self) -> TextModel:
        """The text model: a CLIP for prompt tokens, or a detector for boxes.

        Raises:
            ConfigError: the packages for text are not installed.
            WeightsError: the weights are unknown, damaged or do not fit.
            DownloadError: the weights could not be downloaded.
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
                    f"{self._model_name} takes text, but its file does not name the CLIP: give"
                    " it as text_model"
                )
        if isinstance(given, str | os.PathLike):
            given = load_text_model(given, device=self._device)
        check_clip(self._model_name, self.own, given)
        return given

    def resolve(
        self,
        embedding: ImageEmbedding,
        text: Text,
        others: Prompts | None,
        *,
        image: ImageLike | None,
        thresh: float | None,
    ) -> TextPrompts:
        """Resolve words, or CLIP embeddings (D,) or (P, D), to prompts.

        Args:
            text: see `Predictor.predict_text`.
            others: points, boxes or masks that accompany the text.
            image: the image, for a detector.
            thresh: minimum score of a detector's boxes.

        Raises:
            PromptError: the text is invalid, or the other prompts do not fit it.
        """
        from samkit.text import Detector, check_texts, ground

        if not isinstance(text, str | list | tuple):
            return TextPrompts(prompts=with_text(text, others))
        phrases = (text,) if isinstance(text, str) else tuple(text)
        if not phrases:
            raise PromptError("text must have at least one phrase; got none")
        check_texts(phrases)
        model = self.model
        if isinstance(model, Detector):
            found = ground(model, image_of(embedding, image), phrases, box_thresh=thresh)
            if others is not None and others.points_xy is not None:
                return correct_box(phrases, found, others)
            if others is not None:
                raise PromptError(
                    "a detector finds the boxes of a text itself: points can go with the text, and"
                    " a mask with the points"
                )
            return detected(found)
        if thresh is not None:
            raise PromptError(
                "text_thresh is for detectors: a model that takes text answers each phrase"
            )
        return tokens(phrases, model, others)


def with_text(text_embeds: npt.ArrayLike, others: Prompts | None) -> Prompts:
    """Combine CLIP embeddings (D,) or (P, D) with other prompts, always as a batch."""
    prompts = Prompts.of(text_embeds=text_embeds)
    if others is not None:
        if prompts.batched != others.batched:
            has, has_not = ("text", "others") if prompts.batched else ("others", "text")
            raise PromptError(
                "either all parts of prompts have a prompt axis, or none; got one for the"
                f" {has} and none for the {has_not}"
            )
        prompts = replace(others, text_embeds=prompts.text_embeds)
    return replace(prompts, batched=True)


def tokens(phrases: tuple[str, ...], prompter: TextPrompter, others: Prompts | None) -> TextPrompts:
    """Make prompts of CLIP embeddings, one per phrase.

    Raises:
        PromptError: several phrases with other prompts for one.
    """
    if len(phrases) > 1 and others is not None and not others.batched:
        raise PromptError(
            f"points, a box or a mask go with one phrase; got {len(phrases)} phrases: ask for each"
            " by itself, or give all of them a prompt axis"
        )
    embeds = prompter.encode(phrases)
    is_one = others is not None and not others.batched
    return TextPrompts(prompts=with_text(embeds[0] if is_one else embeds, others), phrases=phrases)


def detected(detections: Detections) -> TextPrompts:
    """Make prompts of all boxes that a detector found."""
    return TextPrompts(
        prompts=Prompts.of(boxes=detections.boxes_xyxy),
        phrases=detections.phrases,
        scores=detections.scores,
    )


def correct_box(phrases: tuple[str, ...], detections: Detections, clicks: Prompts) -> TextPrompts:
    """Combine clicks with the box that they mean; use them alone if the detector missed it.

    Raises:
        PromptError: there are several phrases, points for several prompts, or also boxes.
    """
    if len(phrases) > 1 or len(clicks) > 1 or clicks.boxes_xyxy is not None:
        raise PromptError(
            "points correct one thing that a detector found: give one phrase, points (N, 2) and no"
            f" box; got {len(phrases)} phrases and {len(clicks)} prompts"
        )
    number, score = meant_box(detections, clicks), 0.0
    if number is not None:
        box = detections.boxes_xyxy[number : number + 1]
        clicks, score = replace(clicks, boxes_xyxy=box), float(detections.scores[number])
    return TextPrompts(
        prompts=replace(clicks, batched=True),
        phrases=phrases,
        scores=np.array([score], np.float32),
    )


def meant_box(detections: Detections, clicks: Prompts) -> int | None:
    """Index of the box with the most foreground points, the best of those; None if none has any.

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


def image_of(embedding: ImageEmbedding, image: ImageLike | None) -> npt.NDArray[np.uint8]:
    """Read the image for a detector.

    Raises:
        PromptError: it is not given, or its size differs from the embedding's.
        ImageError: it cannot be read.
    """
    if image is None:
        raise PromptError(
            "a detector needs the image itself: give it, as predict_text(embedding, text,"
            " image=image)"
        )
    pixels = read_image(image)
    if pixels.shape[:2] != embedding.coords.original_hw:
        raise PromptError(
            f"image must be the embedding's image, of {embedding.coords.original_hw};"
            f" got {pixels.shape[:2]}"
        )
    return pixels


def check_text_embeds(text_embeds: npt.NDArray[np.float32], dim: int | None, model: str) -> None:
    """Check CLIP's vectors (P, D) for a model that takes `dim` dimensions, or None.

    Raises:
        WeightsError: the model takes no text.
        PromptError: it takes other vectors.
    """
    if dim is None:
        raise WeightsError(
            f"{model} has no text weights, and takes no CLIP embeddings: train them (samkit train"
            " text), or give words and let a detector find boxes"
        )
    if text_embeds.shape[1] != dim:
        raise PromptError(
            f"text_embeds must be (P, {dim}) for this model; got (P, {text_embeds.shape[1]})"
        )


def check_clip(model_name: str, own: TextEncoder | None, text_model: TextModel) -> None:
    """Check that a CLIP is the one that a model was trained with; detectors fit any model.

    Raises:
        WeightsError: the model takes no text, or was trained with another CLIP.
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
