"""Time per image, mask and phrase, and memory, of text models.

    python benchmarks/text_models.py

builds networks of the published shapes with random weights, on which the time does not depend, and
prints a Markdown table. Each runs in a process of its own, in float32.
"""

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from transformers import (
    BertTokenizer,
    CLIPConfig,
    CLIPModel,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    Owlv2Config,
    Owlv2ForObjectDetection,
    SwinConfig,
)
from transformers.models.grounding_dino.image_processing_pil_grounding_dino import (
    GroundingDinoImageProcessorPil,
)
from transformers.models.owlv2.image_processing_pil_owlv2 import Owlv2ImageProcessorPil

from samkit.text import Clip, GroundingDino, Owlv2, TextPrompter
from samkit.text.clip import ClipPixels
from samkit.training.text.task import PLAIN_PIXELS, make_tokenizer

PHRASES = ["a red car", "a tree"]
WORDS = ["a", "red", "car", "tree", "house", "dog", "cat", "person"]
IMAGE_HW = (480, 640)
MASKS = 10  # each seen in two crops
VOCABULARY = [f"{word} {number}" for word in WORDS for number in range(8)]


def grounding_dino() -> GroundingDino:
    """IDEA-Research/grounding-dino-tiny."""
    fixed = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103, ".": 1012}
    names = {number: name for name, number in (fixed | {"?": 1029}).items()}
    tokens = [names.get(number, f"[unused{number}]") for number in range(1030)]
    vocabulary = {token: number for number, token in enumerate([*tokens, *WORDS])}
    backbone = SwinConfig(
        window_size=7,
        image_size=224,
        embed_dim=96,
        depths=[2, 2, 6, 2],
        num_heads=[3, 6, 12, 24],
        out_indices=[2, 3, 4],
    )
    return GroundingDino(
        GroundingDinoForObjectDetection(GroundingDinoConfig(backbone_config=backbone)),
        BertTokenizer(vocab=vocabulary, do_lower_case=True),
        GroundingDinoImageProcessorPil(),
        source="Grounding DINO tiny",
    )


def owlv2() -> Owlv2:
    """google/owlv2-base-patch16-ensemble."""
    tokenizer = make_tokenizer(WORDS, max_tokens=16)
    ends = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos")}
    config = Owlv2Config(text_config=ends, vision_config={"image_size": 960, "patch_size": 16})
    return Owlv2(
        Owlv2ForObjectDetection(config),
        tokenizer,
        Owlv2ImageProcessorPil(),
        source="OWLv2 base",
    )


def clip(size: int, dim: int, text: dict[str, Any], vision: dict[str, Any]) -> Clip:
    """A CLIP of a given shape."""
    tokenizer = make_tokenizer(WORDS, max_tokens=77)
    ends = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos")}
    config = CLIPConfig(
        projection_dim=dim,
        text_config=text | ends,
        vision_config=vision | {"image_size": size},
    )
    return Clip(CLIPModel(config), tokenizer, ClipPixels(size=size, **PLAIN_PIXELS), source="CLIP")


def clip_b32() -> Clip:
    """openai/clip-vit-base-patch32."""
    return clip(224, 512, {}, {})


def clip_l336() -> Clip:
    """openai/clip-vit-large-patch14-336."""
    wide = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12}
    vision = {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "patch_size": 14,
    }
    return clip(336, 768, wide, vision)


DETECTORS: dict[str, Callable[[], Any]] = {
    "Grounding DINO tiny": grounding_dino,
    "OWLv2 base": owlv2,
}
CLIPS: dict[str, Callable[[], Clip]] = {"CLIP ViT-B/32": clip_b32, "CLIP ViT-L/14 336": clip_l336}


def seconds(work: Callable[[], Any], turns: int) -> float:
    """Median seconds, after one turn of warm-up."""
    times = []
    for _ in range(turns + 1):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return float(np.median(times[1:]))


def measure(name: str, turns: int) -> str:
    """Measure one model; return its row of the table."""
    torch.manual_seed(0)
    image = np.random.default_rng(0).integers(0, 256, (*IMAGE_HW, 3), np.uint8)
    if name in DETECTORS:
        detector = DETECTORS[name]()
        detector.model.eval()
        network = detector.model
        times = f"{seconds(lambda: detector.detect(image, PHRASES), turns):.1f} s an image"
    else:
        one = CLIPS[name]()
        network = one.model
        crops = [image[:300, :300]] * (2 * MASKS)
        seeing = seconds(lambda: one.encode_images(crops), turns) / MASKS
        reading = seconds(lambda: TextPrompter(one)._encode(VOCABULARY), turns)  # noqa: SLF001
        times = f"{1000 * seeing:.0f} ms a mask, {1000 * reading / len(VOCABULARY):.0f} ms a phrase"
    parameters = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return f"| {name} | {parameters:.0f} M | {times} | {memory:.1f} GB |"


def main() -> None:
    """Measure all models, each in a process of its own."""
    parser = argparse.ArgumentParser(description="Time and memory of text models.")
    parser.add_argument(
        "--only", choices=[*DETECTORS, *CLIPS], help="measure this model only, in this process"
    )
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    if options.only:
        print(measure(options.only, options.turns))
        return
    print("| model | parameters | time | memory |\n|---|---|---|---|", flush=True)
    for name in (*DETECTORS, *CLIPS):
        command = [sys.executable, __file__, "--only", name, "--turns", str(options.turns)]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
