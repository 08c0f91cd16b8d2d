"""Models of the registry, their state dicts, and conversion to and from samkit's networks."""

import copy
from dataclasses import replace
from functools import partial

import pytest
import torch

from samkit.compat.segment_anything import build_sam, sam_model_registry
from samkit.compat.segment_anything.build_sam import build, from_config, from_network, to_network
from samkit.compat.segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)
from samkit.errors import WeightsError
from samkit.models import CONFIGS
from samkit.models import Sam as Network
from samkit.weights.checkpoint import save_checkpoint

PUBLISHED = ("sam_vit_b", "sam_vit_l", "sam_vit_h", "mobile_sam")
LINEAR, EMBEDDING = ("weight", "bias"), ("weight",)
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "out_proj")


def named(module, layers, names=LINEAR):
    return {f"{module}.{layer}.{name}" for layer in layers for name in names}


def published_encoder_keys(depth):
    keys = {"image_encoder.pos_embed"} | named("image_encoder.patch_embed", ["proj"])
    layers = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.lin1", "mlp.lin2")
    for i in range(depth):
        block = f"image_encoder.blocks.{i}"
        keys |= named(block, layers) | {f"{block}.attn.rel_pos_h", f"{block}.attn.rel_pos_w"}
    neck = "image_encoder.neck"
    return keys | named(neck, [0, 2], EMBEDDING) | named(neck, [1, 3])


def published_prompt_keys():
    embeddings = [*(f"point_embeddings.{i}" for i in range(4)), "not_a_point_embed"]
    return (
        {"prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"}
        | named("prompt_encoder", [*embeddings, "no_mask_embed"], EMBEDDING)
        | named("prompt_encoder.mask_downscaling", [0, 1, 3, 4, 6])
    )


def published_decoder_keys():
    transformer = "mask_decoder.transformer"
    keys = named(transformer, ["norm_final_attn"])
    keys |= named(f"{transformer}.final_attn_token_to_image", PROJECTIONS)
    for i in range(2):
        layer = f"{transformer}.layers.{i}"
        keys |= named(layer, ["norm1", "norm2", "norm3", "norm4", "mlp.lin1", "mlp.lin2"])
        for attention in ("self_attn", "cross_attn_token_to_image", "cross_attn_image_to_token"):
            keys |= named(f"{layer}.{attention}", PROJECTIONS)
    keys |= named("mask_decoder", ["iou_token", "mask_tokens"], EMBEDDING)
    keys |= named("mask_decoder.output_upscaling", [0, 1, 3])
    heads = ["iou_prediction_head", *(f"output_hypernetworks_mlps.{i}" for i in range(4))]
    return keys | named("mask_decoder", [f"{h}.layers.{i}" for h in heads for i in range(3)])


def published_vit_keys(depth):
    """Names of the tensors in `sam_vit_*.pth`, by hand."""
    return published_encoder_keys(depth) | published_prompt_keys() | published_decoder_keys()


def on_meta(name):
    with torch.device("meta"):
        return from_config(CONFIGS[name])


def test_registry_has_the_original_names_and_mobile_sams():
    assert set(sam_model_registry) == {"default", "vit_h", "vit_l", "vit_b", "vit_t"}
    assert sam_model_registry["default"] is build_sam


@pytest.mark.parametrize(("name", "depth"), [("sam_vit_b", 12), ("sam_vit_l", 24)])
def test_state_dict_has_the_published_keys(name, depth):
    keys = published_vit_keys(depth)
    assert len(keys) == 146 + 14 * depth
    assert set(on_meta(name).state_dict()) == keys


@pytest.mark.parametrize("name", PUBLISHED)
def test_state_dict_has_the_names_and_shapes_of_samkits_network(name):
    with torch.device("meta"):
        expected = Network(CONFIGS[name]).state_dict()
    assert {k: v.shape for k, v in on_meta(name).state_dict().items()} == {
        k: v.shape for k, v in expected.items()
    }


def test_state_dicts_load_strictly_both_ways(tiny_sam):
    sam = from_config(CONFIGS["tiny"])
    assert sam.load_state_dict(tiny_sam.state_dict(), strict=True).missing_keys == []
    tiny_sam.load_state_dict(sam.state_dict(), strict=True)
    with pytest.raises(RuntimeError, match="Missing key"):
        sam.load_state_dict({k: v for k, v in tiny_sam.state_dict().items() if "neck" not in k})


