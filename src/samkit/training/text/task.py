"""Contrastive training task of CLIP: mask crops and their names get similar embeddings.

Source: arXiv:2103.00020, section 2. Deviations: crops with the same name are not negatives of each
other, since small vocabularies repeat in each batch; with several processes, each compares the
crops of its own batch only, while CLIP gathers those of all. Shape legend: N crops, D dimensions
of CLIP's space.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from samkit.datasets import SampleSource
from samkit.errors import DataError
from samkit.files import write_bytes, write_tensors
from samkit.geometry import decode_rle
from samkit.text import PROCESSOR_FILE, Clip, ClipPixels, draw_crop
from samkit.training.task import Batch, StepResult, Task
from samkit.training.text.recipe import MIN_TEMPERATURE

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

# Mean and std that map colours to -1..1.
PLAIN_PIXELS = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
# A name is trained alone and in sentences, so that both work as prompts.
SENTENCES = ("{}", "{}", "a photo of {}", "a picture of {}", "there is {}")
MAX_SCALE = 1 / MIN_TEMPERATURE  # limit of the factor of cosines before the softmax
CROPS = 401  # purpose of random numbers, part of their seed, so that no two purposes share theirs
WEIGHTS_FILE = "model.safetensors"


class ContrastiveTask(Task):
    """A CLIP and its contrastive loss of crops and names.

    Attributes:
        clip: the CLIP in training.
    """

    def __init__(self, clip: Clip) -> None:
        super().__init__()
        self.clip = clip
        self.network: nn.Module = clip.model

    def forward(self, batch: Batch, generator: torch.Generator) -> StepResult:
        assert batch.pixels is not None
        draw = torch.randint(
            len(SENTENCES), (len(batch.phrases),), generator=generator, device=generator.device
        )
        sentences = [
            SENTENCES[number].format(phrase)
            for number, phrase in zip(draw.tolist(), batch.phrases, strict=True)
        ]
        texts = self.clip.text_embeds(self.clip.tokenize(sentences).to(batch.pixels.device))
        images = self.clip.image_embeds(batch.pixels)
        numbers = {phrase: number for number, phrase in enumerate(dict.fromkeys(batch.phrases))}
        classes = torch.tensor([numbers[phrase] for phrase in batch.phrases], device=images.device)
        scale = self.clip.model.logit_scale.exp()
        loss = contrastive_loss(images, texts, classes, scale)
        best = (images @ texts.T).argmax(1)
        right = (classes[best] == classes).float().mean()
        gap = (images.mean(0) - texts.mean(0)).norm()
        return StepResult(loss, {"right": right, "gap": gap.detach(), "scale": scale.detach()})

    @torch.no_grad()
    def constrain(self) -> None:
        """Limit the scale, as CLIP does: training and use have the same, and it can come back."""
        self.clip.model.logit_scale.clamp_(max=math.log(MAX_SCALE))

    def export(self, path: Path) -> None:
        """Write the weights, as `transformers` names them."""
        write_tensors(path, self.network.state_dict(), {"format": "pt"})


def contrastive_loss(images: Tensor, texts: Tensor, classes: Tensor, scale: Tensor) -> Tensor:
    """Mean of the cross-entropies of image to text and of text to image.

    Args:
        images: (N, D) of length 1.
        texts: (N, D) of length 1, in the same order.
        classes: (N,) equal numbers for equal texts, all of which are right answers.
        scale: factor of the cosines.
    """
    cosines = scale * images @ texts.T
    same = (classes[:, None] == classes).float()
    target = same / same.sum(1, keepdim=True)
    one, other = (
        nn.functional.cross_entropy(logits, target) for logits in (cosines, cosines.T.contiguous())
    )
    return (one + other) / 2


class CropLoader:
    """Batches of random crops with their names, drawn from the seed and the step's number.

    Each crop counts as an image with one mask; `Batch.pixels` are CLIP's inputs.
    """

    def __init__(
        self,
        source: SampleSource,
        pixels: ClipPixels,
        *,
        crops: int,
        seed: int,
        rank: int = 0,
    ) -> None:
        """Prepare to read; nothing is read yet.

        Args:
            source: images whose masks have names.
            pixels: CLIP's image size and normalisation.
            crops: number of crops per batch.
            seed: seed of the crops.
            rank: index of this process, which draws its own crops.

        Raises:
            DataError: there are no images.
        """
        if not len(source):
            raise DataError("the data set has no images")
        self.source, self.pixels, self.crops = source, pixels, crops
        self.seed, self.rank, self.step = seed, rank, 0

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        """The next batch.

        Raises:
            DataError: an image's masks have no names, or a batch's worth of images has no masks.
        """
        rng = np.random.default_rng([CROPS, self.seed, self.rank, self.step])
        crops: list[npt.NDArray[np.uint8]] = []
        phrases: list[str] = []
        keys: list[str] = []
        unusable = 0
        while len(crops) < self.crops:
            sample = self.source[int(rng.integers(len(self.source)))]
            if len(sample.phrases) != len(sample.rles):
                raise DataError(f"{sample.key}: its masks have no names, which training CLIP needs")
            named = [pair for pair in zip(sample.rles, sample.phrases, strict=True) if pair[1]]
            unusable = 0 if named else unusable + 1
            if unusable > self.crops:
                raise DataError(f"{unusable} random images in a row have no named masks")
            for rle, phrase in named:
                crops.append(draw_crop(rng, sample.image, decode_rle(rle), self.pixels.size))
                phrases.append(phrase)
                keys.append(sample.key)
        self.step += 1
        count = self.crops
        return Batch(
            pixels=self.pixels.prepare(crops[:count]),
            features=None,
            masks=torch.ones(count, 1, 1, dtype=torch.bool),
            image_index=torch.arange(count),
            keys=tuple(keys[:count]),
            phrases=tuple(phrases[:count]),
        )

    def __enter__(self) -> CropLoader:  # noqa: PYI034 -- Self is of Python 3.11
        return self

    def __exit__(self, *error: object) -> None:
        """There are no worker processes to end."""

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step = state["step"]


def make_tokenizer(words: Sequence[str], *, max_tokens: int) -> CLIPTokenizer:
    """Make a CLIP tokenizer for a few words: each is one token, others are spelled out."""
    from transformers import CLIPTokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    table: Any = bytes_to_unicode  # has no types
    letter_of = table()
    letters = list(letter_of.values())
    tokens = [*letters, *(letter + "</w>" for letter in letters)]
    merges: list[tuple[str, str]] = []
    for word in dict.fromkeys(words):
        spelled = [letter_of[byte] for byte in word.lower().encode()]
        pieces = [*spelled[:-1], spelled[-1] + "</w>"]
        while len(pieces) > 1:
            pair = (pieces[0], pieces[1])
            pieces[:2] = ["".join(pair)]
            if pair not in merges:
                merges.append(pair)
    tokens += dict.fromkeys("".join(pair) for pair in merges)
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    for special in (
        "<|startoftext|>",
        "<|endoftext|>",
    ):  # the end has the highest index
        vocabulary[special] = len(vocabulary)
    rules: Any = merges  # pairs are taken, whatever its types say
    return CLIPTokenizer(vocab=vocabulary, merges=rules, model_max_length=max_tokens)


def save_clip(clip: Clip, folder: Path) -> None:
    """Write a CLIP in the format of `transformers`; the weights last.

    Raises:
        OutputError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pixels = clip.pixels
    processor = {
        "image_processor_type": "CLIPImageProcessor",
        "size": {"shortest_edge": pixels.size},
        "crop_size": {"height": pixels.size, "width": pixels.size},
        "resample": 3,
        "image_mean": list(pixels.mean),
        "image_std": list(pixels.std),
    }
    clip.model.config.save_pretrained(folder)
    clip.tokenizer.save_pretrained(folder)
    write_bytes(folder / PROCESSOR_FILE, json.dumps(processor, indent=2).encode())
    write_tensors(folder / WEIGHTS_FILE, clip.model.state_dict(), {"format": "pt"})


def initial_scale(temperature: float) -> float:
    """CLIP's parameter for a temperature: the logarithm of its inverse."""
    return math.log(1 / temperature)
