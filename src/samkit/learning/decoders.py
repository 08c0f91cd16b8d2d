"""Learned decoders as bytes: all of a network but its image encoder, which stays the server's."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from samkit.errors import WeightsError

if TYPE_CHECKING:  # torch takes seconds to import
    from torch import Tensor

    from samkit.models import Sam

ENCODER = "image_encoder."


def pack_decoder(model: Sam) -> bytes:
    """Write a network's decoder and prompt encoder as safetensors, in float16."""
    from safetensors.torch import save

    state = {name: value.half().contiguous() for name, value in decoder_state(model).items()}
    return save(state)


def unpack_decoder(content: bytes, base: Sam) -> Sam:
    """Build the network of a packed decoder, with the image encoder of another one.

    Raises:
        WeightsError: the bytes are damaged, or of another kind of model.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        state = load(content)
    except SafetensorError as error:
        raise WeightsError(f"a learned decoder in the store is damaged: {error}") from error
    expected = {name: value.shape for name, value in decoder_state(base).items()}
    if {name: value.shape for name, value in state.items()} != expected:
        raise WeightsError("a learned decoder in the store is of another kind of model")
    model = copy.deepcopy(base)
    model.load_state_dict(model.state_dict() | {name: one.float() for name, one in state.items()})
    return model


def decoder_state(model: Sam) -> dict[str, Tensor]:
    """Tensors of a network by name, without its image encoder's."""
    return {
        name: value for name, value in model.state_dict().items() if not name.startswith(ENCODER)
    }
