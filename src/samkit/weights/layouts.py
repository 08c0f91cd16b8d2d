"""Key layouts of published checkpoints, mapped to the names of `samkit.models`.

Our modules use the names of the original checkpoints (`sam_vit_*.pth`, `mobile_sam.pt`), so only
the layouts of `transformers` and of MAE's encoders need a table; `sam2_layouts` has SAM 2's.
"""

import math
import re
from collections.abc import Mapping

from torch import Tensor

from samkit.errors import WeightsError
from samkit.weights.sam2_layouts import (
    ORIGINAL_MARK,
    TRANSFORMERS_MARK,
    from_sam2_original,
    from_sam2_transformers,
)

State = dict[str, Tensor]

# TinyViT's ImageNet classifier, which MobileSAM's file still carries, and, in files of some forks,
# the index of its attention biases, which follows from the window's size.
UNUSED = re.compile(r"^image_encoder\.(norm_head|head)\.|\.attention_bias_idxs$")
# Keys under which training programs store a model's tensors in their checkpoints.
WRAPPERS = (
    "model",
    "state_dict",
    "model_state_dict",
    "model_state",
    "net",
    "network",
    "net_state_dict",
    "module",
    "sam",
    "sam_model",
    "params",
    "weights",
)
# Prefixes that module wrappers add to each name.
NAME_PREFIXES = ("module.", "model.", "sam.", "net.", "network.", "sam_model.", "_orig_mod.")
SHOWN_NAMES = 3  # of tensors in a message
SHOWN_KEYS = 8

# Rewrites of the names of `transformers.SamModel`, applied in this order.
TRANSFORMERS_RENAMES = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^vision_encoder\.patch_embed\.projection\.", "image_encoder.patch_embed.proj."),
        (r"^vision_encoder\.layers\.", "image_encoder.blocks."),
        (r"^vision_encoder\.neck\.conv1\.", "image_encoder.neck.0."),
        (r"^vision_encoder\.neck\.layer_norm1\.", "image_encoder.neck.1."),
        (r"^vision_encoder\.neck\.conv2\.", "image_encoder.neck.2."),
        (r"^vision_encoder\.neck\.layer_norm2\.", "image_encoder.neck.3."),
        (r"^vision_encoder\.", "image_encoder."),
        (  # one tensor under two names; a file holds either or both
            r"^(?:shared_image_embedding|prompt_encoder\.shared_embedding)\.positional_embedding$",
            "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
        ),
        (r"^prompt_encoder\.point_embed\.", "prompt_encoder.point_embeddings."),
        (r"\.mask_embed\.conv1\.", ".mask_downscaling.0."),
        (r"\.mask_embed\.layer_norm1\.", ".mask_downscaling.1."),
        (r"\.mask_embed\.conv2\.", ".mask_downscaling.3."),
        (r"\.mask_embed\.layer_norm2\.", ".mask_downscaling.4."),
        (r"\.mask_embed\.conv3\.", ".mask_downscaling.6."),
        (r"\.upscale_conv1\.", ".output_upscaling.0."),
        (r"\.upscale_layer_norm\.", ".output_upscaling.1."),
        (r"\.upscale_conv2\.", ".output_upscaling.3."),
        (r"^(mask_decoder\.(?:output_hyper|iou_pred)\S+)\.layers\.0\.", r"\1.layers.1."),
        (r"\.proj_in\.", ".layers.0."),
        (r"\.proj_out\.", ".layers.2."),
        (r"\.layer_norm(_final_attn|\d)\.", r".norm\1."),
    )
]


# A plain ViT as published by MAE's authors: an image encoder alone.
MAE_RENAMES = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^(patch_embed\.proj\.|pos_embed$|blocks\.\d+\.(?:norm|attn))", r"image_encoder.\1"),
        (r"^(blocks\.\d+\.mlp)\.fc(\d)\.", r"image_encoder.\1.lin\2."),
    )
]
MAE_KEYS = ("patch_embed.proj.weight", "pos_embed", "blocks.0.mlp.fc1.weight")
CLASS_TOKEN = "cls_token"  # noqa: S105 - not a secret


