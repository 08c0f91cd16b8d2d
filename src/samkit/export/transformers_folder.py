"""A model as Hugging Face's transformers loads it: weights, configuration, preprocessing, card."""

from __future__ import annotations

import json
import os
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from samkit.errors import BackendError, ConfigError
from samkit.export.new_folder import check_new, new_folder
from samkit.extras import require_packages
from samkit.models import (
    HieraConfig,
    MemoryConfig,
    PromptTensors,
    Sam,
    Sam2,
    Sam2Config,
    SamConfig,
    ViTConfig,
)
from samkit.weights import load_model, to_own_names

if TYPE_CHECKING:  # takes seconds to import
    import transformers

LARGEST_ERROR = 1e-3  # of logits and predicted IoUs, in float32
PIXELS = 255
PROMPTED_AT = (0.4, 0.55)  # the point for the comparison, in parts of the image's sides
GAUSSIANS = (  # one tensor under two names
    "shared_image_embedding.positional_embedding",
    "prompt_encoder.shared_embedding.positional_embedding",
)


def save_for_transformers(
    source: str | os.PathLike[str], folder: str | os.PathLike[str]
) -> tuple[Path, ...]:
    """Write a SAM or a SAM 2 for `from_pretrained` of transformers.

    The folder is loaded again, and its answer to a point compared with ours, before it is there.

    Args:
        source: a model's name or checkpoint, as `samkit.Predictor.load` takes it.
        folder: a new one; it is there complete or not at all.

    Returns:
        the files.

    Raises:
        WeightsError: the model is unknown, missing or damaged.
        ConfigError: transformers has no such network, or is not installed.
        OutputError: the folder is not empty, or cannot be written.
        BackendError: the answers differ.
    """
    require_packages("a model for transformers", ("transformers",), "text")
    folder = check_new(folder)
    loaded = load_model(source)
    model = loaded.model.float().eval()
    theirs = empty_model(model)
    copy_weights(model, theirs)
    with new_folder(folder) as temporary:
        theirs.save_pretrained(temporary)
        preprocessing = json.dumps(preprocessing_of(model), indent=2)
        (temporary / "preprocessor_config.json").write_text(preprocessing)
        (temporary / "README.md").write_text(card_of(loaded.name, model), encoding="utf-8")
        error = largest_error(model, temporary)
        if error > LARGEST_ERROR:
            raise BackendError(
                f"the answers of transformers differ by up to {error:.2g}, {LARGEST_ERROR} is"
                " expected at most; nothing was written"
            )
    return tuple(sorted(folder.iterdir()))


def empty_model(model: Sam) -> Any:
    """The network of transformers for one of ours, a `PreTrainedModel`.

    Raises:
        ConfigError: there is none.
    """
    import transformers

    config = model.config
    if isinstance(config, Sam2Config):
        if not isinstance(config.encoder, HieraConfig):
            raise ConfigError(
                "transformers has EdgeTAM only with timm's RepViT, which samkit does not use: give"
                " it the published yonigozlan/EdgeTAM-hf"
            )
        if config.memory is None:
            raise ConfigError("transformers needs the memory of a SAM 2, which this file lacks")
        return transformers.Sam2VideoModel(sam2_config(config))
    if not isinstance(config.encoder, ViTConfig) or config.text_dim is not None:
        raise ConfigError(
            "transformers has SAM's ViT and SAM 2 only: no TinyViT, and no prompts of text"
        )
    return transformers.SamModel(sam_config(config))


