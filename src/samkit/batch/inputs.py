"""The work list: images in files, folders and patterns, and a name for the results of each."""

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
        name: path below the folder, or below the fixed part of the pattern, that it was found by;
            else the file name. With forward slashes.
        base: start of the names of its results, with folders and without a suffix.
    """

    path: Path
    name: str
    base: str = ""


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """An input without images, and why."""

    image: str
    error: str


def find_images(inputs: Sequence[str], output: Path) -> tuple[list[InputImage], list[Skipped]]:
    """List the images that inputs stand for, each once, and the inputs that stand for none.

    Folders are searched recursively. Names that begin with a dot are left out there, and so is the
    folder for the results, whose pictures are not inputs.
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
    """The images of one input, and the reason if there are none."""
    path = Path(given)
    if not given:
        return [], "an empty name is no image"
    if os.path.isdir(given):  # noqa: PTH112 - also takes names that cannot be
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
    """Yield all files below a folder but hidden ones and those in the output folder."""
    for parent, folders, files in os.walk(folder):
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and os.path.realpath(Path(parent, name)) != output
        ]
        yield from (Path(parent, name) for name in files if not name.startswith("."))


def _below(root: Path, files: Iterator[Path]) -> list[InputImage]:
    """The images among files, sorted by name."""
    from samkit.formats import has_image_suffix

    found = [
        InputImage(path=path, name=path.relative_to(root).as_posix())
        for path in files
        if has_image_suffix(path) and path.is_file()
    ]
    return sorted(found, key=lambda image: PurePosixPath(image.name).parts)


def _fixed_part(pattern: Path) -> Path:
    """The folder before the first part with a wildcard."""
    parts = pattern.parts
    first = next(index for index, part in enumerate(parts) if glob.has_magic(part))
    return Path(*parts[:first])


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(folder + os.sep)


def name_results(
    images: Sequence[InputImage], suffixes: Sequence[str], reserved: Sequence[str]
) -> list[InputImage]:
    """Give each image the base of its results: its name without the suffix.

    Images whose results would have the same names keep the suffix: `a.jpg` and `a.png`.

    Args:
        suffixes: what is added to a base to name results.
        reserved: names that no image's results may have.

    Raises:
        SamkitError: two images would still have results of the same name.
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
    """Images whose results would share names: the index of each, and of the other one."""
    owners: dict[str, int] = {}
    clashes: dict[int, int] = {}
    for index, image in enumerate(images):
        for suffix in suffixes:
            name = image.base + suffix
            other = owners.setdefault(name, index)
            if other != index or name in reserved:
                clashes |= {other: index, index: other}
    for index, image in enumerate(images):
        for folder in PurePosixPath(image.base).parents:  # one image's file as another's folder
            other = owners.get(str(folder), index)
            if other != index:
                clashes[other] = index
    return clashes
