"""Moving a project's images, which are recognised by content and keep their masks."""

import hashlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from sqlalchemy import select

from samkit.dataengine.database import Store
from samkit.dataengine.rows import find_locked
from samkit.dataengine.schema import ImageRow, ProjectRow
from samkit.dataengine.work.projects import get_project
from samkit.dataengine.work.sources import FileMark, ImageSource, page_sha256
from samkit.errors import StoreError
from samkit.files import HASH_BLOCK_BYTES
from samkit.formats import page_name, split_page

MAX_SHOWN = 3  # missing images that an error names


@dataclass(frozen=True, kw_only=True)
class MoveReport:
    """Result of moving a project.

    Attributes:
        num_same: images found at their old paths below the new root.
        moved: images found elsewhere below the root, as (old path, new path).
        missing: paths of images whose content was not found; they stay unchanged.
    """

    num_same: int
    moved: tuple[tuple[str, str], ...]
    missing: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Known:
    """An image as the store knows it."""

    image_id: int
    path: str
    num_bytes: int
    sha256: str

    @property
    def page(self) -> int:
        return split_page(self.path)[1] or 1

    def is_in(self, path: str, mark: FileMark, digest: Callable[[str], str | None]) -> bool:
        """Whether a file has this image's content; only files of its size are read."""
        if mark.num_bytes != self.num_bytes:
            return False
        sha256 = digest(path)
        return sha256 is not None and page_sha256(sha256, self.page) == self.sha256


def move_project(
    store: Store,
    project_id: int,
    root: str | Path,
    *,
    allow_missing: bool = False,
    on_image: Callable[[int, int], None] | None = None,
) -> MoveReport:
    """Update a project after its images were moved to another root or to other paths.

    Images are recognised by their content, which is read. New images are not added.

    Args:
        root: folder or fsspec URL that now contains the images.
        allow_missing: continue if some images are missing; opening them fails until they are back.
        on_image: called with the number of images checked and the total.

    Raises:
        StoreError: no such project or root, or images are missing; nothing is changed then.
    """
    get_project(store, project_id)
    source = ImageSource(root)
    query = select(ImageRow.id, ImageRow.path, ImageRow.num_bytes, ImageRow.sha256)
    query = query.where(ImageRow.project_id == project_id).order_by(ImageRow.id)
    with store.read() as session:
        images = [
            _Known(image_id=image_id, path=path, num_bytes=num_bytes, sha256=sha256)
            for image_id, path, num_bytes, sha256 in session.execute(query)
        ]
    places: dict[_Known, tuple[str, FileMark]] = {}
    digest = cache(partial(_digest, source))  # a stack is read once for all its pages
    for number, image in enumerate(images):
        mark = _mark(source, image.path)
        if mark is not None and image.is_in(split_page(image.path)[0], mark, digest):
            places[image] = image.path, mark
        if on_image is not None:
            on_image(number + 1, len(images))
    places |= _search(source, [image for image in images if image not in places])
    missing = tuple(image.path for image in images if image not in places)
    if missing and not allow_missing:
        shown = ", ".join(missing[:MAX_SHOWN]) + (", ..." if len(missing) > MAX_SHOWN else "")
        raise StoreError(
            f"{len(missing)} of {len(images)} images are not below {source.root}: {shown}"
        )
    _write(store, project_id, source.root, places)
    moved = [(image.path, path) for image, (path, _) in places.items() if path != image.path]
    return MoveReport(num_same=len(places) - len(moved), moved=tuple(moved), missing=missing)


def _search(source: ImageSource, lost: list[_Known]) -> dict[_Known, tuple[str, FileMark]]:
    """Find lost images by their content; only files of the right size are read."""
    by_size: dict[int, list[_Known]] = defaultdict(list)
    for image in lost:
        by_size[image.num_bytes].append(image)
    found: dict[_Known, tuple[str, FileMark]] = {}
    digest = cache(partial(_digest, source))
    for path in source.paths() if lost else ():
        mark = _mark(source, path)
        wanted = [] if mark is None else by_size.get(mark.num_bytes, [])
        for image in wanted:
            if image not in found and mark and image.is_in(path, mark, digest):
                found[image] = page_name(path, image.page), mark
    return found


def _mark(source: ImageSource, path: str) -> FileMark | None:
    """Return size and time of a file; None if it is missing."""
    try:
        return source.mark(path)
    except StoreError:
        return None


def _digest(source: ImageSource, path: str) -> str | None:
    """Checksum of a file; None if it cannot be read."""
    digest = hashlib.sha256()
    try:
        with source.open(path) as file:
            while block := file.read(HASH_BLOCK_BYTES):
                digest.update(block)
    except (StoreError, OSError):
        return None
    return digest.hexdigest()


def _write(
    store: Store, project_id: int, root: str, places: dict[_Known, tuple[str, FileMark]]
) -> None:
    with store.write() as session:
        find_locked(session, ProjectRow, project_id, "project").root = root
        rows = {}
        for image, (path, mark) in places.items():
            row = find_locked(session, ImageRow, image.image_id, "image")
            row.num_bytes, row.modified_ns = mark.num_bytes, mark.modified_ns
            if row.path != path:
                rows[path] = row
                # Images may have swapped paths, and paths must be unique at all times.
                row.path = f"\n{image.image_id}"
        session.flush()
        for path, row in rows.items():
            row.path = path
