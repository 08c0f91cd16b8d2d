"""The commands `samkit models`: list, fetch, verify and prepare models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from samkit.backends import BackendChoice
from samkit.cli.options import backend_options, json_option, model_option
from samkit.cli.progress import progress
from samkit.weights import PUBLISHED_IOU_THRESH

if TYPE_CHECKING:
    from samkit.datasets import Sample
    from samkit.models import Sam
    from samkit.types import ImageEmbedding

IN_PACKAGE = "in the package"
TEXT_EXAMPLE = "text models by their names on the hub, such as openai/clip-vit-base-patch32"


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def models(context: click.Context, *, as_json: bool) -> None:
    """List the models that can be loaded by name, and the text models."""
    if context.invoked_subcommand is not None:
        return
    rows = [*(model_row(name) for name in _catalog()), *text_rows()]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    from rich.console import Console
    from rich.table import Column, Table

    name = Column("name", no_wrap=True)  # to be typed
    place = Column("on disk", min_width=len(IN_PACKAGE))
    table = Table(name, "model", "parameters", "file", "licence", place, box=None)
    texts = Table("text model", "kind", "file", "licence", "on disk", box=None)
    for row in rows:
        size = f"{row['size_bytes'] / 1e6:,.0f} MB"
        where = IN_PACKAGE if row["embedded"] else row["path"] or "no"
        if row["kind"] == "sam":
            parameters = f"{row['parameters'] / 1e6:.1f} M"
            table.add_row(row["name"], row["summary"], parameters, size, row["licence"], where)
        else:
            texts.add_row(row["name"], row["kind"], size, row["licence"], where)
    console = Console(soft_wrap=True)
    console.print(table)
    console.print()
    console.print(texts)
    console.print("\nsamkit models fetch NAME brings one to this disk")


@models.command()
@click.argument("name")
def fetch(name: str) -> None:
    """Download a model's weights from the Hugging Face hub, and check them.

    NAME is a model from the list, or the name of a CLIP or detector on the hub.
    """
    from samkit.errors import WeightsError
    from samkit.weights import fetch as fetch_weights

    catalog = _catalog()
    if "/" in name:
        from samkit.text import find_text_model

        click.echo(str(find_text_model(name)))
        return
    if name not in catalog:
        known = ", ".join([*catalog, TEXT_EXAMPLE])
        raise WeightsError(f"unknown model {name!r}; known are {known}")
    click.echo(str(fetch_weights(catalog[name])))


@models.command()
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def verify(*, file: Path, as_json: bool) -> None:
    """Check that a checkpoint file is complete and safe, and fits a known model."""
    from samkit.files import file_sha256
    from samkit.weights import check_fits, identify, read_checkpoint

    checkpoint = read_checkpoint(file)
    name = identify(checkpoint)
    check_fits(checkpoint, name)
    sha256 = file_sha256(file)
    known = [entry.name for entry in _catalog().values() if sha256 in entry.sha256]
    report = {
        "file": str(file),
        "model": name,
        "layout": checkpoint.layout,
        "tensors": len(checkpoint.state),
        "sha256": sha256,
        "published": bool(known),
    }
    if as_json:
        click.echo(json.dumps(report, indent=2))
        return
    click.echo(
        f"{file}: {name}, {checkpoint.layout} layout, all {len(checkpoint.state)} tensors fit\n"
        f"SHA-256 {sha256} ({'the published file' if known else 'not a file known by checksum'})"
    )


@models.command()
@model_option
@backend_options
def prepare(*, model: str, backend: BackendChoice) -> None:
    """Convert a model for this computer in advance, so that its first use is fast.

    This is done once per model; other commands do it when they first use a model.
    """
    from samkit.backends import CompiledBackend
    from samkit.predict import Predictor

    predictor = Predictor.load(model, **backend.options())
    if isinstance(predictor.backend, CompiledBackend):
        predictor.backend.compile_all()
    info = predictor.backend.info
    click.echo(f"{predictor.model_name} is ready for {info.backend} in {info.precision}")


@models.command()
@click.argument(
    "files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("decoder.safetensors"),
    show_default=True,
    help="File to write.",
)
@click.option("--base", default="mobile_sam", show_default=True, help="Model with its encoder.")
@click.option(
    "--iou-thresh",
    type=click.FloatRange(0, 1),
    default=PUBLISHED_IOU_THRESH,
    show_default=True,
    help="Predicted IoU from which automatic masks are taken.",
)
@click.option(
    "--share",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    show_default=True,
    help="Share of FILE's weights; the rest is those of --base. A mean often does better on images"
    " of other kinds than FILE was trained on.",
)
@click.option(
    "--logit-scale",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    show_default=True,
    help="Factor of the logits. Masks stay; their stability, which automatic masks need, changes.",
)
@click.option(
    "--calibrate",
    metavar="DATA",
    help="Data set with masks, such as coco:train.json, on which predicted IoUs are fitted to true"
    " ones.",
)
def decoder(
    *,
    files: tuple[Path, ...],
    output: Path,
    base: str,
    iou_thresh: float,
    share: float,
    logit_scale: float,
    calibrate: str | None,
) -> None:
    """Write the decoder of a fine-tuned model alone, in float16: a fifth of the size.

    The file is used like any other; its image encoder is that of --base, which must be the one it
    was trained on, unchanged. Of several FILEs, such as trainings with other seeds, it has the
    mean of their weights.
    """
    from samkit.weights import load_model, save_decoder

    loaded = load_model(files[0])
    for number, other in enumerate(files[1:], start=2):
        loaded.model.mix_decoder(load_model(other).model, 1 / number)
    if share < 1:
        loaded.model.mix_decoder(load_model(base).model, 1 - share)
    if calibrate is not None:
        calibrate_iou(loaded.model, base, calibrate)
    loaded.model.scale_logits(logit_scale)
    save_decoder(
        loaded.model,
        output,
        name=loaded.name,
        base=base,
        text_encoder=loaded.text_encoder,
        iou_thresh=iou_thresh,
    )
    names = ", ".join(map(str, files))
    click.echo(f"{output}: decoder of {names}, {output.stat().st_size / 1e6:.1f} MB")


def calibrate_iou(model: Sam, base: str, data: str) -> None:
    """Fit a model's predicted IoUs to the true ones on a data set, in its weights.

    Raises:
        WeightsError: its predicted IoUs end in a sigmoid, so that no line is exact in the weights.
    """
    import torch

    from samkit.datasets import open_data, require_indexed
    from samkit.errors import WeightsError
    from samkit.evaluation import fit_predicted_iou
    from samkit.files import cache_folder
    from samkit.models import Sam2
    from samkit.predict import EmbeddingCache, Predictor, pixels_sha256

    if isinstance(model, Sam2):
        raise WeightsError("--calibrate is for SAM: predicted IoUs of SAM 2 end in a sigmoid")
    source = require_indexed(open_data(data), "--calibrate")
    predictor = Predictor.load(base, precision="float32").with_decoder(model)
    cache = EmbeddingCache(cache_folder() / "embeddings", dtype="float16")

    def embed(sample: Sample) -> ImageEmbedding:
        key = sample.embedding_key or pixels_sha256(sample.image)
        found = cache.get(key, predictor.encoder_checksum)
        return found or cache.put(key, predictor.encode(sample.image))

    with progress("image") as meter:
        lines = fit_predicted_iou(predictor, source, embed=embed, on_image=meter.update)
    model.scale_predicted_iou(
        *(torch.from_numpy(values).float() for values in (lines.scale, lines.offset))
    )


def model_row(name: str) -> dict[str, Any]:
    """Make one model's row of the list."""
    from samkit.weights import find_local

    entry = _catalog()[name]
    path = find_local(entry)
    return {
        "name": name,
        "kind": "sam",
        "summary": entry.summary,
        "parameters": entry.parameters,
        "size_bytes": entry.size_bytes,
        "licence": entry.licence,
        "embedded": entry.embedded is not None,
        "path": None if path is None else str(path),
    }


def text_rows() -> list[dict[str, Any]]:
    """Make the rows of text models known to work; others of their kinds can be loaded too."""
    from samkit.weights import TEXT_CATALOG, find_cached

    return [
        {
            "name": entry.name,
            "kind": entry.kind,
            "summary": entry.summary,
            "parameters": entry.parameters,
            "size_bytes": entry.size_bytes,
            "licence": entry.licence,
            "embedded": False,
            "path": None if (folder := find_cached(entry.name)) is None else str(folder),
        }
        for entry in TEXT_CATALOG.values()
    ]


def _catalog() -> Any:
    from samkit.weights import CATALOG

    return CATALOG
