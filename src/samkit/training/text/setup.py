"""Setup of a small CLIP's training on images with named masks: network, crops, evaluation."""

from collections.abc import Mapping

import torch

from samkit.datasets import SampleSource, open_data, require_indexed
from samkit.text import Clip, ClipPixels
from samkit.training.loop import Trained
from samkit.training.setup import Context, Setup
from samkit.training.text.recipe import ClipRecipe
from samkit.training.text.task import (
    PLAIN_PIXELS,
    SENTENCES,
    ContrastiveTask,
    CropLoader,
    initial_scale,
    make_tokenizer,
    save_clip,
)

CLIP_FOLDER = "clip"  # subfolder of a run's folder
WORDS_FROM = 2000  # number of images whose names become single tokens
MAX_TOKENS = 77  # as in OpenAI's CLIP
EVALUATION_SEED = 1


def build_clip(recipe: ClipRecipe, words: list[str]) -> Clip:
    """Build a CLIP with random weights, whose tokenizer has these words as single tokens."""
    from transformers import CLIPConfig, CLIPModel

    tokenizer = make_tokenizer(words, max_tokens=MAX_TOKENS)
    config = CLIPConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": recipe.text_width,
            "intermediate_size": 4 * recipe.text_width,
            "num_hidden_layers": recipe.text_layers,
            "num_attention_heads": recipe.heads,
            "max_position_embeddings": MAX_TOKENS,
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


def set_up_clip(recipe: ClipRecipe, context: Context) -> Setup[ContrastiveTask]:
    """Prepare the training of a CLIP, which is written to the folder `clip` at the end.

    Raises:
        ConfigError, DataError: a data set is missing, invalid or cannot be indexed.
    """
    fabric = context.fabric
    torch.manual_seed(recipe.run.seed)
    train_images, val_images = (
        require_indexed(source, "CLIPs in training")
        for source in (
            context.open_data(recipe.train, seed=recipe.run.seed),
            open_data(recipe.val),
        )
    )
    clip = build_clip(recipe, known_words(train_images))
    loader = CropLoader(
        train_images,
        clip.pixels,
        crops=recipe.crops,
        seed=recipe.run.seed,
        rank=fabric.global_rank,
    )

    def finish(trained: Trained) -> Trained:
        if fabric.is_global_zero:
            from safetensors.torch import load_file

            clip.model.load_state_dict(load_file(trained.last))
            save_clip(clip, context.folder / CLIP_FOLDER)
        return trained

    return Setup(
        task=ContrastiveTask(clip),
        loader=loader,
        evaluate=lambda task: evaluate_clip(task, val_images, recipe),
        finish=finish,
    )


def known_words(source: SampleSource) -> list[str]:
    """Collect words of the first images' names, and of the sentences that names are trained in."""
    names = (
        name for index in range(min(WORDS_FROM, len(source))) for name in source[index].phrases
    )
    found = {word: None for text in (*SENTENCES, *names) for word in text.lower().split()}
    found.pop("{}", None)
    return list(found)


@torch.no_grad()
def evaluate_clip(
    task: ContrastiveTask, source: SampleSource, recipe: ClipRecipe
) -> Mapping[str, float]:
    """Measure the fraction of held-out crops whose name is ranked first among all their names."""
    clip = task.clip
    device = clip.model.device
    batch = next(CropLoader(source, clip.pixels, crops=recipe.held_out_crops, seed=EVALUATION_SEED))
    assert batch.pixels is not None
    names = list(dict.fromkeys(batch.phrases))
    texts = torch.from_numpy(clip.encode_texts(names)).to(device)
    found = (clip.image_embeds(batch.pixels.to(device)) @ texts.T).argmax(1).tolist()
    right = [names[index] == phrase for index, phrase in zip(found, batch.phrases, strict=True)]
    return {"right": sum(right) / len(right)}
