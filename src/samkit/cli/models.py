"""`samkit models`: what can be loaded, what is on disk; fetch and verify."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from samkit.cli.options import EngineChoice, engine_options, json_option, model_option


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def models(context: click.Context, *, as_json: bool) -> None:
    """List the models that can be loaded by name."""
    if context.invoked_subcommand is not None:
        return
    rows = [model_row(name) for name in _catalog()]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "what", "parameters", "file", "licence", "on disk", box=None)
    for row in rows:
        table.add_row(
            row["name"],
            row["summary"],
            f"{row['parameters'] / 1e6:.1f} M",
            f"{row['size_bytes'] / 1e6:,.0f} MB",
            row["licence"],
            "in the package" if row["embedded"] else row["path"] or "no: samkit models fetch",
        )
    Console(soft_wrap=True).print(table)


@models.command()
@click.argument("name")
def fetch(name: str) -> None:
    """Fetch a model's weights from the Hugging Face hub, and check them."""
    from samkit.errors import WeightsError
    from samkit.weights.hub import fetch as fetch_weights

    catalog = _catalog()
    if name not in catalog:
        raise WeightsError(f"unknown model {name!r}; known are {', '.join(catalog)}")
    click.echo(str(fetch_weights(catalog[name])))


@models.command()
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def verify(*, file: Path, as_json: bool) -> None:
    """Check that a checkpoint file is whole, safe and fits a known model."""
    from samkit.files import file_sha256
    from samkit.weights.checkpoint import check_fits, identify, read_checkpoint

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
@engine_options
def prepare(*, model: str, engine: EngineChoice) -> None:
    """Convert a model for this computer ahead, so that its first use need not wait for it.

    Done once for each model; other verbs do it when they first need it.
    """
    from samkit.engines.compiled import CompiledEngine
    from samkit.predict import Predictor

    predictor = Predictor.load(model, **engine)
    if isinstance(predictor.engine, CompiledEngine):
        predictor.engine.prepare()
    info = predictor.engine.info
    click.echo(f"{predictor.model_name} is ready for {info.engine} in {info.precision}")


def model_row(name: str) -> dict[str, Any]:
    """What there is to say of one model."""
    from samkit.weights.hub import find_local

    entry = _catalog()[name]
    path = find_local(entry)
    return {
        "name": name,
        "summary": entry.summary,
        "parameters": entry.parameters,
        "size_bytes": entry.size_bytes,
        "licence": entry.licence,
        "embedded": entry.embedded is not None,
        "path": None if path is None else str(path),
    }


def _catalog() -> Any:
    from samkit.weights.catalog import CATALOG

    return CATALOG
