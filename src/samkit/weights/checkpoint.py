"""Reading and writing checkpoint files, and building models from them."""

from __future__ import annotations

import hashlib
import os
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from samkit.errors import WeightsError
from samkit.files import write_tensors
from samkit.models import CONFIGS, Sam, Sam2Config, SamConfig, build_sam, without_values
from samkit.weights.catalog import CATALOG, PUBLISHED_IOU_THRESH, SAM2_IOU_THRESH
from samkit.weights.hub import fetch
from samkit.weights.layouts import State, to_own_names
from samkit.weights.sam2_layouts import is_of_sam2

SHOWN_MISFITS = 5
# Metadata keys of our own files: the model's kind, and the CLIP behind its text prompts.
MODEL_KEY, TEXT_KEY, TEXT_FINGERPRINT_KEY = "model", "text_encoder", "text_fingerprint"
TEXT_WEIGHT = "prompt_encoder.text_projection.weight"  # only where a model takes text
# Of a file with a decoder alone: the model in the catalog whose image encoder it needs, and the
# encoder's checksum.
BASE_KEY, ENCODER_KEY, IOU_THRESH_KEY = "base", "encoder_sha256", "iou_thresh"
ENCODER_PREFIX, MEMORY_PREFIX = "image_encoder.", "memory."
# torch's message about a file that would run code; garbage has an "unsupported operand" instead.
REFUSED = re.compile(r"unsupported (global|class)", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class TextEncoder:
    """The CLIP whose embeddings a model's text prompts are.

    Attributes:
        source: folder or name on the hub when the model was trained.
        fingerprint: see `samkit.text.Clip.fingerprint`.
        dim: dimension of its embeddings.
    """

    source: str
    fingerprint: str
    dim: int


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint file's tensors under our names, and what can be read without building a model.

    Attributes:
        layout: "original", "transformers", or "mae" for an image encoder alone.
        model_name: the kind of model, if the file states it.
        text_encoder: for a model with text prompts; fields that the file does not state are empty.
        iou_thresh: predicted IoU from which automatic masks are taken.
    """

    path: Path
    state: State
    layout: str
    model_name: str | None
    text_encoder: TextEncoder | None = None
    iou_thresh: float = PUBLISHED_IOU_THRESH

    @property
    def text_dim(self) -> int | None:
        """Dimension of CLIP's embeddings; None for a model without text prompts."""
        return None if self.text_encoder is None else self.text_encoder.dim

    @property
    def has_memory(self) -> bool:
        """Whether it has networks for videos; a SAM 2 for images alone has none."""
        return any(name.startswith(MEMORY_PREFIX) for name in self.state)


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a `.safetensors`, `.pth` or `.pt` file in any known layout. Never runs code from it.

    A file with a decoder alone, of `save_decoder`, gets the image encoder of the model it names.

    Raises:
        WeightsError: the file is missing or damaged, its layout is unknown, it holds more than
            tensors, or its decoder belongs to another image encoder.
        DownloadError: the image encoder of a decoder's file could not be fetched.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"no such file: {path}")
    metadata: Mapping[str, str] = {}
    if path.suffix == ".safetensors":
        state, metadata = _read_safetensors(path)
    else:
        state = _read_pickle(path)
    if BASE_KEY in metadata:
        state = {**_base_encoder(path, metadata), **state}
    try:
        tensors, layout = to_own_names(state)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
    text_encoder = None
    projection = tensors.get(TEXT_WEIGHT)
    if projection is not None and projection.ndim == 2 and projection.shape[1] > 0:
        text_encoder = TextEncoder(
            source=metadata.get(TEXT_KEY, ""),
            fingerprint=metadata.get(TEXT_FINGERPRINT_KEY, ""),
            dim=projection.shape[1],
        )
    return Checkpoint(
        path=path,
        state=tensors,
        layout=layout,
        model_name=metadata.get(MODEL_KEY),
        text_encoder=text_encoder,
        iou_thresh=_iou_thresh(metadata, tensors),
    )


def read_iou_thresh(path: str | os.PathLike[str]) -> float:
    """The predicted IoU from which automatic masks of a file's model are taken.

    Raises:
        WeightsError: the file is missing or damaged.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        return read_checkpoint(path).iou_thresh
    with _open_safetensors(path) as file:  # without its gigabytes of tensors
        return _iou_thresh(file.metadata() or {}, file.keys())


def _iou_thresh(metadata: Mapping[str, str], names: Iterable[str]) -> float:
    published = SAM2_IOU_THRESH if any(map(is_of_sam2, names)) else PUBLISHED_IOU_THRESH
    return float(metadata.get(IOU_THRESH_KEY, published))


def _base_encoder(path: Path, metadata: Mapping[str, str]) -> State:
    """Read the image encoder that a decoder's file names."""
    base = metadata[BASE_KEY]
    if base not in CATALOG:
        raise WeightsError(f"{path} is a decoder for {base!r}, which this version does not know")
    encoder = _encoder_of(base)
    if encoder_state_sha256(encoder) != metadata.get(ENCODER_KEY):
        raise WeightsError(f"{path} is a decoder for another image encoder than that of {base}")
    return encoder


def _encoder_of(model: str) -> State:
    """Read the image encoder of a model of the catalog."""
    state = read_checkpoint(fetch(CATALOG[model])).state
    return {name: value for name, value in state.items() if name.startswith(ENCODER_PREFIX)}


def _read_safetensors(path: Path) -> tuple[Mapping[str, object], Mapping[str, str]]:
    with _open_safetensors(path) as file:
        metadata = file.metadata() or {}
        return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118


@contextmanager
def _open_safetensors(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is damaged or truncated: {error}") from error


def _read_pickle(path: Path) -> Mapping[str, object]:
    try:
        mmap = zipfile.is_zipfile(path)  # files older than torch 1.6 cannot be mapped
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except Exception as error:  # torch stumbles over damaged bytes in many ways
        if REFUSED.search(str(error)):
            raise WeightsError(
                f"{path} holds more than tensors, which is refused since it could run code;"
                " save the state_dict alone, best as .safetensors"
            ) from error
        reason = f": {error.strerror}" if isinstance(error, OSError) else ""
        raise WeightsError(f"{path} is damaged, truncated or not a checkpoint{reason}") from error
    if not isinstance(state, Mapping):
        raise WeightsError(f"{path} holds a {type(state).__name__}; expected tensors by name")
    return state


def misfits(state: Mapping[str, Tensor], model: nn.Module) -> list[str]:
    """Reasons why tensors do not fit a model, one line per tensor, in the model's order."""
    expected = model.state_dict()
    lines = []
    for name, tensor in expected.items():
        shape = tuple(tensor.shape)
        if name not in state:
            if not name.endswith("num_batches_tracked"):
                lines.append(f"{name} {shape} is missing")
        elif tuple(state[name].shape) != shape:
            lines.append(f"{name} must be {shape}; got {tuple(state[name].shape)}")
        elif state[name].is_floating_point() != tensor.is_floating_point():
            lines.append(f"{name} must be of {tensor.dtype}; got {state[name].dtype}")
    lines += [f"{name} is not in the model" for name in state if name not in expected]
    return lines


def model_config(name: str, text_dim: int | None = None, *, has_memory: bool = True) -> SamConfig:
    """Configuration of the named model.

    Args:
        name: key of `samkit.models.CONFIGS`.
        text_dim: dimension of its text prompts; None without.
        has_memory: whether a SAM 2 has its networks for videos.
    """
    config = replace(CONFIGS[name], text_dim=text_dim)
    if isinstance(config, Sam2Config) and not has_memory:
        return replace(config, memory=None)
    return config


@cache
def outline(name: str, text_dim: int | None = None, *, has_memory: bool = True) -> Sam:
    """The named model without weights: names and shapes only."""
    with without_values():
        return build_sam(model_config(name, text_dim, has_memory=has_memory))


def outline_for(checkpoint: Checkpoint, name: str) -> Sam:
    """The named model with the optional parts that a checkpoint has."""
    return outline(name, checkpoint.text_dim, has_memory=checkpoint.has_memory)


def identify(checkpoint: Checkpoint) -> str:
    """The known model that a checkpoint fits best: the one it names, else by names and shapes."""
    if checkpoint.model_name in CONFIGS:
        return str(checkpoint.model_name)
    return min(
        CONFIGS, key=lambda name: len(misfits(checkpoint.state, outline_for(checkpoint, name)))
    )


def check_fits(checkpoint: Checkpoint, name: str) -> None:
    """Raise a WeightsError that lists the first tensors that do not fit the named model."""
    wrong = misfits(checkpoint.state, outline_for(checkpoint, name))
    if wrong:
        shown = "; ".join(wrong[:SHOWN_MISFITS])
        more = f"; and {len(wrong) - SHOWN_MISFITS} more" if len(wrong) > SHOWN_MISFITS else ""
        raise WeightsError(f"{checkpoint.path} does not fit {name}: {shown}{more}")


def build_model(checkpoint: Checkpoint, name: str) -> Sam:
    """Build the named model with a checkpoint's weights: float32, on the CPU, in evaluation mode.

    Raises:
        WeightsError: a tensor is missing, unexpected or of the wrong shape.
    """
    check_fits(checkpoint, name)
    with without_values():
        model = build_sam(model_config(name, checkpoint.text_dim, has_memory=checkpoint.has_memory))
    state = {
        key: tensor.float() if tensor.is_floating_point() else tensor
        for key, tensor in checkpoint.state.items()
    }
    for key in model.state_dict():
        if key.endswith("num_batches_tracked"):
            state.setdefault(key, torch.tensor(0))
    model.load_state_dict(state, assign=True)
    return model.eval()


def save_checkpoint(
    model: Sam,
    path: str | os.PathLike[str],
    *,
    name: str,
    text_encoder: TextEncoder | None = None,
) -> None:
    """Write a model's weights as safetensors in our own layout, with the model's name.

    A model with text prompts also records their CLIP.

    Raises:
        OutputError: the file cannot be written.
    """
    write_tensors(path, model.state_dict(), _metadata(name, text_encoder))


def _metadata(name: str, text_encoder: TextEncoder | None) -> dict[str, str]:
    """Metadata of our own files."""
    found = {MODEL_KEY: name}
    if text_encoder is not None:
        found[TEXT_KEY] = text_encoder.source
        found[TEXT_FINGERPRINT_KEY] = text_encoder.fingerprint
    return found


def save_decoder(
    model: Sam,
    path: str | os.PathLike[str],
    *,
    name: str,
    base: str,
    text_encoder: TextEncoder | None = None,
    iou_thresh: float = PUBLISHED_IOU_THRESH,
) -> None:
    """Write a model's prompt encoder and mask decoder, in float16, without its image encoder.

    The file is loaded like any other; the image encoder comes from the model that it names.

    Args:
        model: a network with the image encoder of `base`, unchanged.
        name: the kind of model.
        base: a model of the catalog.
        text_encoder: the CLIP of its text prompts.
        iou_thresh: predicted IoU from which automatic masks are taken.

    Raises:
        WeightsError: there is no such `base`, or the model has another image encoder.
        OutputError: the file cannot be written.
    """
    if base not in CATALOG:
        raise WeightsError(f"unknown model {base!r}; known are {', '.join(CATALOG)}")
    encoder: State = {}
    decoder: State = {}
    for key, value in model.state_dict().items():
        (encoder if key.startswith(ENCODER_PREFIX) else decoder)[key] = value
    checksum = encoder_state_sha256(encoder)
    if checksum != encoder_state_sha256(_encoder_of(base)):
        raise WeightsError(f"the model has another image encoder than {base}: save all of it")
    halved = {
        key: value.half() if value.is_floating_point() else value for key, value in decoder.items()
    }
    facts = {BASE_KEY: base, ENCODER_KEY: checksum, IOU_THRESH_KEY: f"{iou_thresh:g}"}
    write_tensors(path, halved, _metadata(name, text_encoder) | facts)


def encoder_state_sha256(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of an image encoder's tensors as float32; counters of batch norms do not count."""
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        if not name.endswith("num_batches_tracked"):
            _update(digest, name, tensor.float() + 0.0)
    return digest.hexdigest()


def weights_sha256(module: nn.Module) -> str:
    """SHA-256 of the names and values of a module's state, on any device.

    Equal numbers have equal checksums: -0.0 counts as +0.0.
    """
    return _sha256(module, lambda tensor: tensor + 0.0 if tensor.is_floating_point() else tensor)


def weights_sha256_of_bytes(module: nn.Module) -> str:
    """The checksum in older saved embeddings, which tells -0.0 from +0.0."""
    return _sha256(module, lambda tensor: tensor)


def _sha256(module: nn.Module, canonical: Callable[[Tensor], Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        _update(digest, name, canonical(tensor.detach()))
    return digest.hexdigest()


def _update(digest: hashlib._Hash, name: str, tensor: Tensor) -> None:
    digest.update(name.encode())
    values = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    digest.update(values.numpy().data)
