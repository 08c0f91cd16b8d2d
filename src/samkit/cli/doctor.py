"""The command `samkit doctor`: what is installed, what runs, and what would be faster."""

from __future__ import annotations

import json
import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

import click

import samkit
from samkit.cli.exit_codes import EXIT_SOME_FAILED
from samkit.cli.options import json_option
from samkit.extras import install_hint

# Extras that users install, and what each is for.
EXTRAS = {
    "openvino": "the fastest on a CPU",
    "onnx": "ONNX Runtime, and exports",
    "text": "text prompts",
    "train": "training",
    "bench": "measurements and pictures",
    "engine": "annotation and the data engine",
    "postgres": "PostgreSQL under the data engine",
    "ray": "automatic masks on many machines",
    "serving": "a model server for programs, and its client",
    "ray-serve": "a model server with replicas on many machines",
}
LEAST_FREE_BYTES = 10**9


@click.command()
@json_option
def doctor(*, as_json: bool) -> int:
    """Tell what is installed, which backend runs, and what would be faster, with its command.

    Ends with 1 if something is broken.

    \b
    samkit doctor
    """
    found = examine()
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        show(found)
    return EXIT_SOME_FAILED if found["broken"] else 0


def examine() -> dict[str, Any]:
    """All that the command tells, as JSON."""
    import torch

    from samkit.backends import automatic_backend, choose_precision, computes_bfloat16
    from samkit.files import cache_folder
    from samkit.weights import CATALOG, DEFAULT_MODEL

    has_gpu = torch.cuda.is_available()
    device = torch.device("cuda" if has_gpu else "cpu")
    backend = automatic_backend(device)
    bfloat16 = computes_bfloat16()
    cache = cache_folder()
    extras = {name: missing_packages(name) for name in EXTRAS}
    weights = {
        name: damage(entry.embedded, entry.sha256)
        for name, entry in CATALOG.items()
        if entry.embedded is not None
    }
    free = shutil.disk_usage(cache if cache.exists() else Path.home()).free
    broken = [
        f"the weights of {name} in the package {what}: install samkit again"
        for name, what in weights.items()
        if what is not None
    ]
    if not os.access(cache if cache.exists() else cache.parent, os.W_OK):
        broken.append(f"the cache {cache} cannot be written: set SAMKIT_CACHE to another folder")
    faster = []
    if not has_gpu and extras["openvino"]:
        faster.append(f"OpenVINO, several times as fast on a CPU: {install_hint('openvino')}")
    if not has_gpu and not bfloat16:
        faster.append("a processor with bfloat16 (AVX-512 BF16 or AMX), or a GPU")
    if free < LEAST_FREE_BYTES:
        faster.append(f"space for the cache: {free / 1e9:.1f} GB are free at {cache}")
    return {
        "samkit": samkit.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "gpu": torch.cuda.get_device_name() if has_gpu else None,
        "bfloat16": has_gpu or bfloat16,
        "model": DEFAULT_MODEL,
        "backend": backend,
        "precision": choose_precision("auto", backend, device),
        "environment": {
            name: os.environ[name] for name in sorted(os.environ) if name.startswith("SAMKIT_")
        },
        "cache": str(cache),
        "missing": extras,
        "broken": broken,
        "faster": faster,
    }


def show(found: dict[str, Any]) -> None:
    """Print it for people."""
    click.echo(f"samkit {found['samkit']} on Python {found['python']}, {found['system']}")
    click.echo(
        f"runs {found['model']} by {found['backend']} in {found['precision']}"
        f" on {found['gpu'] or str(found['cores']) + ' CPU cores'}; torch {found['torch']}"
    )
    click.echo(f"cache: {found['cache']}")
    for name, value in found["environment"].items():
        click.echo(f"set: {name}={value}")
    for name, missing in found["missing"].items():
        what = EXTRAS[name]
        if missing:
            click.echo(f"{name}: {what}; not installed: {install_hint(name)}")
        else:
            click.echo(f"{name}: {what}; installed")
    for one in found["faster"]:
        click.echo(f"faster: {one}")
    for one in found["broken"]:
        click.echo(f"broken: {one}")
    if not found["broken"]:
        click.echo("nothing is broken")


def missing_packages(extra: str) -> list[str]:
    """Packages of an extra that are not installed, or too old."""
    from packaging.requirements import Requirement

    missing = []
    for line in requires("samkit") or []:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.name == "samkit":
            continue
        if not requirement.marker.evaluate({"extra": extra}):
            continue
        if requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            missing.append(requirement.name)
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            missing.append(f"{requirement.name} (installed {installed}, {requirement.specifier})")
    return missing


def damage(path: Path, known: tuple[str, ...]) -> str | None:
    """What is wrong with a file of weights; None if nothing is."""
    from samkit.files import file_sha256

    if not path.is_file():
        return "are missing"
    return None if file_sha256(path) in known else "are damaged"
