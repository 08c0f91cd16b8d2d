"""Finding images by the names that annotation files use: the right one, or none.

Names are compared as they stand first, and then with ever more of what other programs do to them
undone: another Unicode form, backslashes, %20, letters of another case, prefixes of uploads. At
each step a name must belong to one image alone.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from urllib.parse import unquote, unquote_plus, urlsplit

from samkit.errors import DataError

# Label Studio's names of uploaded files begin with eight digits of a hash.
UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-")
UNUSUAL = re.compile(r"[^-\w./]")
# Roboflow: "car_jpg.rf.0123456789abcdef0123456789abcdef.jpg" was "car.jpg".
ROBOFLOW = re.compile(r"^(?P<stem>.+)_(?P<suffix>[A-Za-z0-9]{2,5})\.rf\.[0-9A-Za-z]{8,}(\.\w+)?$")
# What programs append to the names of mask files.
MASK_ENDINGS = re.compile(
    r"[_.-](masks?|labels?|instances?|labelids|instanceids|seg|segmentation|gt|annotations?)$",
    re.IGNORECASE,
)
URL = re.compile(r"^[a-z][a-z0-9+.-]+://", re.IGNORECASE)
LOCAL_FILE = "?d="  # in Label Studio's URLs; signs in what follows are encoded, or not
DRIVE = re.compile(r"^[A-Za-z]:")
# Folders of nothing but images: names in them are also looked for from the top, where that is the
# folder itself.
IMAGE_FOLDERS = ("images", "JPEGImages")
MOST_NAMED = 3  # images in an error


class ImageNames:
    """The paths of a project's or a folder's images, found by name."""

    def __init__(self, paths: Iterable[str], *, owner: str = "the project") -> None:
        """Index the paths.

        Args:
            paths: below the images' folder, with forward slashes.
            owner: whose images they are, in errors.
        """
        self._owner = owner
        self._paths = list(paths)

    def find(
        self,
        name: str,
        *,
        folder: str | None = None,
        from_top: bool = False,
        has_suffix: bool = True,
    ) -> str:
        """Find the path of the image that a file means by a name.

        Args:
            name: name or path as the file states it.
            folder: folder in which it is looked for first; None if it is a path from the top.
            from_top: whether it may be a path from the top if it is not in the folder; a path with
                folders always may.
            has_suffix: whether the name ends in the image's suffix.

        Raises:
            DataError: there is none, or several could be meant.
        """
        for level in (self._exact, self._without_case):
            for variant in _variants(name, has_suffix=has_suffix):
                found = level.find(variant, folder, from_top=from_top, has_suffix=has_suffix)
                if len(found) == 1:
                    return found[0]
                if found:
                    named = ", ".join(found[:MOST_NAMED])
                    more = ", ..." if len(found) > MOST_NAMED else ""
                    raise DataError(
                        f"several images of {self._owner} have this name: {named}{more}"
                    )
        if uploaded := self._find_uploaded(name, has_suffix=has_suffix):
            return uploaded
        raise DataError(f"{self._owner} has no image of this name{self._hint(name)}")

    def _find_uploaded(self, name: str, *, has_suffix: bool) -> str | None:
        """The only path that has a name of Label Studio's as its upload changed it."""
        last = _parts(name)[-1] if _parts(name) else ""
        if not UPLOAD_PREFIX.match(last):
            return None
        stated = UPLOAD_PREFIX.sub("", last)
        found = self._as_uploaded.find(stated, None, from_top=False, has_suffix=has_suffix)
        return found[0] if len(found) == 1 else None

    @cached_property
    def _as_uploaded(self) -> _Level:
        return _Level(self._paths, _uploaded)

    @cached_property
    def _exact(self) -> _Level:
        return _Level(self._paths, _composed)

    @cached_property
    def _without_case(self) -> _Level:
        return _Level(self._paths, _folded)

    def _hint(self, name: str) -> str:
        """An image that has the name, but for its suffix."""
        stem = _without_suffix(_parts(name)[-1]) if _parts(name) else ""
        found = self._without_case.find(stem, None, from_top=True, has_suffix=False) if stem else []
        return f" (but {found[0]})" if len(found) == 1 else ""


