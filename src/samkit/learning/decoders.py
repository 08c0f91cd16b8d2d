"""Learned versions as bytes: all of a network but its image encoder, and that one's corrections.

A version either has the server's image encoder or corrects it by LoRA. Corrections are stored as
two small factors for each corrected layer, in float16. Their product is computed in double
precision, where it is exact: all float16 are multiples of 2^-24, and sums stay far below 32. So the
merged weights and their checksum are the same on every machine.

Shape legend: R rank of a correction.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, TypeAlias

from samkit.errors import WeightsError
from samkit.weights import weights_sha256

if TYPE_CHECKING:  # torch takes seconds to import
    from torch import Tensor, nn

    from samkit.models import Sam
    from samkit.predict import Predictor

ENCODER = "image_encoder."
# Name of a packed version's checksum of its image encoder, as bytes.
CHECKSUM = ENCODER + "sha256"
A, B = ".lora_a", ".lora_b"
MAX_RANK = 32  # of the corrections of several rounds together

# Factors (R, in) and (out, R) by the names of the encoder's layers, with the suffixes A and B.
Corrections: TypeAlias = Mapping[str, "Tensor"]


def pack_decoder(model: Sam, corrections: Corrections | None = None) -> bytes:
    """Write a network's decoder and prompt encoder as safetensors, in float16.

    Args:
        model: with the image encoder that it shall be used with.
        corrections: how that one differs from the server's, from `joined`; None if it is that.
    """
    import torch
    from safetensors.torch import save

    state = {name: value.half().contiguous() for name, value in decoder_state(model).items()}
    for name, factor in (corrections or {}).items():
        state[ENCODER + name] = factor.half().contiguous()
    checksum = bytes.fromhex(weights_sha256(model.image_encoder))
    state[CHECKSUM] = torch.tensor(list(checksum), dtype=torch.uint8)
    return save(state)


def unpack_decoder(content: bytes, base: Sam) -> Sam:
    """Build the network of a packed version, with the image encoder of another one.

    Weights of the encoder that are not corrected are shared with it.

    Raises:
        WeightsError: the bytes are damaged, or of another kind of model or another image encoder.
    """
    state = read_state(content)
    corrections = corrections_in(state)
    if not corrections:
        return _network(state, base, base.image_encoder)
    encoder = corrected(base.image_encoder, corrections)
    if CHECKSUM not in state or weights_sha256(encoder) != checksum_in(state):
        raise WeightsError(
            "the corrections of an image encoder in the store are damaged, or of another model than"
            " this one"
        )
    return _network(state, base, encoder)


def open_decoder(
    content: bytes, base: Predictor, others: Iterable[Predictor] = (), *, model_name: str | None
) -> Predictor:
    """Make a predictor of a packed version; it shares its image encoder with others if it can.

    Args:
        base: the server's own model.
        others: of the same server, with encoders of their own.

    Raises:
        WeightsError: the bytes are damaged, or of another kind of model or another image encoder.
    """
    state = read_state(content)
    checksum = checksum_in(state) or base.encoder_checksum
    for one in (base, *others):
        if one.encoder_checksum == checksum:
            network = _network(state, one.model, one.model.image_encoder)
            return one.with_decoder(network, model_name=model_name)
    if not corrections_in(state):
        raise WeightsError(
            f"a learned decoder in the store is of another image encoder ({checksum[:12]}) than"
            f" {base.model_name} ({base.encoder_checksum[:12]}): serve the model that it began from"
        )
    return base.with_network(unpack_decoder(content, base.model), model_name=model_name)


def read_state(content: bytes) -> dict[str, Tensor]:
    """Tensors of a packed version by name.

    Raises:
        WeightsError: the bytes are damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(content)
    except SafetensorError as error:
        raise WeightsError(f"a learned decoder in the store is damaged: {error}") from error


def checksum_in(state: Mapping[str, Tensor]) -> str | None:
    """Checksum of the image encoder of a packed version; None if an earlier release packed it."""
    packed = state.get(CHECKSUM)
    return None if packed is None else bytes(packed.tolist()).hex()


