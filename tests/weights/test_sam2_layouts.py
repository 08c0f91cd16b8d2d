import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from sam2_parity import edgetam, image_model, video_pair
from samkit.errors import WeightsError
from samkit.export.transformers_folder import sam2_config
from samkit.models import CONFIGS, Sam2, Sam2Config, build_sam
from samkit.weights.catalog import CATALOG, PUBLISHED_IOU_THRESH, SAM2_IOU_THRESH
from samkit.weights.checkpoint import outline, read_iou_thresh, save_checkpoint
from samkit.weights.layouts import to_own_names
from samkit.weights.load import load_model
from samkit.weights.sam2_layouts import to_sam2_original

SIZES = [name for name in CONFIGS if re.match(r"sam2(\.1)?_hiera_", name)]
# The reverse of the table of original names, written independently of it.
TO_ORIGINAL = (
    (r"^image_encoder\.neck\.conv_s", "sam_mask_decoder.conv_s"),
    (r"^(prompt_encoder|mask_decoder)\.", r"sam_\1."),
    (r"^memory\.(attention|encoder)\.", r"memory_\1."),
    (r"^memory\.", ""),
    (r"mlp\.lin1", "mlp.layers.0"),
    (r"mlp\.lin2", "mlp.layers.1"),
    (r"trunk\.stages\.", "trunk.body.stages_"),
    (r"trunk\.stem", "trunk.body.stem"),
)
# Names of a published file, one of each kind.
ORIGINAL_NAMES = [
    "maskmem_tpos_enc",
    "no_mem_embed",
    "no_mem_pos_enc",
    "no_obj_ptr",
    "no_obj_embed_spatial",
    "image_encoder.trunk.pos_embed",
    "image_encoder.trunk.pos_embed_window",
    "image_encoder.trunk.patch_embed.proj.weight",
    "image_encoder.trunk.blocks.0.norm1.weight",
    "image_encoder.trunk.blocks.0.attn.qkv.bias",
    "image_encoder.trunk.blocks.11.attn.proj.weight",
    "image_encoder.trunk.blocks.3.mlp.layers.1.weight",
    "image_encoder.trunk.blocks.1.proj.bias",
    "image_encoder.neck.convs.3.conv.weight",
    "mask_downsample.weight",
    "memory_attention.layers.3.self_attn.out_proj.bias",
    "memory_attention.layers.0.norm3.weight",
    "memory_attention.layers.2.cross_attn_image.k_proj.weight",
    "memory_attention.layers.1.linear2.weight",
    "memory_attention.norm.bias",
    "memory_encoder.mask_downsampler.encoder.0.weight",
    "memory_encoder.mask_downsampler.encoder.12.bias",
    "memory_encoder.pix_feat_proj.weight",
    "memory_encoder.fuser.layers.1.gamma",
    "memory_encoder.fuser.layers.0.dwconv.weight",
    "memory_encoder.fuser.layers.0.norm.weight",
    "memory_encoder.fuser.layers.0.pwconv2.bias",
    "memory_encoder.out_proj.weight",
    "obj_ptr_proj.layers.2.weight",
    "obj_ptr_tpos_proj.weight",
    "sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
    "sam_prompt_encoder.point_embeddings.3.weight",
    "sam_prompt_encoder.not_a_point_embed.weight",
    "sam_prompt_encoder.mask_downscaling.6.bias",
    "sam_prompt_encoder.no_mask_embed.weight",
    "sam_mask_decoder.transformer.layers.1.mlp.layers.0.weight",
    "sam_mask_decoder.transformer.layers.0.cross_attn_image_to_token.q_proj.weight",
    "sam_mask_decoder.transformer.final_attn_token_to_image.out_proj.bias",
    "sam_mask_decoder.transformer.norm_final_attn.weight",
    "sam_mask_decoder.conv_s0.weight",
    "sam_mask_decoder.conv_s1.bias",
    "sam_mask_decoder.obj_score_token.weight",
    "sam_mask_decoder.iou_token.weight",
    "sam_mask_decoder.mask_tokens.weight",
    "sam_mask_decoder.output_upscaling.3.weight",
    "sam_mask_decoder.iou_prediction_head.layers.2.bias",
    "sam_mask_decoder.output_hypernetworks_mlps.3.layers.1.weight",
    "sam_mask_decoder.pred_obj_score_head.layers.0.weight",
]

