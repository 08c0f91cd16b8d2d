"""Opening data sets by specification: KIND:PATH, or a path alone."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from samkit.datasets.coco import CocoData
from samkit.datasets.folders import IMAGES, MASKS, ImageFolder, InstancePng
from samkit.datasets.sa1b import Sa1bFolder, Sa1bShards, find_pairs
from samkit.datasets.sample import SampleSource, SampleStream
from samkit.datasets.synthetic import NamedScenes, Scenes
from samkit.errors import ConfigError, DataError

COCO_FOLDER = ",images="  # separates a COCO file and the folder of its images

DataSet: TypeAlias = SampleSource | SampleStream


@dataclass(frozen=True, kw_only=True)
class DataKind:
    """A kind of data set.

    Attributes:
        open: called with the text after `KIND:` and a seed.
        matches: whether an existing path is of this kind; None if the kind must always be named.
        is_generated: whether `KIND` alone is complete.
    """

    open: Callable[[str, int], DataSet]
    matches: Callable[[Path], bool] | None = None
    is_generated: bool = False


def open_data(spec: str, *, seed: int = 0) -> DataSet:
    """Open a data set.

    Args:
        spec: KIND:PATH, or a path whose kind is detected:

            - `coco:FILE.json`, or `coco:FILE.json,images=FOLDER`;
            - `sa1b:FOLDER` of images with a JSON file beside each;
            - `shards:FOLDER` of tar files, or one tar file;
            - `png:FOLDER` with images/ and masks/;
            - `images:FOLDER` of images without masks, which is never detected;
            - `scenes`, or `scenes:count=1000,size=256,seed=0,things=8`: generated images;
            - `named`, or `named:count=1000,size=128,seed=0,things=5`: generated, of named objects.
        seed: seed of the order of tar shards; the loader orders all others.

    Raises:
        DataError: it is missing, or not a data set of its kind.
        ConfigError: an unknown kind or setting.
    """
    kind, colon, rest = spec.partition(":")
    if kind in KINDS and (colon or KINDS[kind].is_generated):
        if not rest and not KINDS[kind].is_generated:
            raise ConfigError(f"{kind}: needs a path: {kind}:PATH")
        return KINDS[kind].open(rest, seed)
    path = spec.partition(COCO_FOLDER)[0]
    # A single letter is a Windows drive.
    if colon and kind.isalnum() and len(kind) > 1 and not os.path.exists(path):  # noqa: PTH110
        known = ", ".join(KINDS)
        raise ConfigError(f"unknown kind of data {kind!r}: expected one of {known}, or a path")
    return _detect_kind(Path(path)).open(spec, seed)


def _detect_kind(path: Path) -> DataKind:
    try:
        path.stat()
    except (OSError, ValueError) as error:
        raise DataError(f"no such file or folder: {path}") from error
    for kind in KINDS.values():
        if kind.matches is not None and kind.matches(path):
            return kind
    if path.is_dir():
        raise DataError(
            f"{path} is no data set: expected tar shards, images with a JSON file beside each,"
            f" or the folders {IMAGES}/ and {MASKS}/; images without masks are images:{path}"
        )
    raise DataError(f"{path} is no data set: expected a folder, a .json or a .tar file")


def _open_coco(rest: str, _seed: int) -> CocoData:
    path, given, folder = rest.partition(COCO_FOLDER)
    return CocoData(path, images=folder if given else None)


def _open_shards(rest: str, seed: int) -> Sa1bShards:
    path = Path(rest)
    if not path.exists():
        raise DataError(f"no such file or folder: {path}")
    shards = sorted(path.glob("*.tar")) if path.is_dir() else [path]
    if not shards:
        raise DataError(f"no tar file in the folder {path}")
    return Sa1bShards(shards, seed=seed)


def _generator(
    kind: str, make: Callable[..., SampleSource], defaults: str
) -> Callable[[str, int], SampleSource]:
    """Opener of generated data sets by optional settings such as `count=1000,size=256`."""
    known = [part.partition("=")[0] for part in defaults.split(",")]

    def generate(rest: str, _seed: int) -> SampleSource:
        values: dict[str, int] = {}
        for setting in filter(None, rest.split(",")):
            name, _, value = setting.partition("=")
            if name not in known or not value.strip().isdecimal():
                raise ConfigError(f"{kind} are written {kind}:{defaults}; got {setting!r}")
            values[name] = int(value)
        return make(**values)

    return generate


# Kinds in the order in which a path is tried. A new kind only needs an entry here.
KINDS: dict[str, DataKind] = {
    "coco": DataKind(
        open=_open_coco,
        matches=lambda path: path.suffix.lower() == ".json" and not path.is_dir(),
    ),
    "png": DataKind(
        open=lambda rest, _: InstancePng(rest),
        matches=lambda path: (path / IMAGES).is_dir() and (path / MASKS).is_dir(),
    ),
    "shards": DataKind(
        open=_open_shards,
        matches=lambda path: (
            any(path.glob("*.tar")) if path.is_dir() else path.suffix.lower() == ".tar"
        ),
    ),
    "sa1b": DataKind(
        open=lambda rest, _: Sa1bFolder(rest),
        matches=lambda path: path.is_dir() and next(find_pairs(path), None) is not None,
    ),
    "images": DataKind(open=lambda rest, _: ImageFolder(rest)),
    "scenes": DataKind(
        open=_generator("scenes", Scenes, "count=1000,size=256,seed=0,things=8"),
        is_generated=True,
    ),
    "named": DataKind(
        open=_generator("named", NamedScenes, "count=1000,size=128,seed=0,things=5"),
        is_generated=True,
    ),
}