def corrections_in(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Corrections of the image encoder in a packed version; none if it is the server's."""
    names = [name for name in state if name.startswith(ENCODER) and name.endswith((A, B))]
    return {name.removeprefix(ENCODER): state[name] for name in names}


def joined(*parts: Corrections) -> dict[str, Tensor]:
    """Corrections that do what several do together, in float16.

    Both factors of each are equally large, so that float16 holds them well, and their rank is at
    most 32: beyond it the smallest singular values are left out.
    """
    import torch

    layers = {name.removesuffix(A) for part in parts for name in part if name.endswith(A)}
    found: dict[str, Tensor] = {}
    for layer in sorted(layers):
        own = [part for part in parts if layer + A in part]
        a = torch.cat([part[layer + A].double() for part in own])  # (R, in)
        b = torch.cat([part[layer + B].double() for part in own], dim=1)  # (out, R)
        b_basis, b_rest = torch.linalg.qr(b)
        a_basis, a_rest = torch.linalg.qr(a.T)
        left, values, right = torch.linalg.svd(b_rest @ a_rest.T, full_matrices=False)
        rank = min(len(values), MAX_RANK)
        root = values[:rank].sqrt()
        found[layer + A] = ((a_basis @ right[:rank].T) * root).T.half().contiguous()
        found[layer + B] = ((b_basis @ left[:, :rank]) * root).half().contiguous()
    return found


def scaled(corrections: Corrections, share: float) -> dict[str, Tensor]:
    """A share of corrections."""
    return {
        name: factor * share if name.endswith(B) else factor for name, factor in corrections.items()
    }


def corrected(encoder: nn.Module, corrections: Corrections) -> nn.Module:
    """Copy an encoder with corrections merged into it; weights without any are shared.

    Raises:
        WeightsError: they do not fit the encoder.
    """
    from torch import nn

    shared: dict[int, object] = {
        id(one): one for one in (*encoder.parameters(), *encoder.buffers())
    }
    copied = copy.deepcopy(encoder, shared)
    layers = dict(copied.named_modules())
    for name in corrections:
        layer = layers.get(name.removesuffix(A).removesuffix(B))
        a, b = (corrections.get(name.removesuffix(A).removesuffix(B) + part) for part in (A, B))
        fits = (
            isinstance(layer, nn.Linear)
            and a is not None
            and b is not None
            and (b.shape[0], a.shape[1]) == layer.weight.shape
            and a.shape[0] == b.shape[1]
        )
        if not fits:
            raise WeightsError(
                "corrections of an image encoder in the store are of another kind of model: they do"
                f" not fit {name}"
            )
        if name.endswith(A):
            assert isinstance(layer, nn.Linear)
            assert a is not None
            assert b is not None
            weight = layer.weight.detach()
            merged = weight.cpu().double() + b.double() @ a.double()
            layer.weight = nn.Parameter(merged.to(weight), requires_grad=False)
    return copied


def decoder_state(model: Sam) -> dict[str, Tensor]:
    """Tensors of a network by name, without its image encoder's."""
    return {
        name: value for name, value in model.state_dict().items() if not name.startswith(ENCODER)
    }


def _network(state: Mapping[str, Tensor], base: Sam, encoder: nn.Module) -> Sam:
    """The network of a packed decoder with an image encoder.

    Raises:
        WeightsError: the decoder is of another kind of model.
    """
    decoder = {name: one.float() for name, one in state.items() if not name.startswith(ENCODER)}
    expected = {name: value.shape for name, value in decoder_state(base).items()}
    if {name: value.shape for name, value in decoder.items()} != expected:
        raise WeightsError("a learned decoder in the store is of another kind of model")
    model = copy.deepcopy(base, {id(base.image_encoder): encoder})
    own = decoder_state(model)
    for name, value in decoder.items():
        own[name].copy_(value)
    return model
