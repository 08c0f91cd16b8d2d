"""Opening data sets by specification: KIND:PATH, or a path alone."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from samkit.annotations import FORMATS, ReadOptions, detect_format, open_annotations
from samkit.datasets.annotated import AnnotatedImages
from samkit.datasets.folders import ImageFolder
from samkit.datasets.joined import JoinedData
from samkit.datasets.sa1b import Sa1bShards
from samkit.datasets.sample import SampleSource, SampleStream, require_indexed
from samkit.datasets.synthetic import NamedScenes, Scenes
from samkit.errors import ConfigError, DataError

IMAGES, MASKS = "images", "masks"  # folders of a data set of label images
# Settings of data sets of files, after their path.
SETTING = re.compile(r",(images|range|crowds|boxes|binary|void|threshold)=")
FLAGS = {"yes": True, "no": False}
NUMBERS = ("void", "threshold")
SEPARATOR = ";"  # of several data sets

DataSet: TypeAlias = SampleSource | SampleStream


@dataclass(frozen=True, kw_only=True)
class DataKind:
    """A kind of data set.

    Attributes:
        open: called with the text after `KIND:` and a seed.
        is_generated: whether `KIND` alone is complete.
    """

    open: Callable[[str, int], DataSet]
    is_generated: bool = False


def open_data(spec: str, *, seed: int = 0) -> DataSet:
    """Open a data set.

    Args:
        spec: KIND:PATH, or a path whose kind is detected:

            - `coco:FILE.json`, and every other format of annotations: see
              `samkit.annotations.FORMATS`. After the path may follow `,images=FOLDER`,
              `,range=0,4095` (see `samkit.formats.ValueRange`), `,crowds=no` (leave out crowd
              regions), `,boxes=yes` (boxes are masks) and, for label images, `,void=255` (a number
              that stands for nothing), `,binary=yes` (a picture is one mask) and `,threshold=128`
              (of 255, from which on pixels are inside);
            - `png:FOLDER` with images/ and masks/;
            - `shards:FOLDER` of tar files as in SA-1B, or one tar file;
            - `images:FOLDER` of images without masks, which is never detected, also with `,range=`;
            - `scenes`, or `scenes:count=1000,size=256,seed=0,things=8`: generated images;
            - `named`, or `named:count=1000,size=128,seed=0,things=5`: generated, of named objects.

            Several with semicolons between them are one data set: `coco:a.json;coco:b.json`.
        seed: seed of the order of tar shards; the loader orders all others.

    Raises:
        DataError: it is missing, or not a data set of its kind.
        ConfigError: an unknown kind or setting.
    """
    if SEPARATOR in spec and not _is_one_file(spec):
        return JoinedData([_open_indexed(part.strip()) for part in spec.split(SEPARATOR)])
    kind, rest = _find_kind(spec)
    return KINDS[kind].open(rest, seed)


def _is_one_file(spec: str) -> bool:
    """Whether a semicolon is part of a file's name."""
    path = SETTING.split(spec.partition(":")[2] or spec)[0]
    return Path(path).exists()


def _open_indexed(spec: str) -> SampleSource:
    if not spec:
        raise ConfigError("no data set beside a semicolon, which separates several")
    return require_indexed(open_data(spec), "several data sets at once")


def open_annotated(spec: str) -> AnnotatedImages:
    """Open a data set of annotation files, also if none of its images is found; see `open_data`.

    Raises:
        DataError: it is missing, or not a data set of its kind.
        ConfigError: a kind that has no annotation files, or an unknown setting.
    """
    kind, rest = _find_kind(spec)
    if kind not in FORMATS:
        raise ConfigError(f"{spec} has no annotation files: expected {', '.join(FORMATS)}")
    return _open_annotated(kind, rest, allow_missing=True)


