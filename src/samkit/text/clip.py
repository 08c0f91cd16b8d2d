"""CLIP: words and pictures to vectors of one space.

Source: arXiv:2103.00020; networks and tokenizers are those of `transformers`. Shape legend:
N texts or pictures, D dimensions of the space.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from samkit.errors import PromptError, WeightsError
from samkit.text.loading import (
    check_tokenizer,
    find_text_model,
    load_network,
    read_config,
    read_json,
    reading,
)
from samkit.weights.checkpoint import weights_sha256

if TYPE_CHECKING:
    from transformers import CLIPModel, PreTrainedTokenizerBase

Codes = npt.NDArray[np.float32]

DEFAULT_CLIP = "openai/clip-vit-base-patch32"
MODEL_TYPE = "clip"
PROCESSOR_FILE = "preprocessor_config.json"
# What transformers 5 writes instead, and what of it is about pictures.
NEW_PROCESSOR_FILE, IMAGES_KEY = "processor_config.json", "image_processor"
AT_ONCE = 32  # texts or pictures encoded together
SHOWN_TEXT = 60  # characters of a text in a message
SHOWN_MISSING = 3  # tensors in a message
UNENCODED = re.compile("[\ud800-\udfff]")  # halves of characters, such as of bytes that are no text
PROBE = "a photo of the quick brown fox, in 1989"


@dataclass(frozen=True, kw_only=True)
class ClipPixels:
    """How CLIP's pictures are prepared: side in pixels, mean and deviation of RGB from 0 to 1."""

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def prepare(self, pictures: Sequence[npt.NDArray[np.uint8]]) -> torch.Tensor:
        """Square pictures uint8 RGB (S, S, 3) as normalised pixels (N, 3, size, size)."""
        sized = [
            picture
            if picture.shape[0] == self.size
            else np.asarray(
                Image.fromarray(picture).resize((self.size,) * 2, Image.Resampling.BICUBIC)
            )
            for picture in pictures
        ]
        pixels = torch.from_numpy(np.stack(sized)).permute(0, 3, 1, 2).float() / 255
        mean, std = torch.tensor(self.mean), torch.tensor(self.std)
        return (pixels - mean[:, None, None]) / std[:, None, None]


