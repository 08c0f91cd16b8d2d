"""The command `samkit export`: a model's graphs for other programs and runtimes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from samkit.cli.options import json_option
from samkit.errors import ConfigError
from samkit.weights import check_source

FORMAT_NAMES = ("onnx", "openvino", "torch", "transformers")
PART_NAMES = ("encoder", "decoder", "video")
DEFAULT_PARTS = "encoder,decoder"
PRECISION_NAMES = ("float32", "float16")


@click.command()
@click.argument("model", metavar="MODEL")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    default=Path("samkit-export"),
    show_default=True,
    metavar="DIR",
    help="New folder.",
)
@click.option(
    "--format",
    "file_format",
    type=click.Choice(FORMAT_NAMES),
    default="onnx",
    show_default=True,
    help="Format of the files; torch: programs of torch.export; transformers: of SAM and SAM 2, for"
    " its from_pretrained.",
)
@click.option(
    "--parts",
    default=DEFAULT_PARTS,
    show_default=True,
    metavar="PART,PART",
    help="Parts to write; video: those of a SAM 2 that follow objects.",
)
@click.option(
    "--precision",
    type=click.Choice(PRECISION_NAMES),
    default="float32",
    show_default=True,
    help="Number format of the weights; float16 halves the files of ONNX and OpenVINO.",
)
@json_option
def export(
    *, model: str, output: Path, file_format: str, parts: str, precision: str, as_json: bool
) -> None:
    """Write a model's image encoder and decoder for other programs and runtimes.

    The decoder takes the inputs that programs for SAM's ONNX decoder give. All parts are run and
    compared with PyTorch before they are there. samkit takes the folder as a model, too.

    \b
    samkit export mobile_sam -o mobile_sam_onnx
    samkit export mobile_sam_tuned -o tuned_openvino --format openvino --precision float16
    samkit export sam2.1_hiera_tiny -o sam2_onnx --parts encoder,decoder,video
    samkit export tuned_vit_b.safetensors -o vit_b --format transformers
    samkit segment image.jpg --point 500,375 --model mobile_sam_onnx
    """
    check_source(model)
    from samkit.export import export_model, save_for_transformers

    if file_format == "transformers":
        if (parts, precision) != (DEFAULT_PARTS, "float32"):
            raise ConfigError("--parts and --precision are not for transformers")
        files = save_for_transformers(model, output)
        show_files(files, as_json=as_json)
        return

    exported = export_model(
        model,
        output,
        format=file_format,  # type: ignore[arg-type]
        parts=tuple(part.strip() for part in parts.split(",") if part.strip()),  # type: ignore[misc]
        precision=precision,  # type: ignore[arg-type]
    )
    found = {"compared": exported.compared, "compared_video": exported.compared_video}
    figures = {name: one.figures() for name, one in found.items() if one is not None}
    show_files(exported.files, as_json=as_json, **figures)
    if not as_json:
        for name, one in figures.items():
            kind = "masks" if name == "compared" else "masks of a video"
            click.echo(
                f"IoU of {one['masks']} {kind} with PyTorch's: {one['mean_iou']:.4f} on average,"
                f" {one['least_iou']:.4f} at least"
            )


def show_files(files: Sequence[Path], *, as_json: bool, **figures: Any) -> None:
    """Print the files with their sizes."""
    if as_json:
        sizes = {path.name: path.stat().st_size for path in files}
        click.echo(json.dumps({"files": sizes, **figures}, indent=2))
        return
    for path in files:
        click.echo(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")
