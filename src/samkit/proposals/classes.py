"""Masks of objects of given classes, found by a detector or named by CLIP."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from samkit.errors import ConfigError, PromptError
from samkit.formats import ImageLike, RangeLike, read_image
from samkit.geometry import box_iou, nms
from samkit.proposals.masker import AutoMasker, check_embedding
from samkit.types import ImageEmbedding, Masks

if TYPE_CHECKING:  # torch takes seconds to import
    from samkit.predict import Predictor
    from samkit.text import Calibration, Detector, TextModel

DUPLICATE_IOU = 0.7  # box IoU above which masks show one object


class ClassMasker:
    """Generates masks of objects of given classes, with class and score.

        masker = ClassMasker(AutoMasker(predictor), ["car", "tree"], load_text_model(name))
        masks = masker.generate("image.jpg")

    With a detector, each box found is a prompt. With a CLIP, masks of everything are generated and
    named; the model need not take text.

    Attributes:
        masker: generates masks of everything; with a detector, by a `Predictor`.
        classes: phrases.
        text_model: a detector or a CLIP.
        thresh: minimum score of a class; None for the text model's own.
        keep_others: also return masks that no class fits, with the phrase "".
        calibration: calibration of CLIP's scores.
    """

    def __init__(
        self,
        masker: AutoMasker,
        classes: Sequence[str],
        text_model: TextModel,
        *,
        thresh: float | None = None,
        keep_others: bool = False,
        calibration: Calibration | None = None,
    ) -> None:
        """Create a masker for classes.

        Raises:
            PromptError: there are no classes, or one is empty.
            ConfigError: the threshold is not from 0 to 1, a detector is given a calibration, or
                the masker of a detector has no `Predictor`.
        """
        from samkit.text import Detector

        self.masker = masker
        self.classes = tuple(dict.fromkeys(classes))
        if not self.classes or not all(one.strip() for one in self.classes):
            raise PromptError("classes must be words; got none, or an empty one")
        if thresh is not None and not 0 <= thresh <= 1:
            raise ConfigError(f"thresh must be from 0 to 1; got {thresh!r}")
        if calibration is not None and isinstance(text_model, Detector):
            raise ConfigError("a calibration is for CLIP's scores: give a CLIP as text model")
        if isinstance(text_model, Detector):
            box_predictor(masker)
        self.text_model = text_model
        self.thresh = thresh
        self.keep_others = keep_others
        self.calibration = calibration

    def generate(
        self,
        image: ImageLike,
        *,
        value_range: RangeLike = "auto",
        embedding: ImageEmbedding | None = None,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> Masks:
        """Generate masks sorted by score, named ones first.

        Args:
            image: path, PIL image or array.
            value_range: which values become black and white; see `samkit.formats.read_image`.
            embedding, on_progress: see `AutoMasker.generate`.

        Raises:
            ImageError: the image cannot be read.
            PromptError: a class is too long for the text model, or the embedding is of an image of
                another size.
        """
        from samkit.text import Detector, MaskRanker

        pixels = read_image(image, value_range=value_range)
        if isinstance(self.text_model, Detector):
            if embedding is None:
                embedding = box_predictor(self.masker).embed(pixels)
            check_embedding(embedding, (pixels.shape[0], pixels.shape[1]))
            named = self._detected(pixels, embedding, self.text_model)
            if not self.keep_others:
                return named
            others = self.masker.generate(pixels, embedding=embedding, on_progress=on_progress)
            return join(named, others)
        everything = self.masker.generate(pixels, embedding=embedding, on_progress=on_progress)
        ranker = MaskRanker(self.text_model, calibration=self.calibration)
        named = ranker.name(pixels, everything, self.classes, thresh=self.thresh)
        return one_of_each(named, keep_others=self.keep_others)

    def _detected(
        self, image: npt.NDArray[np.uint8], embedding: ImageEmbedding, detector: Detector
    ) -> Masks:
        """Generate masks of the boxes that a detector finds."""
        from samkit.predict import detected  # torch takes seconds to import
        from samkit.text import ground

        predictor = box_predictor(self.masker)
        found = ground(detector, image, self.classes, box_thresh=self.thresh)
        # A box is not ambiguous: one candidate.
        answer = predictor.decode_text(embedding, detected(found), multimask=False)
        masks = answer.to_masks()
        return masks.select(masks.areas > 0)


def box_predictor(masker: AutoMasker) -> Predictor:
    """The predictor of a masker, which must answer boxes too."""
    from samkit.predict import Predictor  # torch takes seconds to import

    if isinstance(masker.predictor, Predictor):
        return masker.predictor
    raise ConfigError(
        "with a detector, boxes are answered: create the AutoMasker with a samkit.Predictor;"
        f" got {type(masker.predictor).__name__}"
    )


def one_of_each(masks: Masks, *, keep_others: bool) -> Masks:
    """Remove duplicates within each class, the best score first; unnamed masks at the end."""
    assert masks.phrases is not None
    assert masks.phrase_scores is not None
    names, scores = np.array(masks.phrases, object), masks.phrase_scores
    selected: list[int] = []
    for name in dict.fromkeys(one for one in masks.phrases if one):
        own = np.flatnonzero(names == name)
        order = own[np.argsort(-scores[own], kind="stable")]
        selected += nms(masks.boxes_xyxy, order, DUPLICATE_IOU).tolist()
    selected.sort(key=lambda number: -float(scores[number]))
    others = np.flatnonzero(names == "").tolist() if keep_others else []
    return masks.select(np.array([*selected, *others], np.int64))


def join(named: Masks, everything: Masks) -> Masks:
    """Named masks, then masks of everything that duplicate none of them."""
    new = np.array(
        [
            not (box_iou(box, named.boxes_xyxy) > DUPLICATE_IOU).any()
            for box in everything.boxes_xyxy
        ],
        bool,
    )
    others = everything.select(new)
    nothing = np.zeros(len(others), np.float32)
    others = others.with_columns(phrases=("",) * len(others), phrase_scores=nothing)
    return Masks.concatenate([named, others])
