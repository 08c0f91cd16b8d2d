"""Key layouts of published checkpoints of SAM 2 and EdgeTAM, mapped to `samkit.models`' names.

Our modules have the names of the original files (`sam2.1_hiera_*.pt`, `edgetam.pt`) below prefixes
of our own: `prompt_encoder`, `mask_decoder` and `image_encoder`, as in any model, and `memory` for
what only videos need. EdgeTAM's trunk has timm's names of RepViT, but for a level that timm's
lists of features add.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

State = dict[str, Tensor]

ORIGINAL_MARK, TRANSFORMERS_MARK = "image_encoder.trunk.", "vision_encoder.backbone."

# Rewrites of the original names, applied in this order; our own names stay as they are.
ORIGINAL_RENAMES = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^sam_mask_decoder\.conv_s(\d)\.", r"image_encoder.neck.conv_s\1."),
        (r"^sam_(prompt_encoder|mask_decoder)\.", r"\1."),
        (r"^memory_(attention|encoder)\.", r"memory.\1."),
        (
            r"^(maskmem_tpos_enc|no_mem_pos_enc|no_obj_|obj_ptr_|mask_downsample\.|spatial_perc)",
            r"memory.\1",
        ),
        (r"\.trunk\.body\.stages_", ".trunk.stages."),
        (r"\.trunk\.body\.", ".trunk."),
        (r"\.mlp\.layers\.0\.", ".mlp.lin1."),
        (r"\.mlp\.layers\.1\.", ".mlp.lin2."),
    )
]

# The same backwards, from our names.
TO_ORIGINAL_RENAMES = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^image_encoder\.neck\.conv_s(\d)\.", r"sam_mask_decoder.conv_s\1."),
        (r"^(prompt_encoder|mask_decoder)\.", r"sam_\1."),
        (r"^memory\.(attention|encoder)\.", r"memory_\1."),
        (r"^memory\.", ""),
        (r"\.mlp\.lin1\.", ".mlp.layers.0."),
        (r"\.mlp\.lin2\.", ".mlp.layers.1."),
        (r"\.trunk\.stages\.", ".trunk.body.stages_"),
        (r"\.trunk\.stem\.", ".trunk.body.stem."),
    )
]

# Rewrites of the names of `transformers.Sam2Model` and `Sam2VideoModel`, likewise.
TRANSFORMERS_RENAMES = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^vision_encoder\.backbone\.", ORIGINAL_MARK),
        (r"\.trunk\.timm_model\.stages_", ".trunk.stages."),
        (r"\.trunk\.timm_model\.", ".trunk."),
        (r"\.patch_embed\.projection\.", ".patch_embed.proj."),
        (r"^vision_encoder\.neck\.convs\.(\d)\.", r"image_encoder.neck.convs.\1.conv."),
        (r"^mask_decoder\.conv_s(\d)\.", r"image_encoder.neck.conv_s\1."),
        (  # one tensor under two names; a file holds either or both
            r"^(?:shared_image_embedding|prompt_encoder\.shared_embedding)\.positional_embedding$",
            "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
        ),
        (r"\.mask_embed\.conv1\.", ".mask_downscaling.0."),
        (r"\.mask_embed\.layer_norm1\.", ".mask_downscaling.1."),
        (r"\.mask_embed\.conv2\.", ".mask_downscaling.3."),
        (r"\.mask_embed\.layer_norm2\.", ".mask_downscaling.4."),
        (r"\.mask_embed\.conv3\.", ".mask_downscaling.6."),
        (r"\.upscale_conv1\.", ".output_upscaling.0."),
        (r"\.upscale_layer_norm\.", ".output_upscaling.1."),
        (r"\.upscale_conv2\.", ".output_upscaling.3."),
        (r"\.mlp\.proj_in\.", ".mlp.lin1."),
        (r"\.mlp\.proj_out\.", ".mlp.lin2."),
        (r"^no_memory_embedding$", "no_mem_embed"),
        (r"^no_memory_positional_encoding$", "memory.no_mem_pos_enc"),
        (r"^memory_temporal_positional_encoding$", "memory.maskmem_tpos_enc"),
        (r"^no_object_pointer$", "memory.no_obj_ptr"),
        (r"^occlusion_spatial_embedding_parameter$", "memory.no_obj_embed_spatial"),
        (r"^object_pointer_proj\.", "memory.obj_ptr_proj."),
        (r"^temporal_positional_encoding_projection_layer\.", "memory.obj_ptr_tpos_proj."),
        (r"^mask_downsample\.", "memory.mask_downsample."),
        (r"^memory_(attention|encoder)\.", r"memory.\1."),
        (r"^(memory\.attention\S+)\.mlp\.up_proj\.", r"\1.linear1."),
        (r"^(memory\.attention\S+)\.mlp\.down_proj\.", r"\1.linear2."),
        (r"\.mask_downsampler\.final_conv\.", ".mask_downsampler.encoder.12."),
        (r"\.feature_projection\.", ".pix_feat_proj."),
        (r"^memory\.encoder\.projection\.", "memory.encoder.out_proj."),
        (r"\.memory_fuser\.", ".fuser."),
        (r"\.scale$", ".gamma"),
        (r"\.depthwise_conv\.", ".dwconv."),
        (r"\.pointwise_conv(\d)\.", r".pwconv\1."),
        # Of MLPs with three layers, the second is their first of those between.
        (r"^(mask_decoder\.(?:output_hyper|iou_pred|pred_obj)\S+)\.layers\.0\.", r"\1.layers.1."),
        (r"^memory\.obj_ptr_proj\.layers\.0\.", "memory.obj_ptr_proj.layers.1."),
        (r"\.proj_in\.", ".layers.0."),
        (r"\.proj_out\.", ".layers.2."),
        (r"\.o_proj\.", ".out_proj."),
    )
]
# Likewise, of the perceiver of `transformers.EdgeTamVideoModel`.
PERCEIVER_RENAMES = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^spatial_perceiver\.latents_1d$", "spatial_perceiver.latents"),
        (r"\.layer_norm_input\.", ".attn.norm_x."),
        (r"\.layer_norm_latents\.", ".attn.norm_latents."),
        (r"\.layer_norm_self\.", ".self_attn.norm."),
        (r"\.cross_attention\.", ".attn."),
        (r"\.self_attention\.", ".self_attn."),
        (r"\.([qkv])_proj\.", r".to_\1."),
        (r"\.o_proj\.", ".to_out."),
        (r"\.(self_)?mlp\.layer_norm\.", r".\1ff.0."),
        (r"\.(self_)?mlp\.up_proj\.", r".\1ff.1."),
        (r"\.(self_)?mlp\.down_proj\.", r".\1ff.3."),
        (r"^", "memory."),
    )
]
PERCEIVER_MARK = "spatial_perceiver."
# Tensors that are one in the original: keys' projection, then values'.
KEYS, VALUES, KEYS_AND_VALUES = ".to_k.weight", ".to_v.weight", ".to_kv.weight"
DOWNSAMPLER_LAYER = re.compile(r"\.mask_downsampler\.layers\.(\d)\.(conv|layer_norm)\.")
LAYER_NORM = re.compile(r"\.layer_norm(_final_attn|\d|)\.")
POINT_EMBEDDINGS = "prompt_encoder.point_embed.weight"


def is_of_sam2(name: str) -> bool:
    """Whether a tensor's name, in any layout, is one that only SAM 2 has."""
    return ORIGINAL_MARK in name or TRANSFORMERS_MARK in name


