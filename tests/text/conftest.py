"""Small random detectors of the real kinds, saved by `transformers`."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from samkit.text import Detector, load_detector

# Whole words and, of "striped" and "cats", pieces.
WORDS = [
    "a",
    "the",
    "cat",
    "##s",
    "dog",
    "red",
    "car",
    "on",
    "tree",
    "small",
    "strip",
    "##ed",
    "roof",
    "st",
    "bernard",
    "é",
]
MOST_TOKENS = 32  # of Grounding DINO's text here
TOKENS_AT_ENDS = ("bos", "eos", "pad")


@pytest.fixture(autouse=True, scope="session")
def offline() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield


@pytest.fixture(scope="session")
def dino_folder(tmp_path_factory: pytest.TempPathFactory, randomise: Callable[..., None]) -> Path:
    from transformers import BertTokenizer
    from transformers.models.grounding_dino.image_processing_pil_grounding_dino import (
        GroundingDinoImageProcessorPil,
    )

    folder = tmp_path_factory.mktemp("dino")
    vocabulary = bert_vocabulary(WORDS)
    save_dino(folder, len(vocabulary), randomise)
    BertTokenizer(vocab=vocabulary, do_lower_case=True).save_pretrained(folder)
    size = {"shortest_edge": 96, "longest_edge": 160}
    GroundingDinoImageProcessorPil(size=size).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def owl_folder(tmp_path_factory: pytest.TempPathFactory, randomise: Callable[..., None]) -> Path:
    from transformers.models.owlv2.image_processing_pil_owlv2 import Owlv2ImageProcessorPil

    from samkit.training.text.task import make_tokenizer

    folder = tmp_path_factory.mktemp("owl")
    tokenizer = make_tokenizer(
        [word for word in WORDS if "#" not in word and word.isascii()], max_tokens=16
    )
    save_owl(folder, tokenizer, randomise)
    tokenizer.save_pretrained(folder)
    Owlv2ImageProcessorPil(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def dino(dino_folder: Path) -> Detector:
    return load_detector(dino_folder)


@pytest.fixture(scope="session")
def owl(owl_folder: Path) -> Detector:
    return load_detector(owl_folder)


@pytest.fixture(scope="session")
def image() -> npt.NDArray[np.uint8]:
    """Smooth colours, wider than high: a network's answer depends on the place."""
    y, x = np.mgrid[:45, :70]
    waves = [np.sin(x / 9), np.cos(y / 7), np.sin((x + 2 * y) / 11)]
    return np.uint8(127.5 + 127 * np.stack(waves, axis=2))


def bert_vocabulary(words: list[str]) -> dict[str, int]:
    """BERT's numbers for what Grounding DINO knows by number; then the words."""
    fixed = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103, ".": 1012}
    fixed["?"] = 1029
    names = {number: name for name, number in fixed.items()}
    tokens = [names.get(number, f"[unused{number}]") for number in range(1030)]
    return {token: number for number, token in enumerate([*tokens, *words])}


def save_dino(folder: Path, vocab_size: int, randomise: Callable[..., None]) -> None:
    from transformers import (
        BertConfig,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        SwinConfig,
    )

    layers = {"num_hidden_layers": 1, "num_attention_heads": 2}
    backbone = SwinConfig(
        image_size=64,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 2, 2],
        window_size=4,
        out_features=["stage2", "stage3", "stage4"],
    )
    text = BertConfig(vocab_size=vocab_size, hidden_size=16, intermediate_size=32, **layers)
    config = GroundingDinoConfig(
        backbone_config=backbone,
        text_config=text,
        num_queries=40,
        encoder_layers=1,
        decoder_layers=2,
        d_model=32,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        max_text_len=MOST_TOKENS,
    )
    save_random(GroundingDinoForObjectDetection(config), folder, randomise)


def save_owl(folder: Path, tokenizer: Any, randomise: Callable[..., None]) -> None:
    from transformers import Owlv2Config, Owlv2ForObjectDetection

    sizes = {"hidden_size": 16, "intermediate_size": 32}
    layers = {"num_hidden_layers": 1, "num_attention_heads": 2}
    ends = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in TOKENS_AT_ENDS}
    config = Owlv2Config(
        text_config={"vocab_size": len(tokenizer), **ends, **sizes, **layers},
        vision_config={"image_size": 64, "patch_size": 8, **sizes, **layers},
        projection_dim=16,
    )
    save_random(Owlv2ForObjectDetection(config), folder, randomise)


def save_random(model: Any, folder: Path, randomise: Callable[..., None]) -> None:
    randomise(model, constants=True)
    model.save_pretrained(folder)
