"""CLIP: texts and images to embeddings in one space.

Source: arXiv:2103.00020; networks and tokenizers are those of `transformers`. Shape legend:
N texts or images, D dimensions of the embeddings.
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
    read_json_object,
    reading,
)
from samkit.weights import weights_sha256

if TYPE_CHECKING:
    from transformers import CLIPModel, PreTrainedTokenizerBase

Embeds = npt.NDArray[np.float32]

DEFAULT_CLIP = "openai/clip-vit-base-patch32"
MODEL_TYPE = "clip"
PROCESSOR_FILE = "preprocessor_config.json"
# The file that transformers 5 writes instead, and the key of its part about images.
NEW_PROCESSOR_FILE, IMAGES_KEY = "processor_config.json", "image_processor"
BATCH_SIZE = 32  # texts or images encoded together
SHOWN_TEXT = 60  # characters of a text in a message
SHOWN_MISSING = 3  # tensors in a message
UNENCODED = re.compile("[\ud800-\udfff]")  # lone surrogates, such as from undecodable bytes
PROBE = "a photo of the quick brown fox, in 1989"


@dataclass(frozen=True, kw_only=True)
class ClipPixels:
    """CLIP's image preprocessing: side in pixels, mean and std of RGB values from 0 to 1."""

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def prepare(self, pictures: Sequence[npt.NDArray[np.uint8]]) -> torch.Tensor:
        """Convert square uint8 RGB images (S, S, 3) to normalised pixels (N, 3, size, size)."""
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
        pixels: preprocessing of images.
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
        network: Any = model  # its methods are untyped
        self.model = network.eval()
        self.tokenizer: Any = tokenizer
        self.pixels = pixels
        self.source = source

    @classmethod
    def load(cls, source: str | os.PathLike[str] = DEFAULT_CLIP, *, device: str = "cpu") -> Clip:
        """Load a CLIP from a folder or the hub.

        Raises:
            ConfigError: transformers is not installed.
            WeightsError: the model is of another kind, or its files are damaged.
            DownloadError: the model could not be downloaded.
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
            raise WeightsError(
                f"{folder} resizes images to {pixels.size} pixels; its CLIP expects {size}"
            )
        model.float().to(device).requires_grad_(False)
        # An absolute path, since trained models record where their CLIP was.
        name = os.path.abspath(source) if Path(source).is_dir() else os.fspath(source)  # noqa: PTH100
        return cls(model, tokenizer, pixels, source=name)

    @property
    def dim(self) -> int:
        """Dimension of the embeddings."""
        return int(self.model.config.projection_dim)

    @property
    def logit_scale(self) -> float:
        """Factor of cosine similarities before a softmax."""
        return math.exp(float(self.model.logit_scale.detach()))

    @property
    def max_tokens(self) -> int:
        """Maximum number of tokens of a text, including its begin and end."""
        return int(self.model.config.text_config.max_position_embeddings)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the weights, tokenizer and preprocessing, which identifies a CLIP."""
        words = sorted(self.tokenizer.get_vocab().items())
        ids = self.tokenizer(PROBE)["input_ids"]  # depends on the tokenizer's merges
        facts = json.dumps([words, ids, asdict(self.pixels)])
        return hashlib.sha256(f"{weights_sha256(self.model)}{facts}".encode()).hexdigest()

    @torch.no_grad()
    def encode_texts(self, texts: Sequence[str]) -> Embeds:
        """Unit-length embeddings (N, D) of texts.

        Raises:
            PromptError: a text is empty or has too many tokens; nothing is truncated.
        """
        check_texts(texts)
        parts = []
        for start in range(0, len(texts), BATCH_SIZE):
            ids = self.tokenize(texts[start : start + BATCH_SIZE]).to(self.model.device)
            parts.append(self.text_embeds(ids).float().cpu().numpy())
        return np.concatenate(parts) if parts else np.zeros((0, self.dim), np.float32)

    def tokenize(self, texts: Sequence[str]) -> torch.Tensor:
        """Token ids (N, L) of texts, padded to the longest.

        Raises:
            PromptError: a text has too many tokens.
        """
        ids = self.tokenizer(list(texts), verbose=False)["input_ids"]
        for text, row in zip(texts, ids, strict=True):
            if len(row) > self.max_tokens:
                raise PromptError(
                    f"a text may have {self.max_tokens - 2} tokens for {self.source};"
                    f" {text[:SHOWN_TEXT]!r} has {len(row) - 2}: shorten it"
                )
        longest = max(len(row) for row in ids)
        # Padding has no effect: attention is causal, and the output is read at the first end token.
        end = self.tokenizer.eos_token_id
        return torch.tensor([row + [end] * (longest - len(row)) for row in ids])

    def text_embeds(self, ids: torch.Tensor) -> torch.Tensor:
        """Unit-length embeddings (N, D) of token ids (N, L); differentiable."""
        output = self.model.get_text_features(input_ids=ids)
        return torch.nn.functional.normalize(_pooled(output), dim=-1)

    def image_embeds(self, pixels: torch.Tensor) -> torch.Tensor:
        """Unit-length embeddings (N, D) of normalised pixels (N, 3, S, S); differentiable."""
        output = self.model.get_image_features(pixel_values=pixels)
        return torch.nn.functional.normalize(_pooled(output), dim=-1)

    @torch.no_grad()
    def encode_images(self, pictures: Iterable[npt.NDArray[np.uint8]]) -> Embeds:
        """Unit-length embeddings (N, D) of square uint8 RGB images (S, S, 3) of any size.

        Images are consumed in batches and not stored.
        """
        parts, rest = [], iter(pictures)
        while some := list(islice(rest, BATCH_SIZE)):
            pixels = self.pixels.prepare(some).to(self.model.device)
            parts.append(self.image_embeds(pixels).float().cpu().numpy())
        return np.concatenate(parts) if parts else np.zeros((0, self.dim), np.float32)


def _pooled(output: Any) -> torch.Tensor:
    """The features of a network output; older versions of transformers return the tensor itself."""
    features: torch.Tensor = getattr(output, "pooler_output", output)
    return features


def check_texts(texts: Sequence[str]) -> None:
    """Raise a PromptError unless all are nonempty strings."""
    for text in texts:
        if not isinstance(text, str):
            raise PromptError(f"text must be a word or words; got {text!r:.60}")
        if not text.isprintable() and UNENCODED.search(text):
            raise PromptError(f"text must be of whole characters; got {text!r:.60}")
        if not text.strip():
            raise PromptError('text must not be empty: write what to look for, such as "a red car"')


def read_pixels(folder: Path) -> ClipPixels:
    """Read a saved CLIP's image preprocessing.

    Raises:
        WeightsError: the folder does not state it.
    """
    path = folder / PROCESSOR_FILE
    if not path.is_file() and (folder / NEW_PROCESSOR_FILE).is_file():
        path = folder / NEW_PROCESSOR_FILE
    values = read_json_object(path)
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
        raise WeightsError(f"{path} must give an image size, mean and std") from error
