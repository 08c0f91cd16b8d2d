"""Loading models by name or from a checkpoint file."""

import os
from dataclasses import dataclass
from pathlib import Path

from samkit.errors import WeightsError
from samkit.models import CONFIGS, Sam
from samkit.weights.catalog import CATALOG, PUBLISHED_IOU_THRESH, check_source
from samkit.weights.checkpoint import (
    TextEncoder,
    build_model,
    identify,
    read_checkpoint,
    read_iou_thresh,
)
from samkit.weights.hub import fetch


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A model.

    Attributes:
        name: its name in `samkit.models.CONFIGS`.
        text_encoder: the CLIP of its text prompts; None without.
        iou_thresh: predicted IoU from which automatic masks are taken.
    """

    model: Sam
    name: str
    text_encoder: TextEncoder | None = None
    iou_thresh: float = PUBLISHED_IOU_THRESH


def load_model(source: str | os.PathLike[str], *, name: str | None = None) -> LoadedModel:
    """Load a model.

    Args:
        source: a name in the catalog ("mobile_sam" is in the package, the others are downloaded
            unless they are on this disk) or the path of a checkpoint.
        name: kind of the checkpoint's model; detected if not given.

    Raises:
        WeightsError: unknown name, missing or damaged file, tensors that do not fit.
        DownloadError: the weights could not be fetched.
    """
    if name is not None and name not in CONFIGS:
        raise WeightsError(f"unknown model {name!r}; known are {', '.join(CONFIGS)}")
    if isinstance(source, str) and source in CATALOG:
        path, name = fetch(CATALOG[source]), CATALOG[source].config
    else:
        check_source(source)
        path = Path(source)
    if path.is_dir():
        raise WeightsError(f"{path} is a folder: weights are needed here, in a checkpoint file")
    checkpoint = read_checkpoint(path)
    if checkpoint.layout == "mae":
        raise WeightsError(
            f"{path} is an image encoder alone, of MAE: train with model.encoder_weights={path}"
        )
    name = name or identify(checkpoint)
    return LoadedModel(
        model=build_model(checkpoint, name),
        name=name,
        text_encoder=checkpoint.text_encoder,
        iou_thresh=checkpoint.iou_thresh,
    )


def own_iou_thresh(source: str | os.PathLike[str]) -> float:
    """The predicted IoU from which automatic masks of a model are taken, without loading it.

    Arguments and errors are those of `load_model`; nothing is downloaded.
    """
    if isinstance(source, str) and source in CATALOG:
        return CATALOG[source].iou_thresh
    check_source(source)
    return read_iou_thresh(source)
