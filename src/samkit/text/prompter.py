"""Words to CLIP's vectors, which a text prompt is."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from samkit.errors import ConfigError, OutputError
from samkit.files import cache_folder, write_tensors
from samkit.text.clip import Clip, Codes, check_texts

# Sentences that a word is put into; their vectors are averaged.
PLAIN = ("{}",)
KEPT_FROM = 16  # words of a vocabulary that is kept on disk too; fewer are encoded at once
VOCABULARIES_IN_MEMORY = 64
KEY_DIGITS = 24

logger = logging.getLogger(__name__)


class TextPrompter:
    """Turns words into CLIP's vectors, each vocabulary once.

        prompter = TextPrompter(Clip.load("openai/clip-vit-large-patch14-336"))
        codes = prompter.encode(["a red car", "a tree"])

    Vocabularies are kept in memory, those of 16 words and more also in the cache folder.

    Attributes:
        clip: what encodes.
        templates: sentences with `{}` for the word, such as "a photo of a {}."; a word's vector is
            the mean over them.
    """

    def __init__(self, clip: Clip, *, templates: Sequence[str] = PLAIN) -> None:
        """Choose what encodes.

        Raises:
            ConfigError: no templates, or one without `{}`.
        """
        wrong = [one for one in templates if one.count("{}") != 1]
        if wrong or not templates:
            raise ConfigError(
                f"a template is a sentence with {{}} for the word; got {(wrong or [''])[0]!r}"
            )
        self.clip = clip
        self.templates = tuple(templates)
        self._kept: dict[tuple[str, ...], Codes] = {}

    def encode(self, words: str | Sequence[str]) -> Codes:
        """Vectors (N, D) of length 1, of one word or of a vocabulary.

        Raises:
            PromptError: a word is empty, or too long within its templates.
        """
        vocabulary = (words,) if isinstance(words, str) else tuple(words)
        check_texts(vocabulary)
        codes = self._kept.pop(vocabulary, None)
        if codes is None:
            codes = self._read(vocabulary)
        if codes is None:
            codes = self._encode(vocabulary)
            self._write(vocabulary, codes)
        codes.flags.writeable = False  # they are handed out again
        too_many = max(0, len(self._kept) + 1 - VOCABULARIES_IN_MEMORY)
        for oldest in list(self._kept)[:too_many]:
            del self._kept[oldest]
        self._kept[vocabulary] = codes
        return codes

    def _encode(self, vocabulary: Sequence[str]) -> Codes:
        words = [word.strip() for word in vocabulary]
        sentences = [one.replace("{}", word) for word in words for one in self.templates]
        codes = self.clip.encode_texts(sentences)
        means = codes.reshape(len(vocabulary), len(self.templates), self.clip.dim).mean(axis=1)
        lengths = np.linalg.norm(means, axis=1, keepdims=True)
        return np.asarray(means / lengths, np.float32)

    def _path(self, vocabulary: Sequence[str]) -> Path:
        facts = json.dumps([self.clip.fingerprint, self.templates, list(vocabulary)])
        key = hashlib.sha256(facts.encode(errors="surrogatepass")).hexdigest()[:KEY_DIGITS]
        return cache_folder() / "text" / f"{key}.safetensors"

    def _read(self, vocabulary: Sequence[str]) -> Codes | None:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        if len(vocabulary) < KEPT_FROM:
            return None
        try:
            codes = load_file(self._path(vocabulary))["codes"]
        except (OSError, SafetensorError, KeyError):
            return None
        return codes if codes.shape == (len(vocabulary), self.clip.dim) else None

    def _write(self, vocabulary: Sequence[str], codes: Codes) -> None:
        if len(vocabulary) < KEPT_FROM:
            return
        path = self._path(vocabulary)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_tensors(path, {"codes": torch.from_numpy(codes)}, {})
        except (OSError, OutputError) as error:
            logger.warning("the vocabulary is not kept: %s", error)
