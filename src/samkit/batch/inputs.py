"""Work list of images from files, folders and patterns, and names for their results."""

from __future__ import annotations

import glob
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from samkit.errors import ImageError, SamkitError

if TYPE_CHECKING:  # its face imports Pillow
    from samkit.formats import FoundImages

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class InputImage:
    """An image of the work list.

    Attributes:
        path: the file, or one of its pages: `stack.tif#page=2`.
        name: path below the folder or below the fixed part of the pattern that matched it; else the
            file name. With forward slashes.
        base: prefix of the names of its results, with folders but without a suffix.
    """

    path: Path
    name: str
    base: str = ""

    @property
    def file(self) -> Path:
        """The file, without the page's number."""
        from samkit.formats import page_file

        return page_file(self.path)


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """An input that is left out, and the reason."""

    image: str
    error: str


def find_images(inputs: Sequence[str], output: Path) -> tuple[list[InputImage], list[Skipped]]:
    """List all images of the inputs, each once, and the inputs without images.

    Folders are searched recursively, without hidden names and without the output folder, whose
    pictures are not inputs. What else is left out is logged.
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
    from samkit.formats import find_images_below, sort_out_images

    path = Path(given)
    if not given:
        return [], "an empty name is no image"
    if os.path.isdir(given):  # noqa: PTH112 - accepts names that no file can have
        if os.path.realpath(path) == output:
            return [], f"{given} is the folder for the results: give another --output"
        found = find_images_below(path, skip=output)
        return _listed(path, found, given), f"no image in the folder {given}"
    if os.path.lexists(path) or not glob.has_magic(given):
        return [InputImage(path=path, name=path.name)], ""
    root = _fixed_part(path)
    matches = (Path(match) for match in glob.iglob(given, recursive=True))  # noqa: PTH207
    if _is_below(output, os.path.realpath(root)):
        matches = (match for match in matches if not _is_below(os.path.realpath(match), output))
    found = sort_out_images(
        match.relative_to(root).as_posix() for match in matches if match.is_file()
    )
    return _listed(root, found, given), f"no image matches {given}"


def _listed(root: Path, found: FoundImages, given: str) -> list[InputImage]:
    """Images that were found below a folder; what was left out is logged."""
    if found.left_out:
        logger.warning("%s: %s", given, found.summary())
    return [InputImage(path=root / name, name=name) for name in found.names]


def _fixed_part(pattern: Path) -> Path:
    """Return the folder before a pattern's first part with a wildcard."""
    parts = pattern.parts
    first = next(index for index, part in enumerate(parts) if glob.has_magic(part))
    return Path(*parts[:first])


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(folder + os.sep)


@dataclass(frozen=True, kw_only=True)
class PageChoice:
    """Which pages of TIFF stacks and animations to take, from 1; `last` None: to the end."""

    first: int = 1
    last: int | None = None

    def pages_of(self, path: Path) -> list[Path]:
        """Names of the chosen pages of a file, `stack.tif#page=1`; an image of one page as it is.

        Raises:
            ImageError: it cannot be read, or has none of these pages.
        """
        from samkit.formats import num_pages, split_page

        if split_page(str(path))[1] is not None:  # a page is given already
            return [path]
        count = num_pages(path)
        if count == 1:
            return [path]
        if self.first > count:
            raise ImageError(f"{path} has {count} pages: there is no page {self.first}")
        last = count if self.last is None else min(self.last, count)
        return [Path(f"{path}#page={page}") for page in range(self.first, last + 1)]


def split_into_pages(
    images: Sequence[InputImage], pages: PageChoice
) -> tuple[list[InputImage], list[Skipped]]:
    """Replace each image of several pages by the chosen pages; name those that have none."""
    from samkit.formats import page_name, split_page

    found: list[InputImage] = []
    skipped: list[Skipped] = []
    for image in images:
        try:
            paths = pages.pages_of(image.path)
        except ImageError as error:
            skipped.append(Skipped(image=str(image.path), error=str(error)))
            continue
        for path in paths:
            page = 1 if path == image.path else split_page(str(path))[1] or 1
            found.append(InputImage(path=path, name=page_name(image.name, page)))
    return found, skipped


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
