"""Loading of image encoder weights into a SAM."""

import logging
import os
import re
from dataclasses import dataclass

from torch import Tensor, nn

from samkit.errors import WeightsError
from samkit.models import Sam
from samkit.weights import SHOWN_MISFITS, misfits, read_checkpoint

PREFIX = "image_encoder."
POSITIONS = "pos_embed"
# Parameters that MAE pre-training does not train; files may lack them.
UNTRAINED = re.compile(r"^neck\.|\.rel_pos_[hw]$")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class EncoderLoad:
    """Result of loading an encoder: names of its tensors.

    Attributes:
        loaded: tensors of the file.
        fresh: tensors that the file lacks, left unchanged: neck, relative positions.
        resized: tensors of `loaded` that were interpolated to another grid: absolute positions.
    """

    loaded: tuple[str, ...]
    fresh: tuple[str, ...]
    resized: tuple[str, ...]


def load_encoder(model: Sam, path: str | os.PathLike[str]) -> EncoderLoad:
    """Load the image encoder of a file into a model; the rest of the model is unchanged.

    Args:
        model: changed in place.
        path: an export of `samkit pretrain`; a ViT as published by MAE's authors; or a full
            checkpoint, of which only the encoder is used. Absolute positions of another grid, as
            after pre-training on smaller images, are interpolated.

    Raises:
        WeightsError: the file is missing or damaged, or tensors do not fit; the model is unchanged.
    """
    checkpoint = read_checkpoint(path)
    state = {
        name.removeprefix(PREFIX): tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in checkpoint.state.items()
        if name.startswith(PREFIX)
    }
    own = model.image_encoder.state_dict()
    loaded, resized = tuple(state), []
    if _needs_resizing(state.get(POSITIONS), own.get(POSITIONS)):
        state[POSITIONS] = resize_positions(state[POSITIONS], own[POSITIONS].shape[1])
        resized.append(POSITIONS)
    fresh = tuple(name for name in own if name not in state and UNTRAINED.search(name))
    state |= {name: own[name] for name in fresh}
    wrong = misfits(state, model.image_encoder)
    if wrong:
        shown = "; ".join(wrong[:SHOWN_MISFITS])
        more = f"; and {len(wrong) - SHOWN_MISFITS} more" if len(wrong) > SHOWN_MISFITS else ""
        whose = "" if checkpoint.model_name is None else f" (of {checkpoint.model_name})"
        raise WeightsError(f"{path}{whose} does not fit the image encoder: {shown}{more}")
    model.image_encoder.load_state_dict(own | state)
    if fresh or resized:
        logger.warning("%s", _summary(path, loaded, fresh, tuple(resized)))
    return EncoderLoad(loaded=loaded, fresh=fresh, resized=tuple(resized))


def _summary(
    path: object, loaded: tuple[str, ...], fresh: tuple[str, ...], resized: tuple[str, ...]
) -> str:
    """Summarise the result of loading in one line."""
    neck = sum(name.startswith("neck.") for name in fresh)
    parts = [
        (f"{len(loaded)} tensors of the image encoder", True),
        (f"{', '.join(resized)} interpolated", bool(resized)),
        ("the neck is fresh", neck > 0),
        ("relative positions are fresh", len(fresh) > neck),
    ]
    return f"{path}: " + "; ".join(text for text, is_so in parts if is_so)


def _needs_resizing(given: Tensor | None, own: Tensor | None) -> bool:
    if given is None or own is None or given.ndim != 4:
        return False
    return given.shape[1:3] != own.shape[1:3] and given.shape[3] == own.shape[3]


def resize_positions(positions: Tensor, grid: int) -> Tensor:
    """Resize absolute position embeddings (1, h, w, C) to (1, grid, grid, C), bicubic.

    Source: arXiv:2203.16527 does so after pre-training on smaller images.
    """
    resized = nn.functional.interpolate(
        positions.permute(0, 3, 1, 2), (grid, grid), mode="bicubic", align_corners=False
    )
    return resized.permute(0, 2, 3, 1)
