from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from samkit.errors import WeightsError
from samkit.models import CONFIGS, Sam
from samkit.models.vit import ViTConfig
from samkit.weights.checkpoint import outline
from samkit.weights.layouts import to_own_names

GAUSSIAN = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
# transformers keeps one tensor under two names; a file may hold either or both.
THEIR_GAUSSIANS = (
    "shared_image_embedding.positional_embedding",
    "prompt_encoder.shared_embedding.positional_embedding",
)


@pytest.fixture
def state(tiny_sam: Sam) -> dict[str, Tensor]:
    return tiny_sam.state_dict()


def their_state(name: str) -> dict[str, Tensor]:
    """The state of transformers' model of a name of ours, without numbers."""
    encoder = CONFIGS[name].encoder
    assert isinstance(encoder, ViTConfig)
    config = transformers.SamConfig(
        vision_config={
            "hidden_size": encoder.embed_dim,
            "num_hidden_layers": encoder.depth,
            "num_attention_heads": encoder.num_heads,
            "global_attn_indexes": list(encoder.global_blocks),
        }
    )
    with torch.device("meta"):
        return transformers.SamModel(config).state_dict()


def assert_same_tensors(own: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert own.keys() == expected.keys()
    for name, tensor in own.items():
        assert tensor is expected[name]


def test_our_names_are_the_original_ones(state: dict[str, Tensor]) -> None:
    own, layout = to_own_names(state)
    assert layout == "original"
    assert_same_tensors(own, state)


@pytest.mark.parametrize("name", ["sam_vit_b", "sam_vit_l", "sam_vit_h"])
def test_names_of_transformers_become_exactly_ours(name: str) -> None:
    own, layout = to_own_names(their_state(name))
    assert layout == "transformers"
    expected = outline(name).state_dict()
    assert {key: t.shape for key, t in own.items()} == {key: t.shape for key, t in expected.items()}


@pytest.mark.parametrize("dropped", THEIR_GAUSSIANS)
def test_either_name_of_the_shared_tensor_is_enough(dropped: str) -> None:
    theirs = their_state("sam_vit_b")
    del theirs[dropped]
    own, _ = to_own_names(theirs)
    assert own[GAUSSIAN].shape == (2, 128)
    assert own.keys() == outline("sam_vit_b").state_dict().keys()


WRAPPINGS: dict[str, Callable[[dict[str, Tensor]], dict[str, Any]]] = {
    "model": lambda state: {"model": state, "epoch": 3},
    "state_dict": lambda state: {"state_dict": state, "optimizer": {"state": {}}},
    "model_state_dict": lambda state: {"model_state_dict": state},
    "net": lambda state: {"net": state, "epoch": 3},
    "model_state": lambda state: {"model_state": state, "optimizer_state": {"lr": 0.1}},
    "settings": lambda state: {"model": {"name": "vit_b"}, "state_dict": state},
    "compiled": lambda state: {"_orig_mod." + name: tensor for name, tensor in state.items()},
    "two wrappers": lambda state: {"model": {"state_dict": state}},
    "module.": lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
    "sam.": lambda state: {f"sam.{name}": tensor for name, tensor in state.items()},
    "two prefixes": lambda state: {f"module.model.{name}": t for name, t in state.items()},
    "both": lambda state: {"model": {f"module.{name}": t for name, t in state.items()}},
    "other values": lambda state: state | {"epoch": 3, "note": "best"},
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_wrappings_of_training_programs_come_off(state: dict[str, Tensor], wrapping: str) -> None:
    own, layout = to_own_names(WRAPPINGS[wrapping](state))
    assert layout == "original"
    assert_same_tensors(own, state)


@pytest.mark.parametrize("wrapping", ["model", "module.", "both"])
def test_wrappings_of_the_transformers_layout_come_off(wrapping: str) -> None:
    theirs = their_state("sam_vit_b")
    own, layout = to_own_names(WRAPPINGS[wrapping](theirs))
    assert layout == "transformers"
    assert own.keys() == outline("sam_vit_b").state_dict().keys()


def test_what_the_network_does_not_use_of_mobile_sams_files_is_dropped() -> None:
    state = outline("mobile_sam").state_dict()
    unused = {
        f"image_encoder.{name}": torch.zeros(1)
        for name in (
            "norm_head.weight",
            "norm_head.bias",
            "head.weight",
            "head.bias",
            "layers.1.blocks.0.attn.attention_bias_idxs",
        )
    }
    own, layout = to_own_names(state | unused)
    assert layout == "original"
    assert own.keys() == state.keys()


@pytest.mark.parametrize(
    ("state", "named"),
    [
        ({"backbone.conv1.weight": torch.zeros(1), "fc.bias": torch.zeros(1)}, "backbone.conv1"),
        ({}, "got an empty file"),
        (
            {"epoch": 3, "ema": {"a": torch.zeros(1)}},
            "no tensors at the top, whose keys are epoch, ema",
        ),
        ({0: torch.zeros(1)}, "whose keys are 0"),
        ({"model": {}}, "whose keys are model"),
        (dict.fromkeys("abcdefghij"), "whose keys are a, b, c, d, e, f, g, h and 2 more"),
    ],
    ids=["other network", "empty", "no tensors", "numbers as names", "empty wrapper", "many keys"],
)
def test_other_names_are_refused(state: Any, named: str, refusal: Any) -> None:
    with refusal(WeightsError, "not a SAM checkpoint", "image_encoder.pos_embed", named):
        to_own_names(state)
