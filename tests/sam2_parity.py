"""Models of transformers for our SAM 2 and EdgeTAM configurations, for tests of parity."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch
import transformers
from torch import nn
from transformers.models.edgetam import modeling_edgetam

from samkit.export.transformers_folder import decoder_config, memory_config, sam2_config
from samkit.models import CONFIGS, RepViTConfig, Sam2, Sam2Config
from samkit.models.repvit import RepViT
from samkit.weights.layouts import to_own_names


def video_pair(name: str, randomise: Any) -> tuple[Sam2, Any]:
    """Our network and theirs with the same random weights, through the real key table.

    Theirs is a `Sam2VideoModel`, or an `EdgeTamVideoModel` whose trunk is ours.
    """
    config = CONFIGS[name]
    assert isinstance(config, Sam2Config)
    is_edgetam = isinstance(config.encoder, RepViTConfig)
    theirs = edgetam(config) if is_edgetam else transformers.Sam2VideoModel(sam2_config(config))
    randomise(theirs.eval())
    # One tensor under two names.
    gaussian = theirs.prompt_encoder.shared_embedding.positional_embedding
    theirs.shared_image_embedding.positional_embedding.data.copy_(gaussian)
    ours = Sam2(config).eval()
    state, layout = to_own_names(theirs.state_dict())
    assert layout == "transformers"
    ours.load_state_dict(state)
    return ours, theirs


def image_model(theirs: Any) -> Any:
    """Their model of images with the weights of their model of videos."""
    config = theirs.config
    is_edgetam = isinstance(theirs, transformers.EdgeTamVideoModel)
    kind, kind_of_config = (
        (transformers.EdgeTamModel, transformers.EdgeTamConfig)
        if is_edgetam
        else (transformers.Sam2Model, transformers.Sam2Config)
    )
    with trunk_of_theirs(theirs.vision_encoder.backbone):
        model = kind(
            kind_of_config(
                vision_config=config.vision_config,
                prompt_encoder_config=config.prompt_encoder_config.to_dict(),
                mask_decoder_config=config.mask_decoder_config.to_dict(),
            )
        ).eval()
    expected = model.state_dict().keys()
    state = {name: tensor for name, tensor in theirs.state_dict().items() if name in expected}
    model.load_state_dict(state)
    return model


def random_pixels(size: int, count: int = 1) -> torch.Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(5))


class TimmRepViT(nn.Module):
    """Our RepViT in the place and under the names of timm's, which is not installed."""

    def __init__(self, trunk: RepViT) -> None:
        super().__init__()
        self.timm_model = nn.ModuleDict({"stem": trunk.stem})
        for number, stage in enumerate(trunk.stages):
            self.timm_model[f"stages_{number}"] = stage

    def forward(self, pixel_values: torch.Tensor, **_: Any) -> SimpleNamespace:
        maps = [self.timm_model["stem"](pixel_values)]
        for number in range(len(self.timm_model) - 1):
            maps.append(self.timm_model[f"stages_{number}"](maps[-1]))
        return SimpleNamespace(last_hidden_state=maps[1:], hidden_states=None)


def edgetam_config(config: Sam2Config) -> transformers.EdgeTamVideoConfig:
    """Their configuration of an EdgeTAM, but for the trunk."""
    encoder, memory = config.encoder, config.memory
    assert isinstance(encoder, RepViTConfig)
    assert memory is not None
    assert memory.perceiver is not None
    perceiver, grid = memory.perceiver, encoder.grid_size
    settings = memory_config(memory, config.decoder.dim, grid)
    settings["memory_attention_mlp_hidden_size"] = settings.pop(
        "memory_attention_feed_forward_hidden_size"
    )
    return transformers.EdgeTamVideoConfig(
        vision_config={
            "model_type": "edgetam_vision_model",
            "backbone_channel_list": list(reversed(encoder.stage_dims)),
            "backbone_feature_sizes": [[4 * grid // 2**stage] * 2 for stage in range(3)],
            "fpn_hidden_size": encoder.out_channels,
        },
        prompt_encoder_config={
            "hidden_size": config.decoder.dim,
            "image_size": config.image_size,
        },
        mask_decoder_config=decoder_config(config),
        image_size=config.image_size,
        memory_attention_rope_k_sizes=[perceiver.grid, perceiver.grid],
        perceiver_resampler_num_latents=perceiver.num_global,
        perceiver_resampler_num_latents_2d=perceiver.grid**2,
        perceiver_resampler_num_layers=perceiver.num_layers,
        perceiver_resampler_hidden_size=memory.dim,
        perceiver_resampler_attention_head_dim=memory.dim,
        perceiver_resampler_mlp_intermediate_size=perceiver.mlp_ratio * memory.dim,
        **settings,
    )


@contextmanager
def trunk_of_theirs(trunk: nn.Module) -> Iterator[None]:
    """Give models of theirs that are made meanwhile a trunk in the place of timm's."""
    theirs = modeling_edgetam.AutoModel

    def from_config(config: Any) -> Any:
        return trunk if config.model_type == "timm_wrapper" else theirs.from_config(config)

    modeling_edgetam.AutoModel = SimpleNamespace(from_config=from_config)
    try:
        yield
    finally:
        modeling_edgetam.AutoModel = theirs


def edgetam(config: Sam2Config) -> transformers.EdgeTamVideoModel:
    """Their EdgeTAM with a trunk of ours, and memories stored in bfloat16."""
    assert isinstance(config.encoder, RepViTConfig)
    with trunk_of_theirs(TimmRepViT(RepViT(config.encoder))):
        theirs = transformers.EdgeTamVideoModel(edgetam_config(config))
    remember = theirs._encode_new_memory

    def remember_halved(*args: Any, **options: Any) -> Any:
        """As the original, and SAM 2 of theirs, store a memory."""
        tokens, positions = remember(*args, **options)
        return tokens.bfloat16().float(), positions

    theirs._encode_new_memory = remember_halved
    return theirs
