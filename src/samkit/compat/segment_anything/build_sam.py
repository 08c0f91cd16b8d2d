"""Builders of the published models, and conversion to and from samkit's own networks."""

import os
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial

import torch
from torch import nn

from samkit.compat.segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)
from samkit.compat.segment_anything.modeling.image_encoder import TinyViT
from samkit.errors import WeightsError
from samkit.image_spec import ImageSpec
from samkit.models import (
    CONFIGS,
    LAYER_NORM_EPS,
    SamConfig,
    TinyViTConfig,
    ViTConfig,
    without_values,
)
from samkit.models import Sam as Network
from samkit.weights import load_model

IMAGE_SPEC = ImageSpec()
IOU_HEAD_DEPTH = 3
# Tensors of samkit's own models that the original lacks.
TEXT_PREFIX = "prompt_encoder.text_projection."


def build(name: str, checkpoint: str | os.PathLike[str] | None = None) -> Sam:
    """Build a model, in evaluation mode.

    Args:
        name: key of `samkit.models.CONFIGS`.
        checkpoint: any file that `samkit.weights` reads; without one, MobileSAM gets its embedded
            weights and other models random ones.

    Raises:
        WeightsError: the checkpoint cannot be read or does not fit.
    """
    if checkpoint is not None:
        return from_network(load_model(checkpoint, name=name).model)
    if name == "mobile_sam":
        return from_network(load_model(name).model)
    return from_config(CONFIGS[name]).eval()


def from_network(network: Network) -> Sam:
    """Wrap a network of samkit under the original's names, sharing its weights."""
    with without_values():
        sam = from_config(network.config)
    state = {k: v for k, v in network.state_dict().items() if not k.startswith(TEXT_PREFIX)}
    sam.load_state_dict(state, assign=True)
    # These are not in state dicts, so they are still on "meta".
    sam.pixel_mean, sam.pixel_std = (
        torch.tensor(v).view(-1, 1, 1) for v in (IMAGE_SPEC.mean, IMAGE_SPEC.std)
    )
    return sam.eval()


def from_config(config: SamConfig) -> Sam:
    """Build a model of any samkit configuration, with random weights."""
    encoder, decoder, prompts = config.encoder, config.decoder, config.prompts
    if isinstance(encoder, TinyViTConfig):
        image_encoder: nn.Module = TinyViT(encoder)
    elif not isinstance(encoder, ViTConfig):
        raise WeightsError("segment_anything has no SAM 2: use samkit.Predictor")
    else:
        image_encoder = ImageEncoderViT(
            img_size=encoder.image_size,
            patch_size=encoder.patch_size,
            embed_dim=encoder.embed_dim,
            depth=encoder.depth,
            num_heads=encoder.num_heads,
            mlp_ratio=encoder.mlp_ratio,
            out_chans=encoder.out_channels,
            norm_layer=partial(nn.LayerNorm, eps=LAYER_NORM_EPS),
            use_rel_pos=True,
            window_size=encoder.window_size,
            global_attn_indexes=encoder.global_blocks,
        )
    sam = Sam(
        image_encoder=image_encoder,
        prompt_encoder=PromptEncoder(
            embed_dim=prompts.dim,
            image_embedding_size=(prompts.grid_size, prompts.grid_size),
            input_image_size=(prompts.image_size, prompts.image_size),
            mask_in_chans=prompts.mask_hidden,
        ),
        mask_decoder=MaskDecoder(
            transformer_dim=decoder.dim,
            transformer=TwoWayTransformer(
                depth=decoder.depth,
                embedding_dim=decoder.dim,
                num_heads=decoder.num_heads,
                mlp_dim=decoder.mlp_dim,
                attention_downsample_rate=decoder.cross_attention_downsample,
            ),
            num_multimask_outputs=decoder.num_multimask,
            iou_head_depth=IOU_HEAD_DEPTH,
            iou_head_hidden_dim=decoder.iou_hidden_dim,
        ),
    )
    sam.config = replace(config, text_dim=None)
    return sam


def to_network(sam: Sam) -> Network | None:
    """Make samkit's own network of a model's current weights, sharing them.

    Returns:
        None if no such network would compute the same: the model was not built here, a module was
        replaced or has hooks, or the weights are not float32.
    """
    if sam.config is None or not _is_unchanged(sam, sam.config):
        return None
    with without_values():
        network = Network(sam.config)
    network.load_state_dict(sam.state_dict(), assign=True)
    return network.eval()


def _is_unchanged(sam: Sam, config: SamConfig) -> bool:
    """Whether a model is unchanged since it was built, except for the values of its weights."""
    return (
        _module_types(sam) == _module_types(_outline(config))
        and _shapes(sam) == _shapes(_outline(config))
        and not any(_is_patched(module) for module in sam.modules())
        and all(p.dtype == torch.float32 for p in sam.parameters())
        and sam.pixel_mean.flatten().tolist() == torch.tensor(IMAGE_SPEC.mean).tolist()
        and sam.pixel_std.flatten().tolist() == torch.tensor(IMAGE_SPEC.std).tolist()
    )


@cache
def _outline(config: SamConfig) -> Sam:
    """A model without weights."""
    with without_values():
        return from_config(config)


def _module_types(sam: Sam) -> dict[str, type]:
    return {name: type(module) for name, module in sam.named_modules()}


def _shapes(sam: Sam) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in sam.state_dict().items()}


def _is_patched(module: nn.Module) -> bool:
    """Whether calling a module may do anything else than its class defines."""
    hooks = (*module._forward_pre_hooks, *module._forward_hooks)  # noqa: SLF001
    overridden = (name for name in vars(module) if callable(getattr(type(module), name, None)))
    return bool(hooks) or any(overridden)


build_sam_vit_h = partial(build, "sam_vit_h")
build_sam_vit_l = partial(build, "sam_vit_l")
build_sam_vit_b = partial(build, "sam_vit_b")
build_sam_vit_t = partial(build, "mobile_sam")
build_sam = build_sam_vit_h

sam_model_registry: dict[str, Callable[..., Sam]] = {
    "default": build_sam_vit_h,
    "vit_h": build_sam_vit_h,
    "vit_l": build_sam_vit_l,
    "vit_b": build_sam_vit_b,
    "vit_t": build_sam_vit_t,
}
