"""`samkit pretrain clip`: a small CLIP from nothing, on images whose masks have names."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import torch

from samkit.datasets.registry import open_data
from samkit.datasets.sample import SampleSource, require_indexed
from samkit.errors import ConfigError
from samkit.text.clip import Clip, ClipPixels
from samkit.training.loop import Progress, Trained, launch, train
from samkit.training.settings import OptimRecipe, RunRecipe, check_range, settings
from samkit.training.task import Task
from samkit.training.text.task import (
    PLAIN_PIXELS,
    SENTENCES,
    ContrastiveTask,
    CropLoader,
    initial_scale,
    make_tokenizer,
    save_clip,
)

CLIP_FOLDER = "clip"  # within the folder of a run
WORDS_FROM = 2000  # images whose names the tokenizer knows as whole words
MOST_TOKENS = 77  # as published
EVALUATION_SEED = 1


@dataclass(frozen=True, kw_only=True)
class ClipRecipe:
    """A CLIP from nothing.

    Attributes:
        image_size: side of its pictures, a multiple of `patch_size`.
        patch_size: side of a patch.
        vision_width, vision_layers: of the picture's transformer.
        text_width, text_layers: of the text's transformer.
        dim: of the common space.
        heads: of attention, in both.
        temperature: that the scale of cosines begins with.
        crops: of each batch of each process.
        train: images whose masks have names; see `open_data`.
        val: others, to be evaluated on.
        held_out_crops: how many of them.
        optim: optimiser and schedule.
        run: how long and on what.
    """

    image_size: int = 48
    patch_size: int = 8
    vision_width: int = 128
    vision_layers: int = 4
    text_width: int = 64
    text_layers: int = 2
    dim: int = 64
    heads: int = 4
    temperature: float = 0.07
    crops: int = 128
    train: str = "named:count=20000,size=128,seed=0"
    val: str = "named:count=500,size=128,seed=1"
    held_out_crops: int = 512
    optim: OptimRecipe = field(default_factory=OptimRecipe)
    run: RunRecipe

    def __post_init__(self) -> None:
        for name in ("vision_layers", "text_layers", "dim", "crops", "held_out_crops"):
            check_range(name, getattr(self, name), 1)
        check_range("temperature", self.temperature, 0, exclusive=True)
        if self.image_size % self.patch_size or self.image_size < self.patch_size:
            raise ConfigError(
                f"image_size must be a multiple of {self.patch_size}; got {self.image_size}"
            )
        for name in ("vision_width", "text_width"):
            if getattr(self, name) % self.heads:
                raise ConfigError(
                    f"{name} must be a multiple of {self.heads}; got {getattr(self, name)}"
                )


def clip_named() -> ClipRecipe:
    """On synthetic scenes of things with names: some minutes on two cores."""
    return ClipRecipe(
        optim=OptimRecipe(lr=1e-3, weight_decay=0.05, warmup_steps=50, schedule="cosine"),
        run=RunRecipe(steps=1700, evaluate_every=340, save_every=340),
    )


CLIP_RECIPES: Mapping[str, Callable[[], ClipRecipe]] = MappingProxyType({"clip_named": clip_named})


def build_clip(recipe: ClipRecipe, words: list[str]) -> Clip:
    """A CLIP with fresh weights, from torch's random state, whose tokenizer knows some words."""
    from transformers import CLIPConfig, CLIPModel

    tokenizer = make_tokenizer(words, most_tokens=MOST_TOKENS)
    config = CLIPConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": recipe.text_width,
            "intermediate_size": 4 * recipe.text_width,
            "num_hidden_layers": recipe.text_layers,
            "num_attention_heads": recipe.heads,
            "max_position_embeddings": MOST_TOKENS,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config={
            "hidden_size": recipe.vision_width,
            "intermediate_size": 4 * recipe.vision_width,
            "num_hidden_layers": recipe.vision_layers,
            "num_attention_heads": recipe.heads,
            "image_size": recipe.image_size,
            "patch_size": recipe.patch_size,
        },
        projection_dim=recipe.dim,
        logit_scale_init_value=initial_scale(recipe.temperature),
    )
    pixels = ClipPixels(size=recipe.image_size, **PLAIN_PIXELS)
    return Clip(CLIPModel(config), tokenizer, pixels, source="a CLIP in training")


def pretrain_clip(
    recipe: ClipRecipe,
    folder: Path,
    *,
    resume: bool = False,
    on_step: Callable[[Progress], None] | None = None,
) -> Trained:
    """Train a CLIP; write it to `clip` in a folder, beside logs and checkpoints.

    Raises:
        As `samkit.training.loop.train`; DataError and ConfigError for what does not fit.
    """
    fabric = launch(recipe.run)
    torch.manual_seed(recipe.run.seed)
    train_images, val_images = (
        require_indexed(open_data(spec), "CLIPs in training") for spec in (recipe.train, recipe.val)
    )
    clip = build_clip(recipe, known_words(train_images))
    loader = CropLoader(
        train_images,
        clip.pixels,
        crops=recipe.crops,
        seed=recipe.run.seed,
        rank=fabric.global_rank,
    )
    trained = train(
        ContrastiveTask(clip),
        loader,
        optim=recipe.optim,
        run=recipe.run,
        folder=folder,
        settings=settings(recipe),
        evaluate=lambda task: evaluate_clip(task, val_images, recipe),
        on_step=on_step,
        resume=resume,
        fabric=fabric,
    )
    if fabric.is_global_zero:
        from safetensors.torch import load_file

        clip.model.load_state_dict(load_file(trained.last))
        save_clip(clip, folder / CLIP_FOLDER)
    return trained


def known_words(source: SampleSource) -> list[str]:
    """The words of the first images' names, and of the sentences they are put into."""
    names = (
        name for index in range(min(WORDS_FROM, len(source))) for name in source[index].phrases
    )
    found = {word: None for text in (*SENTENCES, *names) for word in text.lower().split()}
    found.pop("{}", None)
    return list(found)


@torch.no_grad()
def evaluate_clip(task: Task, source: SampleSource, recipe: ClipRecipe) -> Mapping[str, float]:
    """How often a crop's name is found among all names of the held-out crops."""
    assert isinstance(task, ContrastiveTask)
    clip = task.clip
    device = clip.model.device
    batch = next(CropLoader(source, clip.pixels, crops=recipe.held_out_crops, seed=EVALUATION_SEED))
    assert batch.pixels is not None
    names = list(dict.fromkeys(batch.phrases))
    texts = torch.from_numpy(clip.encode_texts(names)).to(device)
    found = (clip.image_pos_enc(batch.pixels.to(device)) @ texts.T).argmax(1).tolist()
    right = [names[index] == phrase for index, phrase in zip(found, batch.phrases, strict=True)]
    return {"right": sum(right) / len(right)}