def sam_config(config: SamConfig) -> transformers.SamConfig:
    """Their configuration of a SAM."""
    import transformers

    encoder = config.encoder
    assert isinstance(encoder, ViTConfig)
    return transformers.SamConfig(
        vision_config={
            "hidden_size": encoder.embed_dim,
            "output_channels": encoder.out_channels,
            "num_hidden_layers": encoder.depth,
            "num_attention_heads": encoder.num_heads,
            "image_size": encoder.image_size,
            "patch_size": encoder.patch_size,
            "window_size": encoder.window_size,
            "global_attn_indexes": list(encoder.global_blocks),
            "mlp_dim": encoder.embed_dim * encoder.mlp_ratio,
            "num_pos_feats": config.decoder.dim // 2,
        },
        prompt_encoder_config={
            "hidden_size": config.decoder.dim,
            "image_size": encoder.image_size,
            "patch_size": encoder.patch_size,
        },
        # As SAM was trained; theirs would be 1e-6.
        mask_decoder_config=decoder_config(config) | {"layer_norm_eps": 1e-5},
    )


def sam2_config(config: Sam2Config) -> transformers.Sam2VideoConfig:
    """Their configuration of a SAM 2."""
    import transformers

    assert isinstance(config.encoder, HieraConfig)
    assert config.memory is not None
    return transformers.Sam2VideoConfig(
        vision_config=hiera_config(config.encoder),
        prompt_encoder_config={
            "hidden_size": config.decoder.dim,
            "image_size": config.image_size,
        },
        mask_decoder_config=decoder_config(config),
        image_size=config.image_size,
        **memory_config(config.memory, config.decoder.dim, config.encoder.grid_size),
    )


def decoder_config(config: SamConfig | Sam2Config) -> dict[str, Any]:
    """Their configuration of a mask decoder."""
    decoder = config.decoder
    return {
        "hidden_size": decoder.dim,
        "num_hidden_layers": decoder.depth,
        "num_attention_heads": decoder.num_heads,
        "attention_downsample_rate": decoder.cross_attention_downsample,
        "mlp_dim": decoder.mlp_dim,
        "num_multimask_outputs": decoder.num_multimask,
        "iou_head_hidden_dim": decoder.iou_hidden_dim,
    }