class _Level:
    """Paths by a key under which names are compared."""

    def __init__(self, paths: list[str], key: Callable[[str], str]) -> None:
        self._key = key
        self._by_path: dict[tuple[bool, str], list[str]] = {}
        self._by_name: dict[tuple[bool, str], list[str]] = {}
        for path in paths:
            full = key(path)
            for has_suffix, shown in ((True, full), (False, _without_suffix(full))):
                self._by_path.setdefault((has_suffix, shown), []).append(path)
                name = shown.rpartition("/")[2]
                self._by_name.setdefault((has_suffix, name), []).append(path)

    def find(self, name: str, folder: str | None, *, from_top: bool, has_suffix: bool) -> list[str]:
        """Paths of images that a name may mean: none, the one, or several."""
        parts = _parts(self._key(name))
        if not parts:
            return []
        if folder is not None:
            beside = _joined(_parts(self._key(folder)), parts)
            found = self._by_path.get((has_suffix, "/".join(beside)), [])
            if not found and parts != _joined([], parts[-1:]):
                # An absolute path of another computer, in a file beside the image.
                last = _joined(_parts(self._key(folder)), parts[-1:])
                found = self._by_path.get((has_suffix, "/".join(last)), [])
                found = found if _is_absolute(name) else []
            if found:
                return found
        if from_top or not folder or len(parts) > 1 or folder.split("/")[0] in IMAGE_FOLDERS:
            found = self._by_path.get((has_suffix, "/".join(_joined([], parts))), [])
            if found:
                return found
        if folder and len(parts) > 1:  # datumaro's images/train/sub_b.png was sub/b.png
            flat = [*_parts(self._key(folder)), "_".join(parts)]
            found = self._by_path.get((has_suffix, "/".join(flat)), [])
            if found:
                return found
        same = self._by_name.get((has_suffix, parts[-1]), [])
        if len(same) < 2:
            return same
        wanted = _joined(_parts(self._key(folder or "")), parts)
        inside = [path for path in same if self._lies_within(path, wanted, has_suffix=has_suffix)]
        return inside if len(inside) == 1 else same

    def _lies_within(self, path: str, wanted: list[str], *, has_suffix: bool) -> bool:
        """Whether a path in a folder and a wanted path are the same as far as both go."""
        full = self._key(path) if has_suffix else _without_suffix(self._key(path))
        parts = full.split("/")
        shorter = min(len(parts), len(wanted))
        return shorter > 1 and parts[-shorter:] == wanted[-shorter:]


def place_notes(name: str, found: str) -> tuple[str, ...]:
    """One line if an image was found in another folder than a file states; else nothing.

    Args:
        name: name or path as the file states it.
        found: the image's path.
    """
    if URL.match(name) or name.startswith("/data/"):  # of servers, whose folders say nothing
        return ()
    stated, own = (_parts(_folded(one.replace("\\", "/"))) for one in (unquote(name), found))
    if min(len(stated), len(own)) < 2 or stated[-2] == own[-2]:
        return ()
    return (f"taken for {found}, the only image of this name",)


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _uploaded(path: str) -> str:
    """A path as Django's uploads change it: blanks to underscores, most signs left out."""
    return UNUSUAL.sub("", _composed(path).replace(" ", "_"))


def _variants(name: str, *, has_suffix: bool) -> Iterator[str]:
    """A name as it stands, and then as other programs may have changed it."""
    yield name
    plain = name.replace("\\", "/")
    yield plain
    path = _path_of_url(plain)
    yield path
    decoded = unquote(path)
    yield decoded
    if LOCAL_FILE in plain:
        yield unquote_plus(path)
    head, _, last = decoded.rpartition("/")
    slash = "/" if head else ""
    if UPLOAD_PREFIX.match(last):
        yield f"{head}{slash}{UPLOAD_PREFIX.sub('', last)}"
    if found := ROBOFLOW.match(last):
        suffix = f".{found['suffix']}" if has_suffix else ""
        yield f"{head}{slash}{found['stem']}{suffix}"
    if not has_suffix and MASK_ENDINGS.search(last):
        yield f"{head}{slash}{MASK_ENDINGS.sub('', last)}"


def _path_of_url(name: str) -> str:
    """The path in a URL, also in those by which Label Studio names local files."""
    if LOCAL_FILE in name:
        fields = urlsplit(name).query.split("&")
        return next((one[2:] for one in fields if one.startswith("d=") and one != "d="), name)
    return urlsplit(name).path if URL.match(name) else name


def _is_absolute(name: str) -> bool:
    return name.startswith("/") or DRIVE.match(name) is not None


def _parts(path: str) -> list[str]:
    return [part for part in DRIVE.sub("", path).split("/") if part not in ("", ".")]


def _joined(folder: list[str], parts: list[str]) -> list[str]:
    """A path in a folder; `..` leads up, and stays at the top."""
    found = list(folder)
    for part in parts:
        if part != "..":
            found.append(part)
        elif found:
            found.pop()
    return found


def _without_suffix(path: str) -> str:
    head, slash, name = path.rpartition("/")
    stem, dot, _ = name.rpartition(".")
    return f"{head}{slash}{stem}" if dot and stem else path
