"""File names: image suffixes, and names of files derived from an image."""

import hashlib
import os
import re
from pathlib import Path, PurePosixPath

# Files with these suffixes count as images when folders are searched; `read_image` goes by a file's
# content. Pillow as distributed on PyPI reads all of them.
IMAGE_SUFFIXES = (
    ".avif",
    ".bmp",
    ".gif",
    ".jfif",
    ".jp2",
    ".jpe",
    ".jpeg",
    ".jpg",
    ".pbm",
    ".pgm",
    ".png",
    ".pnm",
    ".ppm",
    ".tif",
    ".tiff",
    ".webp",
)
# Names of the pages of one file: stack.tif#page=2.
PAGE_NAME = re.compile(r"(?P<path>.+)#page=(?P<page>[1-9][0-9]{0,6})", re.DOTALL)
MAX_READABLE = 80  # characters of a key in a file's name
DIGEST_LENGTH = 12


def has_image_suffix(path: str | os.PathLike[str]) -> bool:
    """Whether a path looks like an image's, in upper or lower case."""
    return os.path.splitext(path)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 - millions of files


def page_name(path: str, page: int) -> str:
    """Name of a page of a file: of the first the file's own, of others `stack.tif#page=2`."""
    return path if page == 1 else f"{path}#page={page}"


def split_page(path: str) -> tuple[str, int | None]:
    """Split the name of a page into its file and its number; None if the name has none."""
    match = PAGE_NAME.fullmatch(path)
    return (path, None) if match is None else (match["path"], int(match["page"]))


def page_file(path: str | os.PathLike[str]) -> Path:
    """The file of a page's name, or of a plain path."""
    return Path(split_page(os.fsdecode(path))[0])


def base_name(path: str) -> str:
    """Path without its suffix, with forward slashes: the base of derived files' names.

    Of pages of a file but the first it is `stack_page2`.
    """
    file, page = split_page(path)
    base = str(PurePosixPath(file).with_suffix(""))
    return base if page in (None, 1) else f"{base}_page{page}"


def page_export_name(path: str) -> str:
    """Name under which an image is exported: of a page `stack_page2.png`, else the path itself."""
    return path if split_page(path)[1] in (None, 1) else f"{base_name(path)}.png"


def flat_file_name(key: str, suffix: str) -> str:
    """File name for a key of any characters and length: readable, and different for each key."""
    shown = re.sub(r"[^A-Za-z0-9._-]+", "_", key)[-MAX_READABLE:]
    digest = hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()
    return f"{shown}-{digest[:DIGEST_LENGTH]}{suffix}"
