"""Build the package, install it in an environment of its own, and try it there.

    python tools/check_install.py
    python tools/check_install.py --pip [PYTHON]

The environment has the wheel, which is built from the sdist, and what the wheel says that it needs,
and nothing else: linked from the environment that runs this script, which takes seconds, or with
--pip installed by pip, as users do. Exits with 1 if anything is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import venv
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
PACKAGE = "src/samkit"
# Commands that must end with 0.
TRIALS = (
    ("python", "-c", "import samkit; assert 'site-packages' in samkit.__file__, samkit.__file__"),
    ("samkit", "--version"),
    # In torch: OpenVINO would convert the model for ten seconds.
    ("samkit", "demo", "--backend", "torch", "--output", "demo"),
)
RESULTS = ("coffee.json", "coffee_overlay.png")


def main() -> int:
    """Build, install and try; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pip", nargs="?", const=sys.executable, metavar="PYTHON")
    python = parser.parse_args().pip
    with tempfile.TemporaryDirectory(prefix="samkit-install-") as name:
        folder = Path(name)
        wheel = build(folder / "dist")
        faults = [*wrong_files(wheel)]
        scripts = make_environment(folder / "env", wheel, python)
        faults += try_out(folder, scripts)
    for fault in faults:
        print(fault)
    print(f"{wheel.name}: {len(faults)} faults")
    return 1 if faults else 0


def build(folder: Path) -> Path:
    """Build the sdist, and from it the wheel; return the wheel."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    [wheel] = folder.glob("*.whl")
    return wheel


def wrong_files(wheel: Path) -> Iterator[str]:
    """Files of the package that the wheel lacks, and files that do not belong to it."""
    listed = subprocess.run(
        ["git", "ls-files", PACKAGE], cwd=ROOT, check=True, capture_output=True, text=True
    )
    expected = {line.removeprefix("src/") for line in listed.stdout.splitlines()}
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    found = {name for name in names if ".dist-info/" not in name}
    yield from (f"the wheel lacks {name}" for name in sorted(expected - found))
    yield from (f"the wheel has {name}, which git does not" for name in sorted(found - expected))
    for licence in ("LICENSE", "NOTICE"):
        if not any(name.endswith(f".dist-info/licenses/{licence}") for name in names):
            yield f"the wheel lacks {licence}"


def make_environment(folder: Path, wheel: Path, python: str | None) -> Path:
    """Install the wheel and what it needs; return the folder of the commands."""
    started = time.monotonic()
    scripts = folder / "bin"
    if python is not None:
        subprocess.run([python, "-m", "venv", str(folder)], check=True)
        pip = [str(scripts / "python"), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, "-c", str(ROOT / "constraints.txt"), str(wheel)], check=True)
    else:
        venv.create(folder, symlinks=True, with_pip=True)
        [packages] = folder.glob("lib/python*/site-packages")
        pip = [str(scripts / "python"), "-m", "pip", "install", "--quiet", "--no-deps"]
        subprocess.run([*pip, str(wheel)], check=True)
        for needed in closure(wheel):
            link(needed, packages)
    print(f"installed in {time.monotonic() - started:.0f} s")
    return scripts


def closure(wheel: Path) -> list[Distribution]:
    """The distributions that a wheel needs without extras, with what these need, of this Python."""
    with zipfile.ZipFile(wheel) as archive:
        [name] = [one for one in archive.namelist() if one.endswith(".dist-info/METADATA")]
        lines = archive.read(name).decode().splitlines()
    prefix = "Requires-Dist: "
    waiting = [Requirement(line[len(prefix) :]) for line in lines if line.startswith(prefix)]
    found: dict[str, Distribution] = {}
    while waiting:
        requirement = waiting.pop()
        marker = requirement.marker
        if marker is not None and not any(
            marker.evaluate({"extra": extra}) for extra in (requirement.extras or {""}) | {""}
        ):
            continue
        if requirement.name in found:
            continue
        found[requirement.name] = distribution(requirement.name)
        waiting += [Requirement(line) for line in found[requirement.name].requires or []]
    return list(found.values())


def link(needed: Distribution, packages: Path) -> None:
    """Link the files of a distribution into another environment."""
    tops = {path.parts[0] for path in needed.files or [] if path.parts[0] != ".."}
    for top in tops - {"__pycache__"}:
        source, target = Path(str(needed.locate_file(top))), packages / top
        if source.exists() and not target.exists():
            target.symlink_to(source)


def try_out(folder: Path, scripts: Path) -> Iterator[str]:
    """What goes wrong in the environment."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    clean["SAMKIT_CACHE"] = str(folder / "cache")
    for program, *arguments in TRIALS:
        yield from run([str(scripts / program), *arguments], folder, clean)
    for name in RESULTS:
        if not (folder / "demo" / name).is_file():
            yield f"samkit demo did not write {name}"
    doctor = subprocess.run(
        [scripts / "samkit", "doctor", "--json"],
        cwd=folder, env=clean, capture_output=True, text=True, check=False,
    )  # fmt: skip
    yield from json.loads(doctor.stdout)["broken"] if doctor.stdout else [doctor.stderr]


def run(command: list[str], folder: Path, environment: dict[str, str]) -> Iterator[str]:
    """Run a command; yield its message if it fails."""
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        yield f"{' '.join(command[:3])} ended with {done.returncode}: {done.stderr[-2000:]}"


if __name__ == "__main__":
    sys.exit(main())
