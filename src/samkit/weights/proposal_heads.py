"""Files of proposal heads, which belong to an image encoder."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from samkit.errors import WeightsError
from samkit.files import write_tensors
from samkit.models import ProposalHead, ProposalHeadConfig
from samkit.weights.catalog import EMBEDDED_DIR

FORMAT = "samkit-proposals-1"
ENCODER_KEY = "encoder_sha256"
# The heads in this package, of which each names its encoder.
EMBEDDED_HEADS = (EMBEDDED_DIR / "mobile_sam_proposals.safetensors",)


def save_proposal_head(
    head: ProposalHead, path: str | os.PathLike[str], *, encoder_checksum: str
) -> None:
    """Write a head in float16, with its configuration and the checksum of its image encoder.

    Raises:
        OutputError: the file cannot be written.
    """
    state = {name: tensor.detach().half().cpu() for name, tensor in head.state_dict().items()}
    metadata = {
        "format": FORMAT,
        "config": json.dumps(asdict(head.config)),
        ENCODER_KEY: encoder_checksum,
    }
    write_tensors(path, state, metadata)


def load_proposal_head(path: str | os.PathLike[str], *, encoder_checksum: str) -> ProposalHead:
    """Read a head for an image encoder; it is in float32 and in evaluation mode.

    Raises:
        WeightsError: the file is missing, damaged, of another kind, or of another encoder.
    """
    metadata, state = _read(Path(path), with_tensors=True)
    if metadata[ENCODER_KEY] != encoder_checksum:
        raise WeightsError(
            f"{path} belongs to another image encoder ({metadata['encoder_sha256'][:12]}) than this"
            f" model's ({encoder_checksum[:12]}): train one with `samkit train proposals model=...`"
        )
    try:
        head = ProposalHead(ProposalHeadConfig(**json.loads(metadata["config"])))
        head.load_state_dict({name: tensor.float() for name, tensor in state.items()})
    except (TypeError, ValueError, KeyError, RuntimeError) as error:
        raise WeightsError(f"{path} is damaged: {error}") from error
    return head.eval()


def find_proposal_head(encoder_checksum: str) -> ProposalHead:
    """Read the head in this package that belongs to an image encoder.

    Raises:
        WeightsError: there is none.
    """
    for path in EMBEDDED_HEADS:
        if path.is_file() and _read(path, with_tensors=False)[0][ENCODER_KEY] == encoder_checksum:
            return load_proposal_head(path, encoder_checksum=encoder_checksum)
    raise WeightsError(
        "this package has no proposal head for this model's image encoder: train one with"
        " `samkit train proposals model=...`, and give its file as proposer"
    )


def _read(
    path: Path, *, with_tensors: bool
) -> tuple[Mapping[str, str], Mapping[str, torch.Tensor]]:
    """Metadata and tensors of a file."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT or not {"config", ENCODER_KEY} <= {*metadata}:
                raise WeightsError(f"{path} is not a proposal head of samkit")
            names = file.keys() if with_tensors else ()
            return metadata, {name: file.get_tensor(name) for name in names}
    except FileNotFoundError as error:
        raise WeightsError(f"no such file: {path}") from error
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is damaged or not a proposal head: {error}") from error