def test_without_a_checkpoint_a_model_is_fresh_and_in_evaluation_mode():
    sam = build("tiny", checkpoint=None)
    assert not sam.training
    assert sam.image_encoder.img_size == 128
    assert sam.pixel_mean.flatten().tolist() == pytest.approx([123.675, 116.28, 103.53])
    assert sam.mask_threshold == 0.0
    assert sam.image_format == "RGB"
    assert str(sam.device) == "cpu"


def test_mobile_sam_has_its_weights_without_a_checkpoint():
    sam = sam_model_registry["vit_t"]()
    assert sam.image_encoder.img_size == 1024
    assert sam.prompt_encoder.point_embeddings[1].weight.std() > 0.01
    assert isinstance(sam.mask_decoder, MaskDecoder)


def test_checkpoints_load_by_keyword(tmp_path, tiny_sam):
    path = tmp_path / "tiny.pth"
    torch.save(tiny_sam.state_dict(), path)
    sam = build("tiny", checkpoint=str(path))
    for name, tensor in sam.state_dict().items():
        assert torch.equal(tensor, tiny_sam.state_dict()[name]), name


def test_checkpoints_must_fit(tmp_path, tiny_sam):
    path = tmp_path / "tiny.safetensors"
    save_checkpoint(tiny_sam, path, name="tiny")
    with pytest.raises(WeightsError, match="does not fit sam_vit_b"):
        sam_model_registry["vit_b"](checkpoint=path)


def test_text_weights_are_left_out(text_sam):
    sam = from_network(text_sam)
    assert not [name for name in sam.state_dict() if "text" in name]
    assert to_network(sam).config.text_dim is None


def test_networks_share_their_weights_both_ways(tiny_sam):
    sam = from_network(tiny_sam)
    network = to_network(sam)
    tiny_sam.mask_decoder.iou_token.weight.data.fill_(3)
    assert sam.mask_decoder.iou_token.weight.eq(3).all()
    assert network.mask_decoder.iou_token.weight.eq(3).all()


def test_a_network_is_made_only_of_an_unchanged_model(sam):
    assert to_network(sam) is not None
    sam.pixel_mean = sam.pixel_mean + 1
    assert to_network(sam) is None
    sam.pixel_mean = sam.pixel_mean - 1
    assert to_network(sam) is not None
    tokens = sam.mask_decoder.mask_tokens
    sam.mask_decoder.mask_tokens = torch.nn.Embedding(5, 32)
    assert to_network(sam) is None
    sam.mask_decoder.mask_tokens = tokens
    assert to_network(sam) is not None
    assert to_network(sam.double()) is None


def test_a_model_put_together_by_hand_computes_the_same(tiny_sam):
    """As forks and adapters build it, with the original's arguments."""
    config = CONFIGS["tiny"]
    encoder, decoder = config.encoder, config.decoder
    sam = Sam(
        image_encoder=ImageEncoderViT(
            depth=encoder.depth,
            embed_dim=encoder.embed_dim,
            img_size=encoder.image_size,
            mlp_ratio=4,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
            num_heads=encoder.num_heads,
            patch_size=16,
            qkv_bias=True,
            use_rel_pos=True,
            global_attn_indexes=encoder.global_blocks,
            window_size=encoder.window_size,
            out_chans=encoder.out_channels,
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=decoder.dim,
            image_embedding_size=(8, 8),
            input_image_size=(128, 128),
            mask_in_chans=16,
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(
                depth=2, embedding_dim=decoder.dim, mlp_dim=decoder.mlp_dim, num_heads=4
            ),
            transformer_dim=decoder.dim,
            iou_head_depth=3,
            iou_head_hidden_dim=decoder.iou_hidden_dim,
        ),
        pixel_mean=[123.675, 116.28, 103.53],
        pixel_std=[58.395, 57.12, 57.375],
    )
    sam.load_state_dict(tiny_sam.state_dict(), strict=True)
    sam.eval()
    pixels = torch.randn(1, 3, 128, 128)
    with torch.no_grad():
        assert torch.equal(sam.image_encoder(pixels), tiny_sam.image_encoder(pixels))
    assert not [name for name in sam.state_dict() if name.startswith("pixel")]


def test_a_model_may_be_copied_and_saved_whole(sam, tmp_path):
    pixels = torch.randn(1, 3, 128, 128)
    torch.save(sam, tmp_path / "whole.pt")
    saved = torch.load(tmp_path / "whole.pt", weights_only=False)
    with torch.no_grad():
        for other in (copy.deepcopy(sam), saved):
            assert torch.equal(other.image_encoder(pixels), sam.image_encoder(pixels))
            assert to_network(other) is not None


def test_a_text_config_is_described_without_text():
    assert from_config(replace(CONFIGS["tiny"], text_dim=7)).config == CONFIGS["tiny"]
