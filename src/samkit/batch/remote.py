"""Images behind fsspec URLs: lists of them, whether they have changed, copies to read."""

from __future__ import annotations

import glob
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from samkit.errors import ImageError, SamkitError
from samkit.urls import file_system, is_url

if TYPE_CHECKING:  # its face imports Pillow
    from samkit.formats import FoundImages

HTTP = ("http://", "https://")
# What file systems tell of a file that is another one when it is written again, in the order in
# which they are asked: checksums first.
VERSION_KEYS = (
    *("ETag", "etag", "e_tag", "md5", "md5Hash", "Content-MD5", "Digest", "generation", "sha"),
    *("mtime", "LastModified", "last_modified", "Last-Modified", "modified", "updated", "created"),
)


def url_name(url: str) -> str:
    """Return the name of a URL's file, by which its results are named."""
    path = unquote(urlsplit(url).path) if url.startswith(HTTP) else url
    return PurePosixPath(path).name or "image"


def list_url(url: str) -> tuple[str, FoundImages] | None:
    """List the images of a URL that is a folder or a pattern.

    Web servers tell folders by the slash at their end, and list them in pages of links.

    Returns:
        the URL of the folder, or of the part of the pattern before the first wildcard, and the
        images below; None for a URL of one file.

    Raises:
        ConfigError: the URL cannot be opened; see `file_system`.
        ImageError: the folder cannot be listed.
    """
    from samkit.formats import has_image_suffix, sort_out_images

    files, path = file_system(url)
    on_web = url.startswith(HTTP)
    protocol, _, rest = url.partition("://")
    # In the URL of a web page, a question mark begins the query.
    wild = [("*" in part) if on_web else glob.has_magic(part) for part in rest.split("/")]
    with remote_errors(url):
        if any(wild) and (on_web or not files.exists(path)):
            root = "/".join(rest.split("/")[: wild.index(True)])
            found = files.glob(path)
        elif url.endswith("/") or not (on_web or has_image_suffix(url)):
            is_folder = files.isdir(path)
            if not is_folder and not url.endswith("/"):
                return None
            root = rest.rstrip("/")
            found = files.find(path) if is_folder else []
        else:
            return None
        below = file_system(f"{protocol}://{root}")[1].rstrip("/")
        names = (name[len(below) :].lstrip("/") for name in found if not name.endswith("/"))
        return f"{protocol}://{root}", sort_out_images(names)


def url_identity(url: str) -> dict[str, Any]:
    """Return what identifies the file behind a URL: the URL, its size and version, where known.

    Nothing is downloaded. The query is left out, which may be a signature that expires.

    Raises:
        ImageError: no such file, or it cannot be read.
    """
    with remote_errors(url):
        files, path = file_system(url)
        facts: Mapping[str, Any] = files.info(path)
    version = next((str(facts[key]) for key in VERSION_KEYS if facts.get(key)), None)
    name = url.partition("?")[0] if url.startswith(HTTP) else url
    size = facts.get("size")
    return {"url": name, "size": None if size is None else int(size), "version": version}


@contextmanager
def local_copy(source: str, identity: Mapping[str, Any]) -> Iterator[Path]:
    """Yield the path of an image: its own, or that of a copy of the file behind a URL.

    Args:
        source: path or URL, also of a page: `stack.tif#page=2`.
        identity: of the file when it was claimed.

    Raises:
        ImageError: it cannot be copied, or is not the file that was claimed.
    """
    if not is_url(source):
        yield Path(source)
        return
    from samkit.formats import split_page

    url, page = split_page(source)
    with tempfile.TemporaryDirectory(prefix="samkit-image-") as folder:
        copy = Path(folder, url_name(url))
        with remote_errors(url):
            files, path = file_system(url)
            files.get_file(path, str(copy))
        num_bytes = copy.stat().st_size
        if identity["size"] not in (None, num_bytes):
            raise ImageError(
                f"{url} must have {identity['size']} bytes; {num_bytes} came: it has changed, or"
                " was cut off"
            )
        try:
            yield copy if page is None else Path(f"{copy}#page={page}")
        except ImageError as error:  # names the image, not its copy
            raise ImageError(str(error).replace(str(copy), url)) from error


@contextmanager
def remote_errors(url: str) -> Iterator[None]:
    """Turn whatever a file system raises into an ImageError about a URL."""
    try:
        yield
    except SamkitError:
        raise
    except FileNotFoundError as error:
        raise ImageError(f"no such file: {url}") from error
    except Exception as error:  # each file system has errors of its own
        said = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(f"{url} cannot be read: {said}") from error
