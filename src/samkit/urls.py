"""fsspec's file systems by URL, such as s3://bucket/folder or https://host/image.jpg."""

from typing import Any

from samkit.errors import ConfigError

LOCAL = ("file://", "local://")


def is_url(name: str) -> bool:
    """Whether a name is a URL, and no path."""
    return "://" in name


def local_name(name: str) -> str:
    """Return the path that a file:// URL stands for; other names as they are."""
    for prefix in LOCAL:
        if name.startswith(prefix):
            return name[len(prefix) :]
    return name


def file_system(url: str) -> tuple[Any, str]:
    """Return a URL's fsspec file system, and its path there.

    Raises:
        ConfigError: nobody knows its protocol, the package for it is not installed, or the file
            system refuses the URL.
    """
    import fsspec

    try:
        files, path = fsspec.core.url_to_fs(url)
    except Exception as error:  # each file system has errors of its own
        said = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(f"cannot open {url}: {said}") from error
    return files, str(path)
