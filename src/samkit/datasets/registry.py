"""From what a user writes to a data set."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from samkit.datasets.coco import CocoData
from samkit.datasets.instance_png import IMAGES, MASKS, InstancePng
from samkit.datasets.sa1b import Sa1bFolder, Sa1bShards, find_pairs
from samkit.datasets.sample import SampleSource, SampleStream
from samkit.datasets.synthetic.named_scenes import NamedScenes
from samkit.datasets.synthetic.scenes import Scenes
from samkit.datasets.unlabelled import ImageFolder
from samkit.errors import ConfigError, DataError

COCO_FOLDER = ",images="  # after a COCO file: where its images are


def open_data(spec: str, *, seed: int = 0) -> SampleSource | SampleStream:
    """Open a data set.

    Args:
        spec: KIND:PATH, or a path whose kind is found out:

            - `coco:FILE.json`, or `coco:FILE.json,images=FOLDER`;
            - `sa1b:FOLDER` of images with a JSON file beside each;
            - `shards:FOLDER` of tar files, or one tar file;
            - `png:FOLDER` with images/ and masks/;
            - `images:FOLDER` of images without masks, which must be named so;
            - `scenes`, or `scenes:count=1000,size=256,seed=0,things=8`: generated ones;
            - `named`, or `named:count=1000,size=128,seed=0,things=5`: of things with names.
        seed: of the order of tar shards; the loader has that of all others.

    Raises:
        DataError: it is missing, or not what it should be.
        ConfigError: an unknown kind or setting.
    """
    kinds = KINDS | {"shards": partial(_open_shards, seed=seed)}
    kind, colon, rest = spec.partition(":")
    if kind in GENERATED:
        return _generate(kind, rest)
    if colon and kind in kinds:
        if not rest:
            raise ConfigError(f"{kind}: needs a path: {kind}:PATH")
        return kinds[kind](rest)
    path = spec.partition(COCO_FOLDER)[0]
    # A single letter is a drive of Windows.
    if colon and kind.isalnum() and len(kind) > 1 and not os.path.exists(path):  # noqa: PTH110
        known = ", ".join([*kinds, *GENERATED])
        raise ConfigError(f"unknown kind of data {kind!r}: expected one of {known}, or a path")
    return kinds[_find_kind(Path(path))](spec)


def _find_kind(path: Path) -> str:
    try:
        path.stat()
    except (OSError, ValueError) as error:
        raise DataError(f"no such file or folder: {path}") from error
    if path.is_dir():
        if (path / IMAGES).is_dir() and (path / MASKS).is_dir():
            return "png"
        if any(path.glob("*.tar")):
            return "shards"
        if next(find_pairs(path), None):
            return "sa1b"
        raise DataError(
            f"{path} is no data set: expected tar shards, images with a JSON file beside each,"
            f" or the folders {IMAGES}/ and {MASKS}/; images without masks are images:{path}"
        )
    kinds = {".json": "coco", ".tar": "shards"}
    if path.suffix.lower() not in kinds:
        raise DataError(f"{path} is no data set: expected a folder, a .json or a .tar file")
    return kinds[path.suffix.lower()]


def _open_coco(spec: str) -> CocoData:
    path, given, folder = spec.partition(COCO_FOLDER)
    return CocoData(path, images=folder if given else None)


def _open_shards(spec: str, seed: int = 0) -> Sa1bShards:
    path = Path(spec)
    if not path.exists():
        raise DataError(f"no such file or folder: {path}")
    shards = sorted(path.glob("*.tar")) if path.is_dir() else [path]
    if not shards:
        raise DataError(f"no tar file in the folder {path}")
    return Sa1bShards(shards, seed=seed)


def _generate(kind: str, settings: str) -> SampleSource:
    """Images of `count=1000,size=256`, in any order, each optional."""
    generate, example = GENERATED[kind]
    known = [part.partition("=")[0] for part in example.split(",")]
    values: dict[str, int] = {}
    for setting in filter(None, settings.split(",")):
        name, _, value = setting.partition("=")
        if name not in known or not value.strip().isdecimal():
            raise ConfigError(f"{kind} are written {kind}:{example}; got {setting!r}")
        values[name] = int(value)
    return generate(**values)


KINDS: dict[str, Callable[[str], SampleSource | SampleStream]] = {
    "coco": _open_coco,
    "sa1b": Sa1bFolder,
    "shards": _open_shards,
    "png": InstancePng,
    "images": ImageFolder,
}
# What is generated, and all settings with their defaults.
GENERATED: dict[str, tuple[Callable[..., SampleSource], str]] = {
    "scenes": (Scenes, "count=1000,size=256,seed=0,things=8"),
    "named": (NamedScenes, "count=1000,size=128,seed=0,things=5"),
}
