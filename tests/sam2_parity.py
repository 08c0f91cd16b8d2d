"""Models of transformers for our SAM 2 configurations, with random weights, for tests of parity."""

from __future__ import annotations

from typing import Any

import torch
import transformers

from samkit.models import CONFIGS, HieraConfig, MemoryConfig, Sam2, Sam2Config
from samkit.models.hiera import PATCH_STRIDE
from samkit.weights.layouts import to_own_names


def their_config(config: Sam2Config) -> transformers.Sam2VideoConfig:
    """The configuration of transformers for the same network."""
    memory = config.memory
    assert memory is not None
    dim, grid, size = config.decoder.dim, config.encoder.grid_size, config.image_size
    return transformers.Sam2VideoConfig(
        vision_config=vision_config(config.encoder),
        prompt_encoder_config={"hidden_size": dim, "image_size": size},
        mask_decoder_config={
            "hidden_size": dim,
            "num_hidden_layers": config.decoder.depth,
            "num_attention_heads": config.decoder.num_heads,
            "mlp_dim": config.decoder.mlp_dim,
            "iou_head_hidden_dim": config.decoder.iou_hidden_dim,
        },
        image_size=size,
        **memory_config(memory, dim, grid),
    )


def vision_config(encoder: HieraConfig) -> dict[str, Any]:
    stages = range(len(encoder.depths))
    finest = encoder.image_size // PATCH_STRIDE
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


def video_pair(name: str, randomise: Any) -> tuple[Sam2, transformers.Sam2VideoModel]:
    """Our network and theirs with the same random weights, through the real key table."""
    config = CONFIGS[name]
    assert isinstance(config, Sam2Config)
    theirs = transformers.Sam2VideoModel(their_config(config)).eval()
    randomise(theirs)
    # One tensor under two names.
    gaussian = theirs.prompt_encoder.shared_embedding.positional_embedding
    theirs.shared_image_embedding.positional_embedding.data.copy_(gaussian)
    ours = Sam2(config).eval()
    state, layout = to_own_names(theirs.state_dict())
    assert layout == "transformers"
    ours.load_state_dict(state)
    return ours, theirs


def image_model(theirs: transformers.Sam2VideoModel) -> transformers.Sam2Model:
    """Their model of images with the weights of their model of videos."""
    config = theirs.config
    model = transformers.Sam2Model(
        transformers.Sam2Config(
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