class Clip:
    """A CLIP model with its tokenizer.

    Attributes:
        model: the network, in evaluation mode.
        tokenizer: of its texts.
        pixels: how its pictures are prepared.
        source: the folder or name that it was loaded from.
    """

    def __init__(
        self,
        model: CLIPModel,
        tokenizer: PreTrainedTokenizerBase,
        pixels: ClipPixels,
        *,
        source: str,
    ) -> None:
        network: Any = model  # its methods have no types
        self.model = network.eval()
        self.tokenizer: Any = tokenizer
        self.pixels = pixels
        self.source = source

    @classmethod
    def load(cls, source: str | os.PathLike[str] = DEFAULT_CLIP, *, device: str = "cpu") -> Clip:
        """Load a CLIP from a folder or from the hub.

        Raises:
            ConfigError: transformers is not installed.
            WeightsError: another kind of model, or damaged files.
            DownloadError: it could not be fetched.
        """
        folder = find_text_model(source)
        kind = read_config(folder).get("model_type")
        if kind != MODEL_TYPE:
            raise WeightsError(f"{source} is a model of type {kind!r}; expected {MODEL_TYPE!r}")
        from transformers import AutoTokenizer, CLIPModel

        check_tokenizer(folder)
        with reading(folder):
            model, missing = load_network(CLIPModel, folder)
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        if missing:
            raise WeightsError(f"{folder} has no weights for {', '.join(missing[:SHOWN_MISSING])}")
        pixels, size = read_pixels(folder), model.config.vision_config.image_size
        if pixels.size != size:
            raise WeightsError(f"{folder} prepares pictures of {pixels.size} for a CLIP of {size}")
        model.float().to(device).requires_grad_(False)
        # A folder is told as it is found from anywhere: models remember it.
        name = os.path.abspath(source) if Path(source).is_dir() else os.fspath(source)  # noqa: PTH100
        return cls(model, tokenizer, pixels, source=name)

    @property
    def dim(self) -> int:
        """Dimensions of the space."""
        return int(self.model.config.projection_dim)

    @property
    def logit_scale(self) -> float:
        """What cosines are multiplied with before a softmax."""
        return math.exp(float(self.model.logit_scale))

    @property
    def most_tokens(self) -> int:
        """Tokens of a text at most, its begin and end counted."""
        return int(self.model.config.text_config.max_position_embeddings)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of weights and words, which tells one CLIP from others."""
        words = sorted(self.tokenizer.get_vocab().items())
        ids = self.tokenizer(PROBE)["input_ids"]  # what the merges make of some words
        facts = json.dumps([words, ids, asdict(self.pixels)])
        return hashlib.sha256(f"{weights_sha256(self.model)}{facts}".encode()).hexdigest()

    @torch.no_grad()
    def encode_texts(self, texts: Sequence[str]) -> Codes:
        """Texts as vectors (N, D) of length 1.

        Raises:
            PromptError: a text is empty or has more tokens than CLIP takes; nothing is cut off.
        """
        check_texts(texts)
        parts = []
        for start in range(0, len(texts), AT_ONCE):
            ids = self.tokenize(texts[start : start + AT_ONCE]).to(self.model.device)
            parts.append(self.text_embeds(ids).float().cpu().numpy())
        return np.concatenate(parts) if parts else np.zeros((0, self.dim), np.float32)

    def tokenize(self, texts: Sequence[str]) -> torch.Tensor:
        """Token numbers (N, L) of texts, padded to the longest.

        Raises:
            PromptError: a text has too many tokens.
        """
        ids = self.tokenizer(list(texts), verbose=False)["input_ids"]
        for text, row in zip(texts, ids, strict=True):
            if len(row) > self.most_tokens:
                raise PromptError(
                    f"a text may have {self.most_tokens - 2} tokens for {self.source};"
                    f" {text[:SHOWN_TEXT]!r} has {len(row) - 2}: shorten it"
                )
        longest = max(len(row) for row in ids)
        # What follows the first end is not looked at: attention is causal, and it is what counts.
        end = self.tokenizer.eos_token_id
        return torch.tensor([row + [end] * (longest - len(row)) for row in ids])

    def text_embeds(self, ids: torch.Tensor) -> torch.Tensor:
        """Token numbers (N, L) to vectors (N, D) of length 1; keeps gradients."""
        output = self.model.get_text_features(input_ids=ids)
        return torch.nn.functional.normalize(_pooled(output), dim=-1)

    def image_pos_enc(self, pixels: torch.Tensor) -> torch.Tensor:
        """Normalised pixels (N, 3, S, S) to vectors (N, D) of length 1; keeps gradients."""
        output = self.model.get_image_features(pixel_values=pixels)
        return torch.nn.functional.normalize(_pooled(output), dim=-1)

    @torch.no_grad()
    def encode_images(self, pictures: Iterable[npt.NDArray[np.uint8]]) -> Codes:
        """Square pictures uint8 RGB (S, S, 3), of any sizes, as vectors (N, D) of length 1.

        They are taken some at a time, and not kept.
        """
        parts, rest = [], iter(pictures)
        while some := list(islice(rest, AT_ONCE)):
            pixels = self.pixels.prepare(some).to(self.model.device)
            parts.append(self.image_pos_enc(pixels).float().cpu().numpy())
        return np.concatenate(parts) if parts else np.zeros((0, self.dim), np.float32)


def _pooled(output: Any) -> torch.Tensor:
    """Features: older versions of transformers give the tensor itself."""
    features: torch.Tensor = getattr(output, "pooler_output", output)
    return features


def check_texts(texts: Sequence[str]) -> None:
    """Raise a PromptError unless all are texts with something in them."""
    for text in texts:
        if not isinstance(text, str):
            raise PromptError(f"text must be a word or words; got {text!r:.60}")
        if not text.isprintable() and UNENCODED.search(text):
            raise PromptError(f"text must be of whole characters; got {text!r:.60}")
        if not text.strip():
            raise PromptError('text must not be empty: write what to look for, such as "a red car"')


def read_pixels(folder: Path) -> ClipPixels:
    """How a saved CLIP's pictures are prepared.

    Raises:
        WeightsError: the folder does not say.
    """
    path = folder / PROCESSOR_FILE
    if not path.is_file() and (folder / NEW_PROCESSOR_FILE).is_file():
        path = folder / NEW_PROCESSOR_FILE
    values = read_json(path)
    values = values.get(IMAGES_KEY, values)
    try:
        size = values.get("crop_size", values.get("size"))
        side: Any = size
        if isinstance(size, dict):
            side = size.get("height", size.get("shortest_edge"))
        return ClipPixels(
            size=int(side), mean=tuple(values["image_mean"]), std=tuple(values["image_std"])
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise WeightsError(f"{path} has no size, mean or deviation") from error