def to_own_names(state: Mapping[str, object]) -> tuple[State, str]:
    """Rename a checkpoint's tensors to our names.

    Returns:
        tensors under our names, and the layout: "original", "transformers" or "mae".

    Raises:
        WeightsError: the layout is not known.
    """
    tensors = _strip_prefix(_unwrap(state))
    if any(name.startswith(ORIGINAL_MARK) for name in tensors):
        return from_sam2_original(tensors), "original"
    if any(name.startswith(TRANSFORMERS_MARK) for name in tensors):
        return from_sam2_transformers(tensors), "transformers"
    if any(name.startswith("image_encoder.") for name in tensors):
        used = {k: v for k, v in tensors.items() if not UNUSED.search(k)}
        return used, "original"
    if any(name.startswith("vision_encoder.") for name in tensors):
        return from_transformers(tensors), "transformers"
    if all(name in tensors for name in MAE_KEYS):
        return from_mae(tensors), "mae"
    raise WeightsError(
        "not a SAM checkpoint: expected names such as image_encoder.pos_embed or"
        f" vision_encoder.pos_embed; got {_described(state, tensors)}"
    )


def _described(state: Mapping[str, object], tensors: State) -> str:
    """The first tensors of a checkpoint; the keys at its top if no tensors were found."""
    if tensors:
        return ", ".join(list(tensors)[:SHOWN_NAMES])
    keys = [str(key) for key in state]
    more = f" and {len(keys) - SHOWN_KEYS} more" if len(keys) > SHOWN_KEYS else ""
    if not keys:
        return "an empty file"
    return f"no tensors at the top, whose keys are {', '.join(keys[:SHOWN_KEYS])}{more}"


def from_transformers(tensors: Mapping[str, Tensor]) -> State:
    """Rename the tensors of `transformers.SamModel` to ours."""
    out = {}
    for name, tensor in tensors.items():
        own_name = name
        for pattern, replacement in TRANSFORMERS_RENAMES:
            own_name = pattern.sub(replacement, own_name)
        out[own_name] = tensor
    return out


def from_mae(tensors: Mapping[str, Tensor]) -> State:
    """Rename the tensors of MAE's ViT to ours; drop those that SAM's encoder does not have.

    Dropped are the class token with its position, the last norm, which SAM's neck replaces, and
    MAE's decoder. The other positions (1, tokens, C) become a map (1, side, side, C).

    Raises:
        WeightsError: the positions do not form a square.
    """
    out = {}
    for name, tensor in tensors.items():
        for pattern, replacement in MAE_RENAMES:
            own_name, known = pattern.subn(replacement, name)
            if known:
                out[own_name] = tensor
    positions = tensors["pos_embed"]
    patches = positions[:, 1:] if CLASS_TOKEN in tensors else positions
    side = math.isqrt(patches.shape[1]) if patches.ndim == 3 else 0
    if side == 0 or patches.shape[1] != side**2:
        raise WeightsError(
            "pos_embed of an MAE checkpoint must be (1, tokens, channels), of a square of patches"
            f" and its class token; got {tuple(positions.shape)}"
        )
    out["image_encoder.pos_embed"] = patches.reshape(1, side, side, -1)
    return out


def _unwrap(state: Mapping[str, object]) -> State:
    """A checkpoint's tensors, taken out of a training program's wrapper if there is one."""
    for wrapper in WRAPPERS:
        inner = state.get(wrapper)
        if isinstance(inner, Mapping) and (tensors := _unwrap(inner)):
            return tensors
    return {
        name: value
        for name, value in state.items()
        if isinstance(name, str) and isinstance(value, Tensor)
    }


def _strip_prefix(tensors: State) -> State:
    for prefix in NAME_PREFIXES:
        if tensors and all(name.startswith(prefix) for name in tensors):
            return _strip_prefix({name[len(prefix) :]: t for name, t in tensors.items()})
    return tensors
