"""The command `samkit bench`: speed of all backends on this machine."""

from __future__ import annotations

import json
from pathlib import Path

import click

from samkit.cli.options import json_option
from samkit.extras import install_hint

DEFAULT_TURNS = 7
WORK_NAMES = (
    "mobile-encode",
    "vit-b-encode",
    "click",
    "click-loaded",
    "64-points",
    "auto",
    "train",
)
QUICK_WORKS, QUICK_TURNS = ("mobile-encode", "click", "64-points"), 3


@click.command()
@click.option(
    "--backend",
    "backends",
    multiple=True,
    metavar="NAME:PRECISION",
    help="Backend and precision, such as openvino:bfloat16; repeatable. By default torch, OpenVINO"
    " and ONNX Runtime, as installed, in all their precisions.",
)
@click.option(
    "--work",
    "works",
    multiple=True,
    type=click.Choice(WORK_NAMES),
    help="What to measure; repeatable. By default everything whose packages are installed.",
)
@click.option(
    "--turns",
    type=click.IntRange(min=1),
    default=DEFAULT_TURNS,
    show_default=True,
    metavar="N",
    help="Number of repetitions.",
)
@click.option(
    "--quick",
    is_flag=True,
    help="Measure an embedding, a click and 64 points only, in PyTorch's float32 and on the"
    " automatic backend: under two minutes.",
)
@click.option("--memory/--no-memory", default=True, help="Also measure peak memory.")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder for bench.json, bench.md and, where matplotlib is installed, bench.png.",
)
@json_option
def bench(
    *,
    backends: tuple[str, ...],
    works: tuple[str, ...],
    turns: int,
    quick: bool,
    memory: bool,
    output: Path | None,
    as_json: bool,
) -> None:
    """Measure the speed of all installed backends in turns, and of transformers if installed."""
    from samkit.benchmark import (
        WORKS,
        Workshop,
        describe_machine,
        markdown_report,
        matmul_gflops,
        measure,
        peak_memory_gb,
        possible_works,
        write_plot,
    )
    from samkit.files import check_writable, make_folder, write_bytes

    if output is not None:
        check_writable(output)
    host = describe_machine() | {"matmul_gflops": matmul_gflops()}
    if quick:
        turns, memory = min(turns, QUICK_TURNS), False
        works = works or QUICK_WORKS
        pairs = [parse_backend(text) for text in backends] or quick_backends()
    else:
        pairs = [parse_backend(text) for text in backends] or installed_backends()
    shop = Workshop(backends=pairs)
    results = []
    for name in works or possible_works():
        click.echo(f"{name} ...", err=True)
        results.append(measure(WORKS[name](shop), turns))
    peaks = {f"{e} {p}": peak_memory_gb(e, p) for e, p in pairs} if memory else {}
    content = {
        "machine": host,
        "results": [result.to_json() for result in results],
        "peak_memory_gb": peaks,
    }
    text = markdown_report(host, results, peaks)
    click.echo(json.dumps(content, indent=1) if as_json else text)
    if output is not None:
        make_folder(output)
        write_bytes(output / "bench.json", json.dumps(content, indent=1).encode())
        write_bytes(output / "bench.md", text.encode())
        try:
            write_plot(results, output / "bench.png")
        except ImportError:
            click.echo(f"no plot, which needs matplotlib: {install_hint('bench')}", err=True)


def quick_backends() -> list[tuple[str, str]]:
    """Return PyTorch in float32, and the automatic choice on this machine's CPU."""
    import torch

    from samkit.backends import automatic_backend, choose_precision

    cpu = torch.device("cpu")
    name = automatic_backend(cpu)
    automatic = (name, choose_precision("auto", name, cpu))
    return list(dict.fromkeys([("torch", "float32"), automatic]))


def parse_backend(text: str) -> tuple[str, str]:
    """Parse NAME:PRECISION, or NAME alone, into a pair."""
    name, _, precision = text.partition(":")
    return name, precision or "float32"


def installed_backends() -> list[tuple[str, str]]:
    """List installed backends in all precisions, without torch.compile, which takes minutes."""
    from samkit.backends import CPU_PRECISIONS, is_installed

    return [
        (backend, precision)
        for backend, precisions in CPU_PRECISIONS.items()
        if backend != "compile" and is_installed(backend)
        for precision in precisions
    ]
