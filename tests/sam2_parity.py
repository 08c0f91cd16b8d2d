"""Models of transformers for our SAM 2 configurations, with random weights, for tests of parity."""

from __future__ import annotations

from typing import Any

import torch
import transformers

from samkit.export.transformers_folder import sam2_config
from samkit.models import CONFIGS, Sam2, Sam2Config
from samkit.weights.layouts import to_own_names


def video_pair(name: str, randomise: Any) -> tuple[Sam2, transformers.Sam2VideoModel]:
    """Our network and theirs with the same random weights, through the real key table."""
    config = CONFIGS[name]
    assert isinstance(config, Sam2Config)
    theirs = transformers.Sam2VideoModel(sam2_config(config)).eval()
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
