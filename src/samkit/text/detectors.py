"""Detectors of what is named: phrases to boxes.

Sources: Grounding DINO, arXiv:2303.05499; OWLv2, arXiv:2306.09683. Networks, tokenizers and the
preparation of images are those of `transformers`. Shape legend: K boxes that were found, Q boxes
that a network proposes, P phrases, T tokens.
"""

from __future__ import annotations

import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

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

ImageArray = npt.NDArray[np.uint8]

DEFAULT_DETECTOR = "IDEA-Research/grounding-dino-tiny"
# Grounding DINO reads each of these as the end of a phrase.
SEPARATORS = str.maketrans(".?", "  ")
END = "."
# Made 1333 pixels long, as published, an image of 1:33 has fewer places than the 900 boxes that
# Grounding DINO proposes, and longer ones have no height.
LARGEST_ASPECT = 20


class Detector(ABC):
    """A network that finds what phrases name, with its tokenizer.

    Attributes:
        box_thresh: the score above which boxes count, unless another is asked for.
        model: the network, in evaluation mode.
        tokenizer: of its texts.
        image_processor: how its images are prepared.
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
        self, image: ImageArray, phrases: Sequence[str], *, box_thresh: float | None = None
    ) -> Detections:
        """Find what phrases name.

        Each box that the network proposes gets the phrase that fits it best. Boxes may overlap:
        `samkit.text.ground` also keeps one of several around the same thing.

        Args:
            image: uint8 RGB (H, W, 3).
            phrases: what to look for; the same one twice counts once.
            box_thresh: from 0 to 1; boxes with a higher score are kept. That of the kind if None.

        Raises:
            PromptError: no phrases, an empty one, or one that is too long.
            ImageError: another type or shape, or too narrow for the network.
            ConfigError: a threshold outside of 0 to 1.
        """
        check_image(image)
        check_phrases(phrases)
        thresh = check_share("box_thresh", self.box_thresh if box_thresh is None else box_thresh)
        passes = self.split(tuple(dict.fromkeys(phrases)))
        pixels = self.prepare(image)
        boxes, scores, names = [], [], []
        for part in passes:
            relative, logits = self.look(pixels, part)
            best = logits.max(dim=1)
            boxes.append(relative.double().cpu().numpy())
            scores.append(best.values.float().sigmoid().cpu().numpy())
            names += [part[number] for number in best.indices.tolist()]
        height, width = image.shape[:2]
        input_wh = self.input_wh((height, width))
        boxes_xyxy = to_pixels(np.concatenate(boxes), input_wh, (height, width))
        return order_boxes(boxes_xyxy, np.concatenate(scores), names, thresh)

    def prepare(self, image: ImageArray) -> Mapping[str, torch.Tensor]:
        """An image uint8 RGB (H, W, 3) as the network's inputs, on its device."""
        inputs: Mapping[str, torch.Tensor] = self.image_processor(
            image, return_tensors="pt", input_data_format="channels_last"
        ).to(self.model.device)
        return inputs

    @abstractmethod
    def split(self, phrases: tuple[str, ...]) -> list[tuple[str, ...]]:
        """Phrases in groups that the network can read at once.

        Raises:
            PromptError: a phrase is too long.
        """

    @abstractmethod
    def look(
        self, pixels: Mapping[str, torch.Tensor], phrases: tuple[str, ...]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Run the network once.

        Returns:
            boxes (Q, 4): centre x and y, width and height, relative to the frame; logits (Q, P).
        """

    @abstractmethod
    def input_wh(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """Width and height in pixels of the image of what boxes are relative to."""

    def check_length(self, phrase: str, tokens: int, most: int) -> None:
        """Raise a PromptError unless a phrase has at most so many tokens, and any."""
        if tokens > most:
            raise PromptError(
                f"a phrase may have {most} tokens for {self.source};"
                f" {phrase[:SHOWN_TEXT]!r} has {tokens}: shorten it"
            )
        if not tokens:
            raise PromptError(
                f"{phrase[:SHOWN_TEXT]!r} has nothing that {self.source} reads: write what to look"
                ' for, such as "a red car"'
            )


class GroundingDino(Detector):
    """Grounding DINO: the phrases are one text, and boxes are compared with each of its tokens.

    The text is in lower case, and each phrase ends with a full stop; full stops and question marks
    within a phrase are read as spaces. A box's score for a phrase is the highest of its tokens'.
    Where phrases do not fit in one text, the network runs more than once; scores and boxes depend
    on which phrases come together, since the network compares the image with all of a text.

    Source: arXiv:2303.05499. Deviations: a box has one phrase instead of all tokens above a second
    threshold.
    """

    box_thresh = 0.3  # of Grounded SAM's demonstration

    @property
    def most_tokens(self) -> int:
        """Tokens of a text at most, without its begin and end."""
        config = self.model.config
        return int(min(config.max_text_len, config.text_config.max_position_embeddings)) - 2

    def prepare(self, image: ImageArray) -> Mapping[str, torch.Tensor]:
        height, width = image.shape[:2]
        if max(height, width) > LARGEST_ASPECT * min(height, width):
            raise ImageError(
                f"an image's sides may be 1:{LARGEST_ASPECT} for {self.source};"
                f" got {width} x {height} pixels: cut it into pieces"
            )
        return super().prepare(image)

    def split(self, phrases: tuple[str, ...]) -> list[tuple[str, ...]]:
        texts = [normalise(phrase) for phrase in phrases]
        ids = self.tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
        sizes = [len(row) + 1 for row in ids]  # and the full stop
        for phrase, size in zip(phrases, sizes, strict=True):
            self.check_length(phrase, size - 1, self.most_tokens - 1)
        groups = pack(sizes, self.most_tokens)
        return [tuple(phrases[number] for number in group) for group in groups]

    def look(
        self, pixels: Mapping[str, torch.Tensor], phrases: tuple[str, ...]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        text, spans = join_phrases([normalise(phrase) for phrase in phrases])
        tokens = self.tokenizer(text, return_offsets_mapping=True, return_tensors="pt")
        owned_PT = own_tokens(tokens.pop("offset_mapping")[0], spans)
        output = self.model(**pixels, **tokens.to(self.model.device))
        # The network pads texts to the longest that it takes.
        logits_QT = output.logits[0, :, : owned_PT.shape[1]]
        best = [logits_QT[:, own].amax(dim=1) for own in owned_PT.to(logits_QT.device)]
        return output.pred_boxes[0], torch.stack(best, dim=1)

    def input_wh(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        return size_hw[1], size_hw[0]


class Owlv2(Detector):
    """OWLv2: each phrase is a query of its own, and any number of them is read at once.

    A phrase is read as it is: sentences around it, such as "a photo of a {}", are the caller's.

    Source: arXiv:2306.09683. Deviations: none.
    """

    box_thresh = 0.15  # ours

    def split(self, phrases: tuple[str, ...]) -> list[tuple[str, ...]]:
        most = int(self.model.config.text_config.max_position_embeddings) - 2  # begin and end
        ids = self.tokenizer(list(phrases), add_special_tokens=False, verbose=False)["input_ids"]
        for phrase, row in zip(phrases, ids, strict=True):
            self.check_length(phrase, len(row), most)
        return [phrases]

    def look(
        self, pixels: Mapping[str, torch.Tensor], phrases: tuple[str, ...]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        tokens = self.tokenizer(list(phrases), padding=True, return_tensors="pt")
        output = self.model(**pixels, **tokens.to(self.model.device))
        return output.pred_boxes[0], output.logits[0]

    def input_wh(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        side = max(size_hw)  # images are padded at the bottom and right to a square
        return side, side


# By what a configuration calls its model.
KINDS: dict[str, type[Detector]] = {"grounding-dino": GroundingDino, "owlv2": Owlv2}


def load_detector(
    source: str | os.PathLike[str] = DEFAULT_DETECTOR, *, device: str = "cpu"
) -> Detector:
    """Load a detector from a folder or from the hub.

    Raises:
        ConfigError: what text needs is not installed.
        WeightsError: another kind of model, or damaged files.
        DownloadError: it could not be fetched.
    """
    folder = find_text_model(source)
    model_type = read_config(folder).get("model_type")
    kind = KINDS.get(str(model_type))
    if kind is None:
        raise WeightsError(
            f"{source} is a model of type {model_type!r}; expected {' or '.join(KINDS)}"
        )
    from transformers import AutoImageProcessor, AutoModelForZeroShotObjectDetection, AutoTokenizer

    auto_image_processor: Any = AutoImageProcessor  # it has no types
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


def check_image(image: ImageArray) -> None:
    """Raise an ImageError unless it is uint8 (H, W, 3) with pixels."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ImageError(f"an image must be uint8 (H, W, 3); got {image.dtype} {image.shape}")


def check_phrases(phrases: Sequence[str]) -> None:
    """Raise a PromptError unless there are phrases, with something in each."""
    if isinstance(phrases, str):
        raise PromptError(f'phrases must be a list, such as ["a red car"]; got {phrases!r:.60}')
    if not len(phrases):
        raise PromptError('phrases must not be empty: write what to look for, such as "a red car"')
    check_texts(phrases)


def check_share(name: str, value: float) -> float:
    """The value, unless it is outside of 0 to 1, which is a ConfigError."""
    if not 0 <= value <= 1:
        raise ConfigError(f"{name} must be from 0 to 1; got {value!r}")
    return value


def normalise(phrase: str) -> str:
    """A phrase as Grounding DINO reads it: "St. Bernard" as "st bernard"."""
    return " ".join(phrase.lower().translate(SEPARATORS).split())


def join_phrases(texts: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    """One text, "a cat. a dog.", and where each of the phrases begins and ends in it."""
    spans, start = [], 0
    for text in texts:
        spans.append((start, start + len(text)))
        start += len(text) + len(END) + 1  # and the space
    return " ".join(text + END for text in texts), spans


def own_tokens(offsets: torch.Tensor, spans: Sequence[tuple[int, int]]) -> torch.Tensor:
    """Which tokens (P, T) belong to which phrase; begin, end and full stops belong to none.

    Args:
        offsets: (T, 2) characters of the text that each token begins and ends with.
        spans: likewise, of each phrase.
    """
    begins, ends = offsets.unbind(1)
    return torch.stack(
        [(begins >= start) & (ends <= stop) & (begins < ends) for start, stop in spans]
    )


def pack(sizes: Sequence[int], room: int) -> list[list[int]]:
    """Numbers of things in few groups whose sizes have at most `room` in sum; in one if all fit.

    The largest are placed first, each in the first group with room for it: "first fit decreasing".
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
