"""Embeddings of words, cached per vocabulary."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from samkit.errors import ConfigError, PromptError
from samkit.text import Clip, TextPrompter

WORDS = [f"{color} {thing}" for color in ("red", "blue") for thing in ("car", "tree", "circle")]
MANY = [f"a {word} {number}" for word in WORDS for number in range(3)]


@pytest.fixture
def prompter(clip):
    return TextPrompter(clip)


@pytest.fixture
def encoded(clip, monkeypatch):
    """The texts that CLIP has encoded so far."""
    texts = []
    encode = clip.encode_texts
    monkeypatch.setattr(clip, "encode_texts", lambda some: texts.extend(some) or encode(some))
    return texts


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SAMKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_word_is_its_text(clip, prompter):
    one = clip.encode_texts(["red car"])
    np.testing.assert_allclose(prompter.encode("red car"), one, atol=1e-6)
    np.testing.assert_allclose(prompter.encode(WORDS), clip.encode_texts(WORDS), atol=1e-6)


def test_templates_are_averaged(clip):
    codes = TextPrompter(clip, templates=("a {}", "the {} here")).encode(["tree", "car"])
    one, other = (
        clip.encode_texts(["a tree", "a car"]),
        clip.encode_texts(["the tree here", "the car here"]),
    )
    mean = one + other
    expected = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    np.testing.assert_allclose(codes, expected, atol=1e-6)


def test_a_vocabulary_is_encoded_once(prompter, encoded):
    first = prompter.encode(WORDS)
    assert encoded == WORDS
    assert prompter.encode(tuple(WORDS)) is first
    prompter.encode("red car")
    assert encoded == [*WORDS, "red car"]


def test_large_vocabularies_are_kept_on_disk(clip, prompter, encoded, own_cache):
    first = prompter.encode(MANY)
    assert len(list((own_cache / "text").iterdir())) == 1
    encoded.clear()
    np.testing.assert_array_equal(TextPrompter(clip).encode(MANY), first)
    assert encoded == []
    # Other templates, another CLIP and other words are others.
    TextPrompter(clip, templates=("the {}",)).encode(MANY)
    assert len(encoded) == len(MANY)
    prompter.encode(MANY[1:])
    assert len(encoded) == 2 * len(MANY) - 1


def test_damaged_files_of_vocabularies_are_made_again(clip, prompter, own_cache):
    first = prompter.encode(MANY)
    (path,) = (own_cache / "text").iterdir()
    path.write_bytes(b"garbage")
    np.testing.assert_array_equal(TextPrompter(clip).encode(MANY), first)
    assert path.stat().st_size > 100


def test_memory_is_bounded(prompter, encoded):
    for number in range(80):
        prompter.encode(f"red {number}")
    assert len(prompter._cache) == 64
    encoded.clear()
    prompter.encode("red 79")
    prompter.encode("red 0")
    assert encoded == ["red 0"]


def test_a_cache_that_cannot_be_written_is_no_error(clip, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("SAMKIT_CACHE", str(tmp_path / "file"))
    assert TextPrompter(clip).encode(MANY).shape == (len(MANY), clip.dim)
    assert "until this process ends" in caplog.text  # a temporary folder takes its place


@pytest.mark.parametrize("templates", [(), ("no place",), ("{} and {}",)])
def test_templates_need_one_place_for_the_word(clip, templates, refusal):
    with refusal(ConfigError, "a template is a sentence with {} for the word"):
        TextPrompter(clip, templates=templates)


@pytest.mark.parametrize("template", ["{} {x}", "{} {", "}{}{"])
def test_only_the_place_of_the_word_is_filled(clip, template):
    codes = TextPrompter(clip, templates=[template]).encode("car")
    expected = clip.encode_texts([template.replace("{}", "car")])
    np.testing.assert_allclose(codes, expected, atol=1e-6)


def test_kept_vectors_cannot_be_changed(prompter):
    with pytest.raises(ValueError, match="read-only"):
        prompter.encode("car")[0] = 0


def test_bad_words_are_refused(prompter, refusal):
    with refusal(PromptError, "text must not be empty"):
        prompter.encode(["car", " "])
    with refusal(PromptError, "shorten it"):
        prompter.encode("car " * 80)


def test_clips_are_told_apart(clip, clip_folder, prompter, own_cache):
    prompter.encode(MANY)
    other = Clip.load(clip_folder)
    other.model.text_projection.weight.data[0] *= 3
    assert not np.allclose(TextPrompter(other).encode(MANY), prompter.encode(MANY))


class SlowClip:
    """Gives each text its own vector, and lets other threads run meanwhile."""

    dim, fingerprint = 2, "slow"

    def encode_texts(self, texts):
        time.sleep(0)
        angles = [int(text) for text in texts]
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_threads_share_the_cache():
    """A full cache is emptied by one thread at a time; all get the same array."""
    prompter = TextPrompter(SlowClip())
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            numbers = [number % 97 for number in range(8000)]
            found = list(pool.map(lambda number: prompter.encode(str(number)), numbers))
    finally:
        sys.setswitchinterval(interval)
    for number, embeds in zip(numbers, found, strict=True):
        np.testing.assert_allclose(embeds, [[np.cos(number), np.sin(number)]], atol=1e-6)
    assert len(prompter._cache) == 64
