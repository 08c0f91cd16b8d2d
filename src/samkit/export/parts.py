"""The parts of a model that are exported, and the files that they are written to."""

from __future__ import annotations

import tempfile
from pathlib import Path

from samkit.backends import (
    DECODER,
    ENCODER,
    FEATURES,
    SUFFIXES,
    VIDEO_PARTS,
    convert_onnx,
    write_onnx,
)
from samkit.errors import ConfigError
from samkit.export.graphs import PartSpec, decoder_spec, encoder_spec
from samkit.export.half_weights import halve_weights
from samkit.export.programs import write_program
from samkit.export.sam2_graphs import sam2_decoder_spec, video_specs
from samkit.models import Sam, Sam2


def image_parts(model: Sam) -> dict[str, PartSpec]:
    """The parts for images, by name.

    Raises:
        ConfigError: there is no layout for this kind of model.
    """
    if isinstance(model, Sam2):
        return {ENCODER: encoder_spec(model, FEATURES), DECODER: sam2_decoder_spec(model)}
    if type(model) is not Sam:
        raise ConfigError(f"a {type(model).__name__} cannot be exported: give a SAM or a SAM 2")
    return {ENCODER: encoder_spec(model), DECODER: decoder_spec(model)}


def video_parts(model: Sam) -> dict[str, PartSpec]:
    """The parts for videos, by name.

    Raises:
        ConfigError: the model has none.
    """
    if not isinstance(model, Sam2) or model.memory is None:
        raise ConfigError("the part video is for models with a memory: give a SAM 2 for videos")
    return dict(zip(VIDEO_PARTS, video_specs(model), strict=True))


def write_part(spec: PartSpec, path: Path, *, halves: bool) -> None:
    """Write a part; OpenVINO's files are converted from ONNX.

    Args:
        path: the suffix says the format.
        halves: weights in float16, of ONNX and OpenVINO.
    """
    if path.suffix == SUFFIXES["onnx"]:
        write_as_onnx(spec, path)
        if halves:
            halve_weights(path)
        return
    if path.suffix == SUFFIXES["torch"]:
        write_program(spec, path)
        return
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        between = Path(folder) / f"{path.stem}.onnx"
        write_as_onnx(spec, between)
        convert_onnx(between, path, halves=halves)


def write_as_onnx(spec: PartSpec, path: Path) -> None:
    """Write a part as ONNX."""
    write_onnx(
        spec.module,
        spec.example,
        path,
        inputs=spec.inputs,
        outputs=spec.outputs,
        axes=spec.axes,
    )