def from_sam2_original(tensors: Mapping[str, Tensor]) -> State:
    """Rename the tensors of an original file, or of one of our own, to ours."""
    return {_renamed(name, ORIGINAL_RENAMES): tensor for name, tensor in tensors.items()}


def to_sam2_original(state: Mapping[str, Tensor]) -> State:
    """Rename our tensors of a SAM 2 to those of an original file."""
    return {_renamed(name, TO_ORIGINAL_RENAMES): tensor for name, tensor in state.items()}


def from_sam2_transformers(tensors: Mapping[str, Tensor]) -> State:
    """Rename the tensors of `transformers.Sam2Model` or `Sam2VideoModel` to ours.

    Also those of `EdgeTamModel` and `EdgeTamVideoModel`.
    """
    out: State = {}
    for name, tensor in tensors.items():
        if name == POINT_EMBEDDINGS and tensor.ndim == 2:
            for kind, row in enumerate(tensor):
                out[f"prompt_encoder.point_embeddings.{kind}.weight"] = row[None]
            continue
        own_name = DOWNSAMPLER_LAYER.sub(_downsampler_name, name)
        is_perceiver = name.startswith(PERCEIVER_MARK)
        own_name = _renamed(own_name, PERCEIVER_RENAMES if is_perceiver else TRANSFORMERS_RENAMES)
        out[LAYER_NORM.sub(r".norm\1.", own_name)] = tensor
    return _with_joined_projections(out)


def _with_joined_projections(state: State) -> State:
    for name in [name for name in state if name.endswith(KEYS)]:
        values = name.replace(KEYS, VALUES)
        if values in state:
            pair = [state.pop(name), state.pop(values)]
            state[name.replace(KEYS, KEYS_AND_VALUES)] = torch.cat(pair)
    return state


def _renamed(name: str, renames: list[tuple[re.Pattern[str], str]]) -> str:
    for pattern, replacement in renames:
        name = pattern.sub(replacement, name)
    return name


def _downsampler_name(found: re.Match[str]) -> str:
    """Each convolution is followed by its norm and by an activation without weights."""
    number = 3 * int(found[1]) + (found[2] == "layer_norm")
    return f".mask_downsampler.encoder.{number}."
