"""Open-vocabulary detectors: phrases to boxes.

Sources: Grounding DINO, arXiv:2303.05499; OWLv2, arXiv:2306.09683. Networks, tokenizers and image
preprocessing are those of `transformers`. Shape legend: K detected boxes, Q boxes that a network
proposes, P phrases, T tokens.
"""

from __future__ import annotations

import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from samkit.arrays import RgbImage
from samkit.errors import ConfigError, ImageError, PromptError, WeightsError
from samkit.text.clip import SHOWN_TEXT, check_texts
from samkit.text.detections import Detections, order_boxes, to_pixels
from samkit.text.loading import (
    check_tokenizer,
    find_text_model,
    load_network,
    read_config,
    reading,
)

if TYPE_CHECKING:
    from transformers import BaseImageProcessor, PreTrainedTokenizerBase

logger = logging.getLogger(__name__)


DEFAULT_DETECTOR = "IDEA-Research/grounding-dino-tiny"
# Grounding DINO ends a phrase at each of these characters.
TO_SPACES = str.maketrans(".?", "  ")
END = "."
# Resized to 1333 pixels, as published, an image of 1:33 has fewer positions than the 900 boxes that
# Grounding DINO proposes, and longer ones have no height.
MAX_ASPECT = 20


class Detector(ABC):
    """A network that finds what phrases name, with its tokenizer.

    Attributes:
        box_thresh: default score above which boxes are kept.
        model: the network, in evaluation mode.
        source: the folder or name that it was loaded from.
    """

    box_thresh: ClassVar[float]

    def __init__(
        self,
        model: torch.nn.Module,
        tokenizer: PreTrainedTokenizerBase,
        image_processor: BaseImageProcessor,
        *,
        source: str,
    ) -> None:
        self.model: Any = model.eval()
        self.tokenizer: Any = tokenizer
        self.image_processor: Any = image_processor
        self.source = source

    @torch.no_grad()
    def detect(
        self, image: RgbImage, phrases: Sequence[str], *, box_thresh: float | None = None
    ) -> Detections:
        """Find what phrases name.

        Each box that the network proposes gets the phrase that fits it best. Boxes may overlap:
        `samkit.text.ground` keeps only one of several around the same object.

        Args:
            image: uint8 RGB (H, W, 3).
            phrases: duplicates count once.
            box_thresh: from 0 to 1; boxes with a higher score are kept. None: the default.

        Raises:
            PromptError: there are no phrases, or one is empty or too long.
            ImageError: the image is of the wrong type or shape, or too elongated for the network.
            ConfigError: the threshold is not from 0 to 1.
        """
        check_image(image)
        check_phrases(phrases)
        thresh = check_share("box_thresh", self.box_thresh if box_thresh is None else box_thresh)
        passes = self.split(tuple(dict.fromkeys(phrases)))
        pixels = self.prepare(image)
        boxes, scores, names = [], [], []
        for part in passes:
            relative, logits = self.infer(pixels, part)
            best = logits.max(dim=1)
            boxes.append(relative.double().cpu().numpy())
            scores.append(best.values.float().sigmoid().cpu().numpy())
            names += [part[number] for number in best.indices.tolist()]
        height, width = image.shape[:2]
        input_wh = self.input_wh((height, width))
        boxes_xyxy = to_pixels(np.concatenate(boxes), input_wh, (height, width))
        return order_boxes(boxes_xyxy, np.concatenate(scores), names, thresh)

    def prepare(self, image: RgbImage) -> Mapping[str, torch.Tensor]:
        """Convert a uint8 RGB image (H, W, 3) to the network's inputs, on its device."""
        inputs: Mapping[str, torch.Tensor] = self.image_processor(
            image, return_tensors="pt", input_data_format="channels_last"
        ).to(self.model.device)
        return inputs

    @abstractmethod
    def split(self, phrases: tuple[str, ...]) -> list[tuple[str, ...]]:
        """Split phrases into groups that the network reads in one pass.

        Raises:
            PromptError: a phrase is too long.
        """

    @abstractmethod
    def infer(
        self, pixels: Mapping[str, torch.Tensor], phrases: tuple[str, ...]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Run the network on an image and a group of phrases.

        Returns:
            boxes (Q, 4): centre x and y, width and height, relative to `input_wh`; logits (Q, P).
        """

    @abstractmethod
    def input_wh(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """Width and height, in pixels of the image, of the network's input, padding included."""

    def check_length(self, phrase: str, tokens: int, max_tokens: int) -> None:
        """Raise a PromptError unless a phrase has 1 to `max_tokens` tokens."""
        if tokens > max_tokens:
            raise PromptError(
                f"a phrase may have {max_tokens} tokens for {self.source};"
                f" {phrase[:SHOWN_TEXT]!r} has {tokens}: shorten it"
            )
        if not tokens:
            raise PromptError(
                f"{phrase[:SHOWN_TEXT]!r} has nothing that {self.source} can read: write what to"
                ' look for, such as "a red car"'
            )


class GroundingDino(Detector):
    """Grounding DINO: phrases are joined into one text, and boxes are compared with each token.

    The text is lower-cased, and each phrase ends with a full stop; full stops and question marks
    within a phrase are read as spaces. A box's score for a phrase is the highest of its tokens'
    scores. Phrases that do not fit into one text take several passes; scores and boxes depend on
    which phrases share a text, since the network attends to all of it.

    Source: arXiv:2303.05499. Deviations: a box has one phrase instead of all tokens above a second
    threshold.
    """

    box_thresh = 0.3  # as in Grounded SAM's demo

    @property
    def max_tokens(self) -> int:
        """Maximum number of tokens of a text, without its begin and end."""
        config = self.model.config
        return int(min(config.max_text_len, config.text_config.max_position_embeddings)) - 2

    def prepare(self, image: RgbImage) -> Mapping[str, torch.Tensor]:
        height, width = image.shape[:2]
        if max(height, width) > MAX_ASPECT * min(height, width):
            raise ImageError(
                f"an image's aspect ratio must be {MAX_ASPECT}:1 at most for {self.source};"
                f" got {width} x {height} pixels: cut it into pieces"
            )
        return super().prepare(image)

    def split(self, phrases: tuple[str, ...]) -> list[tuple[str, ...]]:
        texts = [normalise(phrase) for phrase in phrases]
        ids = self.tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
        sizes = [len(row) + 1 for row in ids]  # plus the full stop
        for phrase, size in zip(phrases, sizes, strict=True):
            self.check_length(phrase, size - 1, self.max_tokens - 1)
        groups = pack(sizes, self.max_tokens)
        return [tuple(phrases[number] for number in group) for group in groups]

    def infer(
        self, pixels: Mapping[str, torch.Tensor], phrases: tuple[str, ...]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        text, spans = join_phrases([normalise(phrase) for phrase in phrases])
        tokens = self.tokenizer(text, return_offsets_mapping=True, return_tensors="pt")
        owned_PT = own_tokens(tokens.pop("offset_mapping")[0], spans)
        output = self.model(**pixels, **tokens.to(self.model.device))
        # The network pads texts to its maximum length.
        logits_QT = output.logits[0, :, : owned_PT.shape[1]]
        best = [logits_QT[:, own].amax(dim=1) for own in owned_PT.to(logits_QT.device)]
        return output.pred_boxes[0], torch.stack(best, dim=1)

    def input_wh(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        return size_hw[1], size_hw[0]


class Owlv2(Detector):
    """OWLv2: each phrase is a query of its own; any number of them takes one pass.

    Phrases are read as they are: templates such as "a photo of a {}" are up to the caller.
    """

    box_thresh = 0.15  # our choice

    def split(self, phrases: tuple[str, ...]) -> list[tuple[str, ...]]:
        max_tokens = int(self.model.config.text_config.max_position_embeddings) - 2  # begin and end
        ids = self.tokenizer(list(phrases), add_special_tokens=False, verbose=False)["input_ids"]
        for phrase, row in zip(phrases, ids, strict=True):
            self.check_length(phrase, len(row), max_tokens)
        return [phrases]

    def infer(
        self, pixels: Mapping[str, torch.Tensor], phrases: tuple[str, ...]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        tokens = self.tokenizer(list(phrases), padding=True, return_tensors="pt")
        output = self.model(**pixels, **tokens.to(self.model.device))
        return output.pred_boxes[0], output.logits[0]

    def input_wh(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        side = max(size_hw)  # images are padded at the bottom and right to a square
        return side, side


# By `model_type` of the configuration.
DETECTORS: dict[str, type[Detector]] = {"grounding-dino": GroundingDino, "owlv2": Owlv2}


def load_detector(
    source: str | os.PathLike[str] = DEFAULT_DETECTOR, *, device: str = "cpu"
) -> Detector:
    """Load a detector from a folder or the hub.

    Raises:
        ConfigError: the packages for text are not installed.
        WeightsError: the model is of another kind, or its files are damaged.
        DownloadError: the model could not be downloaded.
    """
    folder = find_text_model(source)
    model_type = read_config(folder).get("model_type")
    kind = DETECTORS.get(str(model_type))
    if kind is None:
        raise WeightsError(
            f"{source} is a model of type {model_type!r}; expected {' or '.join(DETECTORS)}"
        )
    from transformers import AutoImageProcessor, AutoModelForZeroShotObjectDetection, AutoTokenizer

    auto_image_processor: Any = AutoImageProcessor  # untyped
    check_tokenizer(folder)
    with reading(folder):
        model, missing = load_network(AutoModelForZeroShotObjectDetection, folder)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        image_processor = auto_image_processor.from_pretrained(folder, local_files_only=True)
    if missing:
        logger.warning(
            "%s has no weights for %d tensors, such as %s", folder, len(missing), missing[0]
        )
    model.float().to(device).requires_grad_(False)
    return kind(model, tokenizer, image_processor, source=os.fspath(source))


def check_image(image: RgbImage) -> None:
    """Raise an ImageError unless an image is nonempty uint8 (H, W, 3)."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ImageError(f"an image must be uint8 (H, W, 3); got {image.dtype} {image.shape}")


def check_phrases(phrases: Sequence[str]) -> None:
    """Raise a PromptError unless there are phrases and none is empty."""
    if isinstance(phrases, str):
        raise PromptError(f'phrases must be a list, such as ["a red car"]; got {phrases!r:.60}')
    if not len(phrases):
        raise PromptError('phrases must not be empty: write what to look for, such as "a red car"')
    check_texts(phrases)


def check_share(name: str, value: float) -> float:
    """Return the value; raise a ConfigError unless it is from 0 to 1."""
    if not 0 <= value <= 1:
        raise ConfigError(f"{name} must be from 0 to 1; got {value!r}")
    return value


def normalise(phrase: str) -> str:
    """Normalise a phrase for Grounding DINO: "St. Bernard" becomes "st bernard"."""
    return " ".join(phrase.lower().translate(TO_SPACES).split())


def join_phrases(texts: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    """Join phrases into one text, "a cat. a dog."; also each phrase's start and end in it."""
    spans, start = [], 0
    for text in texts:
        spans.append((start, start + len(text)))
        start += len(text) + len(END) + 1  # plus the space
    return " ".join(text + END for text in texts), spans


def own_tokens(offsets: torch.Tensor, spans: Sequence[tuple[int, int]]) -> torch.Tensor:
    """Mask (P, T) of the tokens of each phrase; begin, end and full stops belong to none.

    Args:
        offsets: (T, 2) start and end of each token, in characters of the text.
        spans: start and end of each phrase, likewise in characters.
    """
    begins, ends = offsets.unbind(1)
    return torch.stack(
        [(begins >= start) & (ends <= stop) & (begins < ends) for start, stop in spans]
    )


def pack(sizes: Sequence[int], room: int) -> list[list[int]]:
    """Pack items into few groups of total size at most `room` each; return their indices.

    Items are placed from large to small into the first group with room: "first fit decreasing".
    """
    groups: list[list[int]] = []
    free: list[int] = []
    for number in sorted(range(len(sizes)), key=lambda number: -sizes[number]):
        place = next((at for at, left in enumerate(free) if sizes[number] <= left), len(free))
        if place == len(free):
            groups.append([])
            free.append(room)
        groups[place].append(number)
        free[place] -= sizes[number]
    return [sorted(group) for group in groups]