# Likewise of edgetam.pt, which for the rest has those above.
EDGETAM_NAMES = [
    "image_encoder.trunk.body.stem.conv1.c.weight",
    "image_encoder.trunk.body.stem.conv2.bn.running_var",
    "image_encoder.trunk.body.stages_0.blocks.1.token_mixer.conv.c.weight",
    "image_encoder.trunk.body.stages_2.blocks.13.token_mixer.conv1.bn.bias",
    "image_encoder.trunk.body.stages_2.blocks.12.se.fc1.bias",
    "image_encoder.trunk.body.stages_3.blocks.0.channel_mixer.conv2.bn.num_batches_tracked",
    "image_encoder.trunk.body.stages_1.downsample.pre_block.token_mixer.conv.bn.weight",
    "image_encoder.trunk.body.stages_1.downsample.spatial_downsample.c.weight",
    "image_encoder.trunk.body.stages_1.downsample.channel_downsample.bn.running_mean",
    "image_encoder.trunk.body.stages_3.downsample.ffn.conv1.c.weight",
    "spatial_perceiver.latents",
    "spatial_perceiver.latents_2d",
    "spatial_perceiver.norm.weight",
    "spatial_perceiver.layers.1.attn.norm_latents.weight",
    "spatial_perceiver.layers.0.attn.norm_x.bias",
    "spatial_perceiver.layers.0.attn.to_q.weight",
    "spatial_perceiver.layers.0.attn.to_kv.weight",
    "spatial_perceiver.layers.0.attn.to_out.weight",
    "spatial_perceiver.layers.1.ff.0.bias",
    "spatial_perceiver.layers.1.ff.1.weight",
    "spatial_perceiver.layers.1.ff.3.weight",
    "spatial_perceiver.layers.0.self_attn.norm.weight",
    "spatial_perceiver.layers.0.self_attn.to_kv.weight",
    "spatial_perceiver.layers.1.self_ff.3.weight",
    "memory_attention.layers.1.cross_attn_image.k_proj.weight",
]


