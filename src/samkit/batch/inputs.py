"""Work list of images from files, folders and patterns, and names for their results."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from samkit.errors import SamkitError


@dataclass(frozen=True, kw_only=True)
class InputImage:
    """An image of the work list.

    Attributes:
        name: path below the folder or below the fixed part of the pattern that matched it; else the
            file name. With forward slashes.
        base: prefix of the names of its results, with folders but without a suffix.
    """

    path: Path
    name: str
    base: str = ""


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """An input that is left out, and the reason."""

    image: str
    error: str


def find_images(inputs: Sequence[str], output: Path) -> tuple[list[InputImage], list[Skipped]]:
    """List all images of the inputs, each once, and the inputs without images.

    Folders are searched recursively, without hidden names and without the output folder, whose
    pictures are not inputs.
    """
    images: dict[str, InputImage] = {}
    skipped: list[Skipped] = []
    for given in inputs:
        found, reason = _images_of(given, os.path.realpath(output))
        if not found:
            skipped.append(Skipped(image=given, error=reason))
        for image in found:
            images.setdefault(os.path.abspath(image.path), image)  # noqa: PTH100 - not resolved
    return list(images.values()), skipped


def _images_of(given: str, output: str) -> tuple[list[InputImage], str]:
    """List the images of one input; return the reason if there are none."""
    path = Path(given)
    if not given:
        return [], "an empty name is no image"
    if os.path.isdir(given):  # noqa: PTH112 - accepts names that no file can have
        if os.path.realpath(path) == output:
            return [], f"{given} is the folder for the results: give another --output"
        return _below(path, _walk(path, output)), f"no image in the folder {given}"
    if os.path.lexists(path) or not glob.has_magic(given):
        return [InputImage(path=path, name=path.name)], ""
    root = _fixed_part(path)
    matches = (Path(match) for match in glob.iglob(given, recursive=True))  # noqa: PTH207
    if _is_below(output, os.path.realpath(root)):
        matches = (match for match in matches if not _is_below(os.path.realpath(match), output))
    return _below(root, matches), f"no image matches {given}"


def _walk(folder: Path, output: str) -> Iterator[Path]:
    """Yield all files below a folder, except hidden ones and those in the output folder."""
    for parent, folders, files in os.walk(folder):
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and os.path.realpath(Path(parent, name)) != output
        ]
        yield from (Path(parent, name) for name in files if not name.startswith("."))


def _below(root: Path, files: Iterator[Path]) -> list[InputImage]:
    """List the images among files, sorted by name."""
    from samkit.formats import has_image_suffix

    found = [
        InputImage(path=path, name=path.relative_to(root).as_posix())
        for path in files
        if has_image_suffix(path) and path.is_file()
    ]
    return sorted(found, key=lambda image: PurePosixPath(image.name).parts)


def _fixed_part(pattern: Path) -> Path:
    """Return the folder before a pattern's first part with a wildcard."""
    parts = pattern.parts
    first = next(index for index, part in enumerate(parts) if glob.has_magic(part))
    return Path(*parts[:first])


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(folder + os.sep)


def name_results(
    images: Sequence[InputImage], suffixes: Sequence[str], reserved: Sequence[str]
) -> list[InputImage]:
    """Set the base of each image's results: its name without the suffix.

    Images whose results would have the same names keep the suffix: `a.jpg` and `a.png`.

    Args:
        suffixes: suffixes that are appended to a base to name results.
        reserved: names that results of an image must not have.

    Raises:
        SamkitError: results of two images would still have the same name.
    """
    from samkit.formats import base_name

    named = [replace(image, base=base_name(image.name)) for image in images]
    clashing = set(_clashes(named, suffixes, reserved))
    named = [
        replace(image, base=image.name) if index in clashing else image
        for index, image in enumerate(named)
    ]
    for one, other in sorted(_clashes(named, suffixes, reserved).items()):
        raise SamkitError(
            f"{named[one].path} and {named[other].path} would write the same files: give a folder"
            " that has both, or run them with different --output"
        )
    return named


def _clashes(
    images: Sequence[InputImage], suffixes: Sequence[str], reserved: Sequence[str]
) -> Mapping[int, int]:
    """Find images whose results would share names; map the index of each to that of the other."""
    owners: dict[str, int] = {}
    clashes: dict[int, int] = {}
    for index, image in enumerate(images):
        for suffix in suffixes:
            name = image.base + suffix
            other = owners.setdefault(name, index)
            if other != index or name in reserved:
                clashes |= {other: index, index: other}
    for index, image in enumerate(images):
        for folder in PurePosixPath(image.base).parents:  # a file named like another's folder
            other = owners.get(str(folder), index)
            if other != index:
                clashes[other] = index
    return clashes
