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
    ".jp2",
    ".jpeg",
    ".jpg",
    ".pgm",
    ".png",
    ".ppm",
    ".tif",
    ".tiff",
    ".webp",
)
MAX_READABLE = 80  # characters of a key in a file's name
DIGEST_LENGTH = 12


def has_image_suffix(path: str | os.PathLike[str]) -> bool:
    """Whether a path looks like an image's, in upper or lower case."""
    return os.path.splitext(path)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 - millions of files


def find_image_files(folder: Path) -> list[Path]:
    """All images in a folder and its subfolders, by suffix, sorted by path."""
    return sorted(path for path in folder.rglob("*") if has_image_suffix(path))


def base_name(path: str) -> str:
    """Path without its suffix, with forward slashes: the base of derived files' names."""
    return str(PurePosixPath(path).with_suffix(""))


def flat_file_name(key: str, suffix: str) -> str:
    """File name for a key of any characters and length: readable, and different for each key."""
    shown = re.sub(r"[^A-Za-z0-9._-]+", "_", key)[-MAX_READABLE:]
    digest = hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()
    return f"{shown}-{digest[:DIGEST_LENGTH]}{suffix}"
