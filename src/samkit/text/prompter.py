"""Text prompts: CLIP embeddings of words, cached per vocabulary."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from samkit.errors import ConfigError, OutputError
from samkit.files import cache_folder, write_tensors
from samkit.text.clip import Clip, Embeds, check_texts

# Sentences that a word is inserted into; their embeddings are averaged.
PLAIN = ("{}",)
DISK_CACHE_MIN_WORDS = 16  # smaller vocabularies are encoded faster than read
MAX_CACHED_VOCABULARIES = 64
KEY_DIGITS = 24

logger = logging.getLogger(__name__)


class TextPrompter:
    """Turns words into CLIP embeddings, each vocabulary once.

        prompter = TextPrompter(Clip.load("openai/clip-vit-large-patch14-336"))
        embeds = prompter.encode(["a red car", "a tree"])

    Vocabularies are cached in memory, those of 16 words or more also in the cache folder. `encode`
    may be called from several threads.

    Attributes:
        templates: sentences with `{}` for the word, such as "a photo of a {}."; the embedding of a
            word is the mean over them.
    """

    def __init__(self, clip: Clip, *, templates: Sequence[str] = PLAIN) -> None:
        """Create a prompter.

        Raises:
            ConfigError: there are no templates, or one does not have exactly one `{}`.
        """
        wrong = [one for one in templates if one.count("{}") != 1]
        if wrong or not templates:
            raise ConfigError(
                f"a template is a sentence with {{}} for the word; got {(wrong or [''])[0]!r}"
            )
        self.clip = clip
        self.templates = tuple(templates)
        self._cache: dict[tuple[str, ...], Embeds] = {}
        self._lock = threading.Lock()  # of the cache; CLIP itself runs outside of it

    def encode(self, words: str | Sequence[str]) -> Embeds:
        """Unit-length embeddings (N, D) of one word or of a vocabulary.

        Raises:
            PromptError: a word is empty, or too long within its templates.
        """
        vocabulary = (words,) if isinstance(words, str) else tuple(words)
        check_texts(vocabulary)
        with self._lock:
            embeds = self._cache.get(vocabulary)
        if embeds is None:
            embeds = self._read(vocabulary)
        if embeds is None:
            embeds = self._encode(vocabulary)
            self._write(vocabulary, embeds)
        embeds.flags.writeable = False  # the array is shared by all callers
        with self._lock:
            # Another thread may have encoded it at the same time: all callers share the first.
            embeds = self._cache.pop(vocabulary, embeds)
            self._cache[vocabulary] = embeds  # the last used one is last
            while len(self._cache) > MAX_CACHED_VOCABULARIES:
                del self._cache[next(iter(self._cache))]
        return embeds

    def _encode(self, vocabulary: Sequence[str]) -> Embeds:
        words = [word.strip() for word in vocabulary]
        sentences = [one.replace("{}", word) for word in words for one in self.templates]
        embeds = self.clip.encode_texts(sentences)
        means = embeds.reshape(len(vocabulary), len(self.templates), self.clip.dim).mean(axis=1)
        lengths = np.linalg.norm(means, axis=1, keepdims=True)
        return np.asarray(means / lengths, np.float32)

    def _path(self, vocabulary: Sequence[str]) -> Path:
        facts = json.dumps([self.clip.fingerprint, self.templates, list(vocabulary)])
        key = hashlib.sha256(facts.encode(errors="surrogatepass")).hexdigest()[:KEY_DIGITS]
        return cache_folder() / "text" / f"{key}.safetensors"

    def _read(self, vocabulary: Sequence[str]) -> Embeds | None:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        if len(vocabulary) < DISK_CACHE_MIN_WORDS:
            return None
        try:
            embeds = load_file(self._path(vocabulary))["embeds"]
        except (OSError, SafetensorError, KeyError):
            return None
        return embeds if embeds.shape == (len(vocabulary), self.clip.dim) else None

    def _write(self, vocabulary: Sequence[str], embeds: Embeds) -> None:
        if len(vocabulary) < DISK_CACHE_MIN_WORDS:
            return
        path = self._path(vocabulary)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_tensors(path, {"embeds": torch.from_numpy(embeds)}, {})
        except (OSError, OutputError) as error:
            logger.warning("the vocabulary's embeddings are not cached: %s", error)