def hiera_config(encoder: HieraConfig) -> dict[str, Any]:
    """Their configuration of Hiera and its neck."""
    stages = range(len(encoder.depths))
    finest = 4 * encoder.grid_size
    return {
        "backbone_config": {
            "model_type": "sam2_hiera_det_model",
            "hidden_size": encoder.embed_dim,
            "num_attention_heads": encoder.num_heads,
            "image_size": [encoder.image_size, encoder.image_size],
            "blocks_per_stage": list(encoder.depths),
            "embed_dim_per_stage": list(encoder.stage_dims),
            "num_attention_heads_per_stage": [encoder.num_heads * 2**stage for stage in stages],
            "window_size_per_stage": list(encoder.window_sizes),
            "global_attention_blocks": list(encoder.global_blocks),
            "window_positional_embedding_background_size": [encoder.pos_grid] * 2,
        },
        "backbone_channel_list": list(reversed(encoder.stage_dims)),
        "backbone_feature_sizes": [[finest // 2**stage] * 2 for stage in range(3)],
        "fpn_hidden_size": encoder.out_channels,
    }


def memory_config(memory: MemoryConfig, dim: int, grid: int) -> dict[str, Any]:
    """Their configuration of a SAM 2's memory, below that of the model."""
    return {
        "num_maskmem": memory.num_frames,
        "max_object_pointers_in_encoder": memory.num_pointers,
        "enable_temporal_pos_encoding_for_object_pointers": memory.is_revised,
        "enable_occlusion_spatial_embedding": memory.is_revised,
        "memory_attention_hidden_size": dim,
        "memory_attention_num_layers": memory.num_layers,
        "memory_attention_num_attention_heads": memory.num_heads,
        "memory_attention_feed_forward_hidden_size": memory.mlp_dim,
        "memory_attention_rope_feat_sizes": [grid, grid],
        "memory_encoder_hidden_size": dim,
        "memory_encoder_output_channels": memory.dim,
        "mask_downsampler_embed_dim": dim,
        "memory_fuser_embed_dim": dim,
        "memory_fuser_intermediate_dim": 4 * dim,
    }


@torch.no_grad()
def copy_weights(ours: nn.Module, theirs: nn.Module) -> None:
    """Copy our weights into their network, by the table with which theirs are read.

    Raises:
        BackendError: the networks have other tensors.
    """
    places = theirs.state_dict()
    by_own_name, _ = to_own_names(places)
    state = ours.state_dict()
    if by_own_name.keys() != state.keys():
        differing = sorted(by_own_name.keys() ^ state.keys())
        raise BackendError(f"transformers has other tensors than samkit: {', '.join(differing)}")
    for name, tensor in by_own_name.items():
        tensor.copy_(state[name])
    gaussian = state["prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"]
    for name in GAUSSIANS:
        places[name].copy_(gaussian)


def preprocessing_of(model: Sam) -> dict[str, Any]:
    """Configuration of their image processor."""
    spec, mask_side = model.image_spec, 4 * model.config.encoder.grid_size
    square = {"height": spec.size, "width": spec.size}
    mask_square = {"height": mask_side, "width": mask_side}
    found: dict[str, Any] = {
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [value / PIXELS for value in spec.mean],
        "image_std": [value / PIXELS for value in spec.std],
        "resample": 2,  # bilinear
        "rescale_factor": 1 / PIXELS,
    }
    if isinstance(model, Sam2):
        return found | {
            "image_processor_type": "Sam2ImageProcessorFast",
            "mask_size": mask_square,
            "processor_class": "Sam2VideoProcessor",
            "size": square,
        }
    return found | {
        "do_pad": True,
        "image_processor_type": "SamImageProcessor",
        "mask_pad_size": mask_square,
        "mask_size": {"longest_edge": mask_side},
        "pad_size": square,
        "processor_class": "SamProcessor",
        "size": {"longest_edge": spec.size},
    }


def card_of(name: str, model: Sam) -> str:
    """A model card to be completed by whoever publishes the weights."""
    network = "SAM 2" if isinstance(model, Sam2) else "SAM"
    classes = "Sam2Model, Sam2Processor" if network == "SAM 2" else "SamModel, SamProcessor"
    load = "\n".join(f"{kind}.from_pretrained(FOLDER)" for kind in classes.split(", "))
    millions = sum(tensor.numel() for tensor in model.parameters()) / 1e6
    return f"""---
library_name: transformers
pipeline_tag: mask-generation
tags:
- segment-anything
- samkit
---

# {name}

Weights of a {network} ({millions:.1f} million parameters), written by samkit {version("samkit")}.

```python
from transformers import {classes}

{load}
```

To be written by whoever publishes it: what it was trained on and from which weights, for what it
is meant, how good it is on which data, and the licence. The licence of the weights that it was
trained from binds; those of SAM and SAM 2 are under Apache 2.0.
"""


@torch.no_grad()
def largest_error(model: Sam, folder: Path) -> float:
    """Largest difference of the answers to a point: logits, and predicted IoUs."""
    import transformers

    size = model.image_spec.size
    pixels = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    point = torch.tensor([[[part * size for part in PROMPTED_AT]]])
    prompts = PromptTensors(points_xy=point, labels=torch.ones(1, 1, dtype=torch.int64))
    ours = model.decode(model.encode(pixels), prompts)
    kind = transformers.Sam2Model if isinstance(model, Sam2) else transformers.SamModel
    network: Any = kind.from_pretrained(folder)
    theirs = network.eval()(
        pixel_values=pixels, input_points=point[None], input_labels=torch.ones(1, 1, 1).long()
    )
    pairs: list[tuple[Tensor, Tensor]] = [
        (ours.logits[0], theirs.pred_masks[0, 0]),
        (ours.iou_pred[0], theirs.iou_scores[0, 0]),
    ]
    return max(float((one - other).abs().max()) for one, other in pairs)
