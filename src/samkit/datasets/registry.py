"""Opening data sets by specification: KIND:PATH, or a path alone."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from samkit.annotations import FORMATS, ReadOptions, detect_format, open_annotations
from samkit.datasets.annotated import AnnotatedImages
from samkit.datasets.folders import ImageFolder
from samkit.datasets.sa1b import Sa1bShards
from samkit.datasets.sample import SampleSource, SampleStream
from samkit.datasets.synthetic import NamedScenes, Scenes
from samkit.errors import ConfigError, DataError

IMAGES, MASKS = "images", "masks"  # folders of a data set of label images
SETTING = re.compile(r",(images|crowds|boxes|void)=")  # of annotations, after their path
FLAGS = {"yes": True, "no": False}

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
              `,crowds=no` (leave out crowd regions), `,boxes=yes` (boxes are masks) and
              `,void=255` (a number of label images that stands for nothing);
            - `png:FOLDER` with images/ and masks/;
            - `shards:FOLDER` of tar files as in SA-1B, or one tar file;
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
    path = SETTING.split(spec)[0]
    # A single letter is a Windows drive.
    if colon and kind.isalnum() and len(kind) > 1 and not os.path.exists(path):  # noqa: PTH110
        known = ", ".join(KINDS)
        raise ConfigError(f"unknown kind of data {kind!r}: expected one of {known}, or a path")
    return KINDS[_detect_kind(Path(path))].open(spec, seed)


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


def _annotated(format_name: str) -> Callable[[str, int], SampleSource]:
    """Opener of annotations of a format: a path and settings."""

    def open_it(rest: str, _seed: int) -> SampleSource:
        path, images, options = _settings(rest)
        if format_name == "png" and (path / MASKS).is_dir() and images is None:
            annotations = open_annotations(path / MASKS, format_name, options)
            return AnnotatedImages(annotations, path / MASKS, images=path / IMAGES)
        annotations = open_annotations(path, format_name, options)
        return AnnotatedImages(annotations, path, images=images)

    return open_it


def _settings(rest: str) -> tuple[Path, Path | None, ReadOptions]:
    """Path, folder of images and options of what follows `KIND:`."""
    path, *found = SETTING.split(rest)
    values = dict(zip(found[::2], found[1::2], strict=True))
    images = values.pop("images", None)
    void = values.pop("void", None)
    for name, value in values.items():
        if value not in FLAGS:
            raise ConfigError(f"{name} is yes or no; got {value!r:.40}")
    if void is not None and not void.isdecimal():
        raise ConfigError(f"void is a number of the label images; got {void!r:.40}")
    options = ReadOptions(
        crowds=FLAGS[values.get("crowds", "yes")],
        boxes=FLAGS[values.get("boxes", "no")],
        void=None if void is None else int(void),
    )
    return Path(path), None if images is None else Path(images), options


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
