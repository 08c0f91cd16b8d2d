"""Text prompts: words become prompts, by CLIP's tokens or by the boxes of a detector.

Source: arXiv:2304.02643, appendix D.5, for tokens; arXiv:2401.14159 for boxes.
Shape legend: P prompts, D dimensions of CLIP's space.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from samkit.errors import PromptError, WeightsError
from samkit.formats import ImageLike, read_image
from samkit.types import ImageEmbedding, Prompts

if TYPE_CHECKING:  # torch and transformers take seconds to import
    from samkit.text import Detections, TextModel, TextPrompter
    from samkit.weights.checkpoint import TextEncoder

Text = str | list[str] | tuple[str, ...] | npt.NDArray[np.floating]
# A click counts as inside of a box up to this fraction of its sides beside it: boxes are not exact.
MARGIN = 0.1


@dataclass(frozen=True, kw_only=True, eq=False)
class TextPrompts:
    """A text as prompts.

    Attributes:
        prompts: P prompts, as a batch; None where a detector found nothing.
        phrases: the phrase of each prompt; None for vectors of CLIP.
        scores: (P,) a detector's scores; None where the predicted IoU is the score.
    """

    prompts: Prompts | None
    phrases: tuple[str, ...] | None = None
    scores: npt.NDArray[np.float32] | None = None


class TextReader:
    """Reader of the text prompts of one model.

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
        """Choose a text model, which is loaded when it is first needed.

        Args:
            model_name: for messages.
            own: see above.
            given: a text model, its folder, or its name on the hub; None for the model's own CLIP,
                or a detector where it has none.
            device: where a text model is loaded to.
        """
        self.own = own
        self._model_name, self._given, self._device = model_name, given, device
        self._loading = Lock()

    @property
    def model(self) -> TextModel:
        """The text model: a CLIP for prompt tokens, or a detector for boxes.

        Raises:
            ConfigError: the packages for text are not installed.
            WeightsError: unknown, damaged or unfitting weights.
            DownloadError: the weights could not be fetched.
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

    def resolve(
        self,
        embedding: ImageEmbedding,
        text: Text,
        others: Prompts | None,
        *,
        image: ImageLike | None,
        thresh: float | None,
    ) -> TextPrompts:
        """Turn words, or vectors of CLIP (D,) or (P, D), into prompts.

        Args:
            embedding: of the image.
            text: see `Predictor.predict_text`.
            others: points, boxes or masks that go with the text.
            image: the image itself, for a detector.
            thresh: lowest score of a detector's boxes.

        Raises:
            PromptError: the text is no prompt, or the others do not go with it.
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
    """Prompts (always a batch) of CLIP's vectors (D,) or (P, D) and what goes with them."""
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
    """Prompts of CLIP's tokens, one for each phrase.

    Raises:
        PromptError: several phrases, with what is for one.
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
    """Prompts of all boxes that a detector found."""
    prompts = Prompts.of(boxes=detections.boxes_xyxy) if len(detections) else None
    return TextPrompts(prompts=prompts, phrases=detections.phrases, scores=detections.scores)


def correct_box(phrases: tuple[str, ...], detections: Detections, clicks: Prompts) -> TextPrompts:
    """Clicks together with the box that they mean; alone where the detector missed it.

    Raises:
        PromptError: several phrases, points for several prompts, or boxes besides.
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


def image_of(embedding: ImageEmbedding, image: ImageLike | None) -> npt.NDArray[np.uint8]:
    """Read the image that a detector looks at.

    Raises:
        PromptError: it is not given, or of another size than the embedding's.
        ImageError: it cannot be read.
    """
    if image is None:
        raise PromptError(
            "a detector looks at the image itself: give it, as predict_text(embedding, text,"
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
    """Check that a CLIP is the one that a model was trained with; a detector fits any model.

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
