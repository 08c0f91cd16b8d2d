"""Writing an exported folder: its parts are run and compared with PyTorch before they are there."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import nn

from samkit.backends import DECODER, ENCODER, EXPORT_FORMAT, METADATA, SUFFIXES, write_onnx
from samkit.errors import BackendError, ConfigError
from samkit.export.compared import Compared, compare_masks
from samkit.export.graphs import (
    DECODER_AXES,
    DECODER_INPUTS,
    DECODER_OUTPUTS,
    ENCODER_INPUTS,
    ENCODER_OUTPUTS,
    PromptedDecoder,
    decoder_example,
)
from samkit.export.new_folder import check_new, new_folder
from samkit.extras import require_packages
from samkit.models import Sam
from samkit.predict import Predictor
from samkit.weights import load_model

Format: TypeAlias = Literal["onnx", "openvino"]
Part: TypeAlias = Literal["encoder", "decoder"]
Precision: TypeAlias = Literal["float32", "float16"]
FORMATS: tuple[Format, ...] = get_args(Format)
PARTS: tuple[Part, ...] = get_args(Part)
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
# Least mean IoU of the exported model's masks with those of PyTorch.
LEAST_IOU = {"float32": 0.995, "float16": 0.98}


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written.

    Attributes:
        files: the parts and the metadata.
        compared: with PyTorch in float32.
    """

    folder: Path
    files: tuple[Path, ...]
    compared: Compared


def export_model(
    source: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    format: Format = "onnx",  # noqa: A002 - the field's word
    parts: Sequence[Part] = PARTS,
    precision: Precision = "float32",
) -> Exported:
    """Write a model for other programs and runtimes; `samkit.Predictor.load(folder)` runs it, too.

    Args:
        source: a model's name or checkpoint, as `samkit.Predictor.load` takes it.
        folder: a new one; it is there complete or not at all.
        format: "onnx", or "openvino" (XML and BIN files).
        parts: "encoder" and "decoder", or one of them.
        precision: of the weights in the files; "float16", half as large, with OpenVINO.

    Raises:
        WeightsError: the model is unknown, missing or damaged.
        ConfigError: the model or the settings cannot be exported, or a package is missing.
        OutputError: the folder is not empty, or cannot be written.
        BackendError: the exported model's masks are others than PyTorch's.
    """
    check_settings(format, parts, precision)
    folder = check_new(folder)
    loaded = load_model(source)
    if type(loaded.model) is not Sam:
        raise ConfigError(
            f"{source} is a SAM 2, which cannot be exported to {format} yet: give a SAM or"
            " MobileSAM"
        )
    model = loaded.model.eval()
    predictor = Predictor(model, model_name=loaded.name, iou_thresh=loaded.iou_thresh)
    with new_folder(folder) as temporary:
        for part in PARTS:
            write_part(model, part, temporary / f"{part}{SUFFIXES[format]}", precision)
        content: dict[str, Any] = {
            "format": EXPORT_FORMAT,
            "samkit": {
                "config": loaded.name,
                "model": str(source),
                "format": format,
                "precision": precision,
                "encoder_checksum": predictor.encoder_checksum,
                "former_checksum": predictor.former_checksum,
                "iou_thresh": loaded.iou_thresh,
            },
            "image": {
                "size": model.image_spec.size,
                "mean": model.image_spec.mean,
                "std": model.image_spec.std,
                "layout": "RGB, longest side resized to size, normalised, padded with zeros at the"
                " bottom and right",
            },
            "inputs": {ENCODER: ENCODER_INPUTS, DECODER: DECODER_INPUTS},
            "outputs": {ENCODER: ENCODER_OUTPUTS, DECODER: DECODER_OUTPUTS},
            "versions": {"samkit": version("samkit"), "torch": torch.__version__},
        }
        place = temporary / METADATA
        place.write_text(json.dumps(content, indent=2))
        compared = compare_masks(predictor, Predictor.load(temporary))
        if compared.mean_iou < LEAST_IOU[precision]:
            raise BackendError(
                f"the exported model's masks differ from PyTorch's: IoU {compared.mean_iou:.4f} on"
                f" average, {LEAST_IOU[precision]} at least is expected; nothing was written"
            )
        content["compared"] = compared.figures()
        place.write_text(json.dumps(content, indent=2))
        for part in {*PARTS} - {*parts}:
            for path in temporary.glob(f"{part}.*"):
                path.unlink()
    files = tuple(sorted(folder.iterdir()))
    return Exported(folder=folder, files=files, compared=compared)


def check_settings(format: str, parts: Sequence[str], precision: str) -> None:  # noqa: A002
    """Check the settings of an export.

    Raises:
        ConfigError: one is unknown, they do not go together, or a package is missing.
    """
    for name, value, known in (
        ("format", format, FORMATS),
        *(("part", part, PARTS) for part in parts),
        ("precision", precision, PRECISIONS),
    ):
        if value not in known:
            raise ConfigError(f"unknown {name} {value!r}: expected {' or '.join(known)}")
    if not parts:
        raise ConfigError(f"no parts to export: give some of {', '.join(PARTS)}")
    if (format, precision) == ("onnx", "float16"):
        raise ConfigError("float16 is for the format openvino; ONNX files have float32")
    packages = {"onnx": ("onnx", "onnxruntime"), "openvino": ("onnx", "openvino")}
    require_packages("an export", packages[format], "openvino,onnx")


def write_part(model: Sam, part: Part, path: Path, precision: Precision) -> None:
    """Write a part of a model; OpenVINO's files are converted from ONNX."""
    is_encoder = part == ENCODER
    size = model.image_spec.size
    graph: nn.Module = model.image_encoder if is_encoder else PromptedDecoder(model)
    example = (torch.zeros(1, 3, size, size),) if is_encoder else decoder_example(model)
    names: dict[str, Any] = {
        "inputs": ENCODER_INPUTS if is_encoder else DECODER_INPUTS,
        "outputs": ENCODER_OUTPUTS if is_encoder else DECODER_OUTPUTS,
        "axes": {} if is_encoder else DECODER_AXES,
    }
    if path.suffix == SUFFIXES["onnx"]:
        write_onnx(graph, example, path, **names)
        return
    import openvino

    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        between = Path(folder) / f"{part}.onnx"
        write_onnx(graph, example, between, **names)
        converted = openvino.convert_model(between)
        openvino.save_model(converted, path, compress_to_fp16=precision == "float16")
