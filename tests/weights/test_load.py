import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import save_file

from reference.decode import decode
from samkit.errors import WeightsError
from samkit.models import CONFIGS, Sam
from samkit.weights.checkpoint import save_checkpoint
from samkit.weights.load import load_model


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
def test_a_path_is_enough_to_load_a_model(suffix: str, tiny_sam: Sam, tmp_path: Path) -> None:
    path = tmp_path / f"mine{suffix}"
    write = save_file if suffix == ".safetensors" else torch.save
    write(tiny_sam.state_dict(), path)
    for source in (path, str(path)):
        loaded = load_model(source)
        assert loaded.name == "tiny"
        assert loaded.model.config == CONFIGS["tiny"]
        for name, tensor in loaded.model.state_dict().items():
            assert torch.equal(tensor, tiny_sam.state_dict()[name])


def test_saving_and_loading_answers_bitwise_the_same(tiny_sam: Sam, tmp_path: Path) -> None:
    save_checkpoint(tiny_sam, tmp_path / "a.safetensors", name="tiny")
    model = load_model(tmp_path / "a.safetensors").model
    pixels, boxes = torch.randn(1, 3, 128, 128), torch.tensor([[10.0, 20.0, 90.0, 99.0]])
    with torch.no_grad():
        for mine, other in zip(
            decode(model, model.encode(pixels).grid, {"boxes_xyxy": boxes}),
            decode(tiny_sam, tiny_sam.encode(pixels).grid, {"boxes_xyxy": boxes}),
            strict=True,
        ):
            assert torch.equal(mine, other)


def test_a_model_that_transformers_saved_loads(
    randomise: Callable[..., None], tmp_path: Path
) -> None:
    encoder, decoder = CONFIGS["tiny"].encoder, CONFIGS["tiny"].decoder
    config = transformers.SamConfig(
        vision_config={
            "hidden_size": encoder.embed_dim,
            "num_hidden_layers": encoder.depth,
            "num_attention_heads": encoder.num_heads,
            "global_attn_indexes": list(encoder.global_blocks),
            "image_size": encoder.image_size,
            "window_size": encoder.window_size,
            "output_channels": decoder.dim,
            "num_pos_feats": decoder.dim // 2,
        },
        prompt_encoder_config={"hidden_size": decoder.dim, "image_size": encoder.image_size},
        mask_decoder_config={
            "hidden_size": decoder.dim,
            "num_attention_heads": decoder.num_heads,
            "mlp_dim": decoder.mlp_dim,
            "iou_head_hidden_dim": decoder.iou_hidden_dim,
        },
    )
    theirs = transformers.SamModel(config).eval()
    randomise(theirs)
    theirs.save_pretrained(tmp_path)
    loaded = load_model(tmp_path / "model.safetensors")
    assert loaded.name == "tiny"
    pixels = torch.randn(1, 3, 128, 128)
    with torch.no_grad():
        torch.testing.assert_close(
            loaded.model.encode(pixels).grid, theirs.get_image_embeddings(pixels)
        )


def test_a_given_name_goes_before_what_the_file_looks_like(
    tiny_sam: Sam, tmp_path: Path, refusal: Any
) -> None:
    path = tmp_path / "a.safetensors"
    save_checkpoint(tiny_sam, path, name="tiny")
    assert load_model(path, name="tiny").name == "tiny"
    with refusal(WeightsError, f"{path} does not fit sam_vit_b"):
        load_model(path, name="sam_vit_b")


def test_an_unknown_name_lists_the_known_ones(refusal: Any) -> None:
    known = ("mobile_sam", "sam_vit_b", "sam_vit_l", "sam_vit_h")
    with refusal(WeightsError, "unknown model 'sam_vit_g'", *known, ".safetensors"):
        load_model("sam_vit_g")


def test_an_unknown_kind_lists_the_known_ones(refusal: Any) -> None:
    with refusal(WeightsError, "unknown model 'big'", "mobile_sam", "sam_vit_b", "tiny"):
        load_model("mobile_sam", name="big")


def test_a_missing_file_is_not_taken_for_a_name(tmp_path: Path, refusal: Any) -> None:
    with refusal(WeightsError, f"no such file: {tmp_path / 'a.pth'}"):
        load_model(tmp_path / "a.pth")


def test_the_embedded_model_needs_only_its_name() -> None:
    loaded = load_model("mobile_sam")
    assert loaded.name == "mobile_sam"
    assert not loaded.model.training
    assert all(tensor.isfinite().all() for tensor in loaded.model.state_dict().values())
    assert {p.dtype for p in loaded.model.parameters()} == {torch.float32}


def test_loading_does_not_import_the_compiler(tiny_sam: Sam, tmp_path: Path) -> None:
    """It takes two seconds, in each process; SymPy, which it brings, one."""
    save_checkpoint(tiny_sam, tmp_path / "a.safetensors", name="tiny")
    code = "import sys; from samkit import Predictor; Predictor.load('a.safetensors');"
    code += "sys.exit(len({'torch._dynamo', 'sympy'} & sys.modules.keys()))"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
