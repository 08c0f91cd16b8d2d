"""The network of a folder of torch.export's programs, by their weights."""

from __future__ import annotations

from torch import Tensor

from samkit.backends import DECODER, ENCODER, VIDEO_PARTS, ExportedFolder
from samkit.errors import WeightsError
from samkit.models import Sam, build_sam
from samkit.weights import misfits, model_config, read_program_tensors, weights_sha256

# Names of tensors in a part, by their beginnings, and in the network.
PREFIXES = {
    ENCODER: {"": "image_encoder."},
    DECODER: {
        "decoder.": "mask_decoder.",
        "prompts.": "prompt_encoder.",
        "no_mem_embed": "no_mem_embed",
    },
    **{part: {"memory.": "memory."} for part in VIDEO_PARTS},  # the decoder's are known
}


def network_of_programs(exported: ExportedFolder) -> Sam:
    """Make the network of a folder's weights; the programs themselves are not opened.

    Without parts for videos, that of a SAM 2 is one for images alone.

    Raises:
        WeightsError: a file is damaged, or not of this model.
    """
    has_video = all(exported.path(part).is_file() for part in VIDEO_PARTS)
    state: dict[str, Tensor] = {}
    for part, prefixes in PREFIXES.items():
        if has_video or part not in VIDEO_PARTS:
            state |= renamed(read_program_tensors(exported.path(part)), prefixes)
    model = build_sam(model_config(exported.config, has_memory=has_video))
    wrong = misfits(state, model)
    if wrong:
        raise WeightsError(f"{exported.folder} does not fit {exported.config}: {wrong[0]}")
    model.load_state_dict(state)
    if weights_sha256(model.image_encoder) != exported.encoder_checksum:
        raise WeightsError(f"{exported.path(ENCODER)} is damaged: it has other weights than it had")
    return model.eval()


def renamed(tensors: dict[str, Tensor], prefixes: dict[str, str]) -> dict[str, Tensor]:
    """Tensors by the network's names; what a part was given beside them is left out."""
    return {
        theirs + name.removeprefix(own): tensor
        for name, tensor in tensors.items()
        for own, theirs in prefixes.items()
        if name.startswith(own)
    }
