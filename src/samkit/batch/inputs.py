"""Work list of images from files, folders, patterns and URLs, and names for their results."""

from __future__ import annotations

import glob
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from samkit.batch.remote import list_url, local_copy, url_identity, url_name
from samkit.errors import ImageError, SamkitError
from samkit.urls import is_url, local_name

if TYPE_CHECKING:  # its face imports Pillow
    from samkit.formats import FoundImages

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class InputImage:
    """An image of the work list.

    Attributes:
        source: path or fsspec URL of the file, or of one of its pages: `stack.tif#page=2`.
        name: path below the folder or below the fixed part of the pattern that matched it; else the
            file name. With forward slashes.
        base: prefix of the names of its results, with folders but without a suffix.
    """

    source: str
    name: str
    base: str = ""

    @property
    def file(self) -> str:
        """Path or URL of the file, without the page's number."""
        from samkit.formats import split_page

        return split_page(self.source)[0]


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """An input that is left out, and the reason."""

    image: str
    error: str


def find_images(inputs: Sequence[str], output: Path) -> tuple[list[InputImage], list[Skipped]]:
    """List all images of the inputs, each once, and the inputs without images.

    Folders are searched recursively, without hidden names and without the output folder, whose
    pictures are not inputs. What else is left out is logged.

    Args:
        inputs: images, folders and patterns, as paths or fsspec URLs.

    Raises:
        ConfigError: a URL cannot be opened, such as for lack of a package.
    """
    images: dict[str, InputImage] = {}
    skipped: list[Skipped] = []
    for given in inputs:
        found, reason = _images_of(given, os.path.realpath(output))
        if not found:
            skipped.append(Skipped(image=given, error=reason))
        for image in found:
            same = image.source if is_url(image.source) else os.path.abspath(image.source)  # noqa: PTH100 - not resolved
            images.setdefault(same, image)
    return list(images.values()), skipped


def _images_of(given: str, output: str) -> tuple[list[InputImage], str]:
    """List the images of one input; return the reason if there are none."""
    from samkit.formats import find_images_below, sort_out_images

    given = local_name(given)
    if not given:
        return [], "an empty name is no image"
    if is_url(given):
        return _images_of_url(given)
    path = Path(given)
    if os.path.isdir(given):  # noqa: PTH112 - accepts names that no file can have
        if os.path.realpath(path) == output:
            return [], f"{given} is the folder for the results: give another --output"
        found = find_images_below(path, skip=output)
        return _listed(given, found, given), f"no image in the folder {given}"
    if os.path.lexists(path) or not glob.has_magic(given):
        return [InputImage(source=str(path), name=path.name)], ""
    root = _fixed_part(path)
    matches = (Path(match) for match in glob.iglob(given, recursive=True))  # noqa: PTH207
    if _is_below(output, os.path.realpath(root)):
        matches = (match for match in matches if not _is_below(os.path.realpath(match), output))
    found = sort_out_images(
        match.relative_to(root).as_posix() for match in matches if match.is_file()
    )
    return _listed(str(root), found, given), f"no image matches {given}"


def _images_of_url(url: str) -> tuple[list[InputImage], str]:
    """List the images of a URL; return the reason if there are none."""
    try:
        listed = list_url(url)
    except ImageError as error:
        return [], str(error)
    if listed is None:
        return [InputImage(source=url, name=url_name(url))], ""
    return _listed(*listed, url), f"no image behind {url}"


def _listed(root: str, found: FoundImages, given: str) -> list[InputImage]:
    """Images that were found below a folder or URL; what was left out is logged."""
    if found.left_out:
        logger.warning("%s: %s", given, found.summary())
    if is_url(root):
        return [InputImage(source=f"{root}/{name}", name=name) for name in found.names]
    return [InputImage(source=str(Path(root, name)), name=name) for name in found.names]


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
        return [Path(name) for name in self.names_of(str(path), path)]

    def names_of(self, source: str, path: Path) -> list[str]:
        """Names of the chosen pages of a source; see `pages_of`.

        Args:
            source: path or URL that the names begin with.
            path: its file, or a copy of it.
        """
        from samkit.formats import num_pages, split_page

        if split_page(source)[1] is not None:  # a page is given already
            return [source]
        count = num_pages(path)
        if count == 1:
            return [source]
        if self.first > count:
            raise ImageError(f"{source} has {count} pages: there is no page {self.first}")
        last = count if self.last is None else min(self.last, count)
        return [f"{source}#page={page}" for page in range(self.first, last + 1)]


def split_into_pages(
    images: Sequence[InputImage], pages: PageChoice
) -> tuple[list[InputImage], list[Skipped]]:
    """Replace each image of several pages by the chosen pages; name those that have none."""
    from samkit.formats import page_name, split_page

    found: list[InputImage] = []
    skipped: list[Skipped] = []
    for image in images:
        try:
            identity = url_identity(image.file) if is_url(image.source) else {}
            with local_copy(image.source, identity) as path:
                sources = pages.names_of(image.source, path)
        except ImageError as error:
            skipped.append(Skipped(image=image.source, error=str(error)))
            continue
        for source in sources:
            page = 1 if source == image.source else split_page(source)[1] or 1
            found.append(InputImage(source=source, name=page_name(image.name, page)))
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
            f"{named[one].source} and {named[other].source} would write the same files: give a"
            " folder that has both, or run them with different --output"
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