def original(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state under the original's names."""
    out = {}
    for own_name, tensor in state.items():
        name = own_name
        for pattern, replacement in TO_ORIGINAL:
            name = re.sub(pattern, replacement, name)
        out[name] = tensor
    assert len(out) == len(state)
    return out


def their_state(name: str) -> dict[str, Tensor]:
    """The state of transformers' model of a name of ours, without numbers."""
    config = CONFIGS[name]
    assert isinstance(config, Sam2Config)
    import transformers

    with torch.device("meta"):
        if name == "edgetam":
            return edgetam(config).state_dict()
        return transformers.Sam2VideoModel(sam2_config(config)).state_dict()


def shapes(state: dict[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in state.items()}


@pytest.mark.parametrize("name", [*SIZES, "edgetam"])
def test_names_of_transformers_become_exactly_ours(name: str) -> None:
    own, layout = to_own_names(their_state(name))
    assert layout == "transformers"
    assert shapes(own) == shapes(outline(name).state_dict())


@pytest.mark.parametrize("name", [*SIZES, "tiny_sam2", "edgetam"])
def test_names_of_original_files_become_exactly_ours(name: str) -> None:
    state = outline(name).state_dict()
    own, layout = to_own_names({"model": original(state)})
    assert layout == "original"
    assert list(own) == list(state)
    assert all(own[key] is state[key] for key in state)


def test_original_names_are_those_of_published_files() -> None:
    names = original(outline("sam2.1_hiera_tiny").state_dict())
    assert [name for name in ORIGINAL_NAMES if name not in names] == []
    names = original(outline("edgetam").state_dict())
    assert [name for name in EDGETAM_NAMES if name not in names] == []


@pytest.mark.parametrize("name", [*SIZES, "tiny_sam2", "edgetam"])
def test_our_names_become_those_of_original_files(name: str) -> None:
    state = outline(name).state_dict()
    expected, found = original(state), to_sam2_original(state)
    assert list(found) == list(expected)
    assert all(found[key] is expected[key] for key in expected)


def test_our_own_names_stay(tiny_sam2: Sam2) -> None:
    state = tiny_sam2.state_dict()
    own, _ = to_own_names(state)
    assert list(own) == list(state)


@pytest.mark.parametrize("model", ["tiny_sam2", "tiny_edgetam"])
def test_values_survive_every_layout(
    model: str, randomise: Callable[..., None], tmp_path: Path
) -> None:
    ours, theirs = video_pair(model, randomise)
    expected = ours.state_dict()
    torch.save({"model": original(expected)}, tmp_path / "original.pt")
    save_file(theirs.state_dict(), tmp_path / "theirs.safetensors")
    save_checkpoint(ours, tmp_path / "own.safetensors", name=model)
    for file in ("original.pt", "theirs.safetensors", "own.safetensors"):
        loaded = load_model(tmp_path / file)
        assert loaded.name == model
        assert loaded.model.config == CONFIGS[model]
        assert loaded.iou_thresh == read_iou_thresh(tmp_path / file) == SAM2_IOU_THRESH
        assert loaded.model.state_dict().keys() == expected.keys()
        for name, tensor in loaded.model.state_dict().items():
            assert torch.equal(tensor, expected[name]), (file, name)


def test_a_model_for_images_alone_loads_without_memory(
    randomise: Callable[..., None], tmp_path: Path
) -> None:
    ours, theirs = video_pair("tiny_sam2", randomise)
    image_model(theirs).save_pretrained(tmp_path)
    loaded = load_model(tmp_path / "model.safetensors")
    assert loaded.name == "tiny_sam2"
    assert isinstance(loaded.model, Sam2)
    assert loaded.model.memory is None
    expected = ours.state_dict()
    for name, tensor in loaded.model.state_dict().items():
        assert torch.equal(tensor, expected[name])
    save_checkpoint(loaded.model, tmp_path / "again.safetensors", name="tiny_sam2")
    assert load_model(tmp_path / "again.safetensors").model.memory is None


def test_a_file_that_runs_code_is_refused(
    tiny_sam2: Sam2, tmp_path: Path, refusal: Callable[..., Any]
) -> None:
    torch.save({"model": tiny_sam2.state_dict(), "hook": print}, tmp_path / "bad.pt")
    with refusal(WeightsError, "bad.pt", "more than tensors"):
        load_model(tmp_path / "bad.pt")


def test_a_file_of_another_size_names_the_tensors(
    tiny_sam2: Sam2, tmp_path: Path, refusal: Callable[..., Any]
) -> None:
    save_checkpoint(tiny_sam2, tmp_path / "tiny.safetensors", name="tiny_sam2")
    with refusal(WeightsError, "does not fit sam2.1_hiera_tiny", "must be"):
        load_model(tmp_path / "tiny.safetensors", name="sam2.1_hiera_tiny")


@pytest.mark.parametrize("name", [*SIZES, "edgetam"])
def test_the_catalog_knows_each_size(name: str) -> None:
    entry = CATALOG[name]
    repo = "EdgeTAM" if name == "edgetam" else name.replace("_", "-")
    assert entry.hub_repo == f"facebook/{repo}"
    assert entry.iou_thresh == SAM2_IOU_THRESH != PUBLISHED_IOU_THRESH
    with torch.device("meta"):
        model = build_sam(CONFIGS[name])
    assert sum(parameter.numel() for parameter in model.parameters()) == entry.parameters
