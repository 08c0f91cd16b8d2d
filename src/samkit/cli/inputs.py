"""Photos from the command line: files, folders and patterns; and a name for each one's results."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from samkit.errors import SamkitError

# What is taken for a photo in folders and of patterns; a file that is named is read in any case.
PHOTO_SUFFIXES = frozenset(
    {".avif", ".bmp", ".gif", ".jp2", ".jpeg", ".jpg"}
    | {".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)


@dataclass(frozen=True, kw_only=True)
class Photo:
    """A photo to be done.

    Attributes:
        path: where it is.
        name: its path below the folder or the fixed part of the pattern that it was found by, or
            its file name; with slashes.
        base: what the names of its results begin with, without the suffix; folders and all.
    """

    path: Path
    name: str
    base: str = ""


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """An input that could not be done, and why."""

    image: str
    error: str


def find_photos(inputs: Sequence[str], output: Path) -> tuple[list[Photo], list[Skipped]]:
    """Photos that the inputs mean, each once, and the inputs that mean none.

    Folders are searched with all folders in them. Names that begin with a dot are left out there,
    and so is the folder for the results, whose pictures are no photos.
    """
    photos: dict[str, Photo] = {}
    skipped: list[Skipped] = []
    for given in inputs:
        found, reason = _photos_of(given, os.path.realpath(output))
        if not found:
            skipped.append(Skipped(image=given, error=reason))
        for photo in found:
            photos.setdefault(os.path.abspath(photo.path), photo)  # noqa: PTH100 - not resolved
    return list(photos.values()), skipped


def _photos_of(given: str, output: str) -> tuple[list[Photo], str]:
    """Photos of one input, and the reason if there are none."""
    path = Path(given)
    if not given:
        return [], "an empty name is no photo"
    if os.path.isdir(given):  # noqa: PTH112 - also takes names that cannot be
        if os.path.realpath(path) == output:
            return [], f"{given} is the folder for the results: give another --output"
        return _below(path, _walk(path, output)), f"no photo in the folder {given}"
    if os.path.lexists(path) or not glob.has_magic(given):
        return [Photo(path=path, name=path.name)], ""
    root = _fixed_part(path)
    matches = (Path(match) for match in glob.iglob(given, recursive=True))  # noqa: PTH207
    if _is_below(output, os.path.realpath(root)):
        matches = (match for match in matches if not _is_below(os.path.realpath(match), output))
    return _below(root, matches), f"no photo matches {given}"


def _walk(folder: Path, output: str) -> Iterator[Path]:
    """All files of a folder but hidden ones and those of the output folder."""
    for parent, folders, files in os.walk(folder):
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and os.path.realpath(Path(parent, name)) != output
        ]
        yield from (Path(parent, name) for name in files if not name.startswith("."))


def _below(root: Path, files: Iterator[Path]) -> list[Photo]:
    """The photos among files, in the order of their names."""
    found = [
        Photo(path=path, name=path.relative_to(root).as_posix())
        for path in files
        if path.suffix.lower() in PHOTO_SUFFIXES and path.is_file()
    ]
    return sorted(found, key=lambda photo: PurePosixPath(photo.name).parts)


def _fixed_part(pattern: Path) -> Path:
    """The folder before the first part with a wildcard."""
    parts = pattern.parts
    first = next(index for index, part in enumerate(parts) if glob.has_magic(part))
    return Path(*parts[:first])


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(folder + os.sep)


def name_results(
    photos: Sequence[Photo], suffixes: Sequence[str], reserved: Sequence[str]
) -> list[Photo]:
    """Give each photo the base of its results: its name without the suffix.

    Photos whose results would have the same names keep the suffix: `a.jpg` and `a.png`.

    Args:
        photos: of one run.
        suffixes: what is added to a base to name results.
        reserved: names that no photo's results may have.

    Raises:
        SamkitError: two photos have the same name even so.
    """
    named = [
        replace(photo, base=str(PurePosixPath(photo.name).with_suffix(""))) for photo in photos
    ]
    clashing = set(_clashes(named, suffixes, reserved))
    named = [
        replace(photo, base=photo.name) if index in clashing else photo
        for index, photo in enumerate(named)
    ]
    for one, other in sorted(_clashes(named, suffixes, reserved).items()):
        raise SamkitError(
            f"{named[one].path} and {named[other].path} would write the same files: give a folder"
            " that has both, or run them with different --output"
        )
    return named


def _clashes(
    photos: Sequence[Photo], suffixes: Sequence[str], reserved: Sequence[str]
) -> Mapping[int, int]:
    """Photos whose results would have names that others need: index of each, and of the other."""
    owners: dict[str, int] = {}
    clashes: dict[int, int] = {}
    for index, photo in enumerate(photos):
        for suffix in suffixes:
            name = photo.base + suffix
            other = owners.setdefault(name, index)
            if other != index or name in reserved:
                clashes |= {other: index, index: other}
    for index, photo in enumerate(photos):
        for folder in PurePosixPath(photo.base).parents:  # one photo's file as another's folder
            other = owners.get(str(folder), index)
            if other != index:
                clashes[other] = index
    return clashes
