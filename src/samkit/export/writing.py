"""Writing an exported folder: its parts are run and compared with PyTorch before they are there."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import torch

from samkit.backends import EXPORT_FORMAT, METADATA, SUFFIXES, ExportedFolder
from samkit.errors import BackendError, ConfigError
from samkit.export.compared import Compared, compare_masks
from samkit.export.compared_video import compare_tracking
from samkit.export.new_folder import check_new, new_folder
from samkit.export.parts import image_parts, video_parts, write_part
from samkit.export.programs import ProgramBackend
from samkit.extras import require_packages
from samkit.predict import Predictor
from samkit.weights import load_model

Format: TypeAlias = Literal["onnx", "openvino", "torch"]
Part: TypeAlias = Literal["encoder", "decoder", "video"]
Precision: TypeAlias = Literal["float32", "float16"]
FORMATS: tuple[Format, ...] = get_args(Format)
PARTS: tuple[Part, ...] = get_args(Part)
IMAGE_PARTS: tuple[Part, ...] = ("encoder", "decoder")
VIDEO: Part = "video"
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
LAYOUTS = {
    "pad": "RGB, longest side resized to size, normalised, padded with zeros at the bottom and"
    " right",
    "stretch": "RGB, resized to size x size, normalised",
}
# Least mean IoU of the exported model's masks with those of PyTorch.
LEAST_IOU = {"float32": 0.995, "float16": 0.98}


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written.

    Attributes:
        files: the parts and the metadata.
        compared: with PyTorch in float32.
        compared_video: likewise the video parts; None without.
    """

    folder: Path
    files: tuple[Path, ...]
    compared: Compared
    compared_video: Compared | None = None


def export_model(
    source: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    format: Format = "onnx",  # noqa: A002 - the field's word
    parts: Sequence[Part] = IMAGE_PARTS,
    precision: Precision = "float32",
) -> Exported:
    """Write a model for other programs and runtimes; `samkit.Predictor.load(folder)` runs it, too.

    Args:
        source: a model's name or checkpoint, as `samkit.Predictor.load` takes it.
        folder: a new one; it is there complete or not at all.
        format: "onnx", "openvino" (XML and BIN files), or "torch" (programs of torch.export).
        parts: "encoder", "decoder", and of a SAM 2 "video": the parts that follow objects.
        precision: of the weights in the files; "float16", half as large, not with "torch".

    Raises:
        WeightsError: the model is unknown, missing or damaged.
        ConfigError: the model or the settings cannot be exported, or a package is missing.
        OutputError: the folder is not empty, or cannot be written.
        BackendError: the exported model's masks are others than PyTorch's.
    """
    check_settings(format, parts, precision)
    folder = check_new(folder)
    loaded = load_model(source)
    model = loaded.model.eval()
    specs = image_parts(model)
    if VIDEO in parts:
        specs |= video_parts(model)
    predictor = Predictor(model, model_name=loaded.name, iou_thresh=loaded.iou_thresh)
    with new_folder(folder) as temporary:
        for name, spec in specs.items():
            path = temporary / f"{name}{SUFFIXES[format]}"
            write_part(spec, path, halves=precision == "float16")
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
                "layout": LAYOUTS[model.image_spec.fit],
            },
            "inputs": {name: spec.inputs for name, spec in specs.items()},
            "outputs": {name: spec.outputs for name, spec in specs.items()},
            "versions": {"samkit": version("samkit"), "torch": torch.__version__},
        }
        place = temporary / METADATA
        place.write_text(json.dumps(content, indent=2))
        exported = Predictor.load(temporary)
        if format == "torch":  # which Predictor.load does not run, and this is for programs
            backend = ProgramBackend(ExportedFolder.read(temporary), specs)
            exported = Predictor(backend.model, model_name=loaded.name, backend=backend)
            exported.encoder_checksum = predictor.encoder_checksum
        compared, compared_video = compare_masks(predictor, exported), None
        check_close(compared, precision, "masks")
        content["compared"] = compared.figures()
        if VIDEO in parts:
            compared_video = compare_tracking(predictor, exported)
            check_close(compared_video, precision, "masks of videos")
            content["compared_video"] = compared_video.figures()
        place.write_text(json.dumps(content, indent=2))
        for part in {*IMAGE_PARTS} - {*parts}:
            for path in temporary.glob(f"{part}.*"):
                path.unlink()
    return Exported(
        folder=folder,
        files=tuple(sorted(folder.iterdir())),
        compared=compared,
        compared_video=compared_video,
    )


def check_close(compared: Compared, precision: Precision, masks: str) -> None:
    """Raise a BackendError if the masks are not close enough to PyTorch's."""
    if compared.mean_iou < LEAST_IOU[precision]:
        raise BackendError(
            f"the exported model's {masks} differ from PyTorch's: IoU {compared.mean_iou:.4f} on"
            f" average, {LEAST_IOU[precision]} at least is expected; nothing was written"
        )


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
    if precision == "float16" and format == "torch":
        raise ConfigError("float16 is for onnx and openvino; programs of torch have float32")
    packages = {"onnx": ("onnx", "onnxruntime"), "openvino": ("onnx", "openvino"), "torch": ()}
    require_packages("an export", packages[format], "openvino,onnx")