def _find_kind(spec: str) -> tuple[str, str]:
    """Kind of a data set, and its path with settings."""
    kind, colon, rest = spec.partition(":")
    if kind in KINDS and (colon or KINDS[kind].is_generated):
        if not rest and not KINDS[kind].is_generated:
            raise ConfigError(f"{kind}: needs a path: {kind}:PATH")
        return kind, rest
    path = SETTING.split(spec)[0]
    # A single letter is a Windows drive.
    if colon and kind.isalnum() and len(kind) > 1 and not os.path.exists(path):  # noqa: PTH110
        known = ", ".join(KINDS)
        raise ConfigError(f"unknown kind of data {kind!r}: expected one of {known}, or a path")
    return _detect_kind(Path(path)), spec


def _detect_kind(path: Path) -> str:
    try:
        path.stat()
    except (OSError, ValueError) as error:
        raise DataError(f"no such file or folder: {path}") from error
    if any(path.glob("*.tar")) if path.is_dir() else path.suffix.lower() == ".tar":
        return "shards"
    if (path / IMAGES).is_dir() and (path / MASKS).is_dir():
        return "png"
    found = detect_format(path)
    if found is None:
        raise DataError(
            f"{path} is no data set: expected annotations ({', '.join(FORMATS)}), tar shards, or"
            f" the folders {IMAGES}/ and {MASKS}/; images without masks are images:{path}"
        )
    return found


def _open_annotated(format_name: str, rest: str, *, allow_missing: bool = False) -> AnnotatedImages:
    """Open annotations of a format: a path and settings."""
    path, settings = _settings(rest)
    images = Path(settings.pop("images")) if "images" in settings else None
    value_range = settings.pop("range", "auto")
    unknown = settings.keys() - {"boxes", *FORMATS[format_name].settings}
    if unknown:
        raise ConfigError(f"{format_name} data have no setting {', '.join(sorted(unknown))}")
    options = _read_options(settings)
    if format_name == "png" and (path / MASKS).is_dir() and images is None:
        path, images = path / MASKS, path / IMAGES
    return AnnotatedImages(
        open_annotations(path, format_name, options),
        path,
        images=images,
        value_range=value_range,
        allow_missing=allow_missing,
    )


def _annotated(format_name: str) -> Callable[[str, int], SampleSource]:
    return lambda rest, _: _open_annotated(format_name, rest)


def _open_images(rest: str, _seed: int) -> ImageFolder:
    path, settings = _settings(rest)
    value_range = settings.pop("range", "auto")
    if settings:
        raise ConfigError(f"images: takes a range alone; got {', '.join(settings)}")
    return ImageFolder(path, value_range=value_range)


def _settings(rest: str) -> tuple[Path, dict[str, str]]:
    """Path and settings of what follows `KIND:`."""
    path, *found = SETTING.split(rest)
    return Path(path), dict(zip(found[::2], found[1::2], strict=True))


def _read_options(settings: Mapping[str, str]) -> ReadOptions:
    """Options of reading annotations.

    Raises:
        ConfigError: a value is not of its setting's kind.
    """
    values: dict[str, Any] = {}
    for name, value in settings.items():
        if name in NUMBERS and value.isdecimal():
            values[name] = int(value)
        elif name not in NUMBERS and value in FLAGS:
            values[name] = FLAGS[value]
        else:
            kind = "a number of the label images" if name in NUMBERS else "yes or no"
            raise ConfigError(f"{name} is {kind}; got {value!r:.40}")
    return ReadOptions(**values)


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


# A new kind only needs an entry here, and a new format of annotations one in theirs.
KINDS: dict[str, DataKind] = {
    **{name: DataKind(open=_annotated(name)) for name in FORMATS},
    "shards": DataKind(open=_open_shards),
    "images": DataKind(open=_open_images),
    "scenes": DataKind(
        open=_generator("scenes", Scenes, "count=1000,size=256,seed=0,things=8"),
        is_generated=True,
    ),
    "named": DataKind(
        open=_generator("named", NamedScenes, "count=1000,size=128,seed=0,things=5"),
        is_generated=True,
    ),
}
