"""Photos that were moved: found again by their content, so that their masks stay with them."""

import hashlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from samkit.dataengine.database import Store
from samkit.dataengine.projects import get_project
from samkit.dataengine.rows import find_locked
from samkit.dataengine.schema import ImageRow, ProjectRow
from samkit.dataengine.sources import FileMark, PhotoSource
from samkit.errors import StoreError
from samkit.files import HASH_BLOCK_BYTES

SHOWN = 3  # missing photos that an error names


@dataclass(frozen=True, kw_only=True)
class MoveReport:
    """What became of a project's photos.

    Attributes:
        num_same: at the paths that they had below the root.
        moved: found elsewhere below the root: (old path, new path).
        missing: nowhere below the root with the content that they had; their paths stay.
    """

    num_same: int
    moved: tuple[tuple[str, str], ...]
    missing: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """A photo as the store knows it."""

    image_id: int
    path: str
    num_bytes: int
    sha256: str


def move_project(
    store: Store,
    project_id: int,
    root: str | Path,
    *,
    allow_missing: bool = False,
    on_photo: Callable[[int, int], None] | None = None,
) -> MoveReport:
    """Tell a project where its photos are now: another root, or other paths below the same one.

    Each photo is recognised by its content, which is read. New photos are not added.

    Args:
        store: where.
        project_id: of the project.
        root: folder, or fsspec URL, below which its photos are now.
        allow_missing: go on if some photos are not there; they are faults until they are back.
        on_photo: told how many photos of how many are checked.

    Raises:
        StoreError: no such project or root, or photos are missing; then nothing is changed.
    """
    get_project(store, project_id)
    source = PhotoSource(root)
    query = select(ImageRow.id, ImageRow.path, ImageRow.num_bytes, ImageRow.sha256)
    query = query.where(ImageRow.project_id == project_id).order_by(ImageRow.id)
    with store.read() as session:
        photos = [
            _Kept(image_id=image_id, path=path, num_bytes=num_bytes, sha256=sha256)
            for image_id, path, num_bytes, sha256 in session.execute(query)
        ]
    places: dict[_Kept, tuple[str, FileMark]] = {}
    for number, photo in enumerate(photos):
        mark = _mark(source, photo.path)
        if mark is not None and _has_content(source, photo.path, mark, photo):
            places[photo] = photo.path, mark
        if on_photo is not None:
            on_photo(number + 1, len(photos))
    places |= _search(source, [photo for photo in photos if photo not in places])
    missing = tuple(photo.path for photo in photos if photo not in places)
    if missing and not allow_missing:
        shown = ", ".join(missing[:SHOWN]) + (", ..." if len(missing) > SHOWN else "")
        raise StoreError(
            f"{len(missing)} of {len(photos)} photos are not below {source.root}: {shown}"
        )
    _write(store, project_id, source.root, places)
    moved = [(photo.path, path) for photo, (path, _) in places.items() if path != photo.path]
    return MoveReport(num_same=len(places) - len(moved), moved=tuple(moved), missing=missing)


def _search(source: PhotoSource, lost: list[_Kept]) -> dict[_Kept, tuple[str, FileMark]]:
    """Lost photos by their content; only files of the right size are read."""
    by_size: dict[int, list[_Kept]] = defaultdict(list)
    for photo in lost:
        by_size[photo.num_bytes].append(photo)
    found: dict[_Kept, tuple[str, FileMark]] = {}
    for path in source.paths() if lost else ():
        mark = _mark(source, path)
        wanted = [] if mark is None else by_size.get(mark.num_bytes, [])
        for photo in wanted:
            if photo not in found and mark and _has_content(source, path, mark, photo):
                found[photo] = path, mark
                break
    return found


def _mark(source: PhotoSource, path: str) -> FileMark | None:
    """Size and time of a file; None if it is not there."""
    try:
        return source.mark(path)
    except StoreError:
        return None


def _has_content(source: PhotoSource, path: str, mark: FileMark, photo: _Kept) -> bool:
    if mark.num_bytes != photo.num_bytes:
        return False
    digest = hashlib.sha256()
    try:
        with source.open(path) as file:
            while block := file.read(HASH_BLOCK_BYTES):
                digest.update(block)
    except (StoreError, OSError):
        return False
    return digest.hexdigest() == photo.sha256


def _write(
    store: Store, project_id: int, root: str, places: dict[_Kept, tuple[str, FileMark]]
) -> None:
    with store.write() as session:
        find_locked(session, ProjectRow, project_id, "project").root = root
        rows = {}
        for photo, (path, mark) in places.items():
            row = find_locked(session, ImageRow, photo.image_id, "photo")
            row.num_bytes, row.modified_ns = mark.num_bytes, mark.modified_ns
            if row.path != path:
                rows[path] = row
                # Two photos may have changed places, and no two may have one path at any time.
                row.path = f"\n{photo.image_id}"
        session.flush()
        for path, row in rows.items():
            row.path = path
