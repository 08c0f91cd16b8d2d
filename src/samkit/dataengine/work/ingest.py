"""Ingest of images: each file is read once, and duplicate content is not added."""

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from samkit.dataengine.database import Store
from samkit.dataengine.rows import find_locked, to_image
from samkit.dataengine.schema import ImageRow, ProjectRow
from samkit.dataengine.values import Project, StoredImage
from samkit.dataengine.work.projects import get_project
from samkit.dataengine.work.sources import FileMark, ImageSource, page_sha256
from samkit.errors import ConflictError, ImageError, StoreError
from samkit.files import HASH_BLOCK_BYTES
from samkit.formats import (
    MAX_PIXELS,
    MAX_TILED_PIXELS,
    page_name,
    read_image_file,
    read_page_sizes,
)

# Images in one transaction: few enough to let others write, many enough to make commits cheap.
IMAGES_AT_ONCE = 200


@dataclass(frozen=True, kw_only=True)
class AddReport:
    """Result of scanning a project's root.

    Attributes:
        num_added: new images; each page of a stack is one.
        num_known: images that the project had already, unchanged.
        duplicates: new paths with the content of another image, as (path, path of the other).
        faults: one line for each file that cannot be added.
        left_out: number of files that are pictures but not read, by suffix, and of linked folders.
    """

    num_added: int
    num_known: int
    duplicates: tuple[tuple[str, str], ...]
    faults: tuple[str, ...]
    left_out: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class _Found:
    """An image file that was read, or one of its pages."""

    path: str
    mark: FileMark
    sha256: str
    size_hw: tuple[int, int]


def add_images(
    store: Store,
    project_id: int,
    *,
    num_annotators: int = 1,
    decode: bool = False,
    on_image: Callable[[int, int], None] | None = None,
) -> AddReport:
    """Add the new images below a project's root.

    Args:
        num_annotators: how many people should annotate each new image independently.
        decode: also decode all pixels, to detect truncated files. Otherwise only headers are
            parsed, and contents hashed.
        on_image: called after each batch with the number of files done and the total.

    Raises:
        StoreError: no such project, or its root does not exist.
    """
    if num_annotators < 1:
        raise StoreError(f"num_annotators must be at least 1; got {num_annotators}")
    project = get_project(store, project_id)
    source = ImageSource(project.root)
    ledger = _Ledger(store, project, num_annotators)
    found = source.find()
    paths = found.names
    for start in range(0, len(paths), IMAGES_AT_ONCE):
        batch = paths[start : start + IMAGES_AT_ONCE]
        known = ledger.known(batch)
        ledger.add(_read_new(source, batch, known, ledger.faults, decode=decode))
        ledger.num_known += len(batch) - ledger.num_new(batch, known)
        if on_image is not None:
            on_image(start + len(batch), len(paths))
    return ledger.report(found.left_out)


def add_image(store: Store, project_id: int, path: str) -> StoredImage:
    """Add one image below a project's root; a known image is returned unchanged.

    Of a file of several pages all are added, and the first is returned.

    Raises:
        ImageError: the file is not an image.
        ConflictError: the project already has an image with this content.
        StoreError: no such project, or no such file below its root.
    """
    project = get_project(store, project_id)
    source = ImageSource(project.root)
    image, *others = _read(source, path, source.mark(path), decode=True)
    with store.write() as session:
        find_locked(session, ProjectRow, project_id, "project")
        query = select(ImageRow).where(
            ImageRow.project_id == project_id, ImageRow.sha256 == image.sha256
        )
        row = session.scalar(query)
        if row is None:
            row = _new_row(project, image, 1)
            session.add(row)
            session.add_all(_new_row(project, other, 1) for other in others)
            session.flush()
        elif row.path != path:
            raise ConflictError(f"the project already has this image: {row.path}")
        return to_image(row)


class _Ledger:
    """Adds images of one scan and counts the results."""

    def __init__(self, store: Store, project: Project, num_annotators: int) -> None:
        self._store = store
        self._project = project
        self._project_id = project.id
        self._num_annotators = num_annotators
        self._num_added = 0
        self._duplicates: list[tuple[str, str]] = []
        self.num_known = 0
        self.faults: list[str] = []

    def known(self, paths: tuple[str, ...]) -> dict[str, tuple[FileMark, str]]:
        """Return marks and content hashes of the paths that the project has."""
        query = select(ImageRow.path, ImageRow.num_bytes, ImageRow.modified_ns, ImageRow.sha256)
        query = query.where(
            ImageRow.project_id == self._project_id, ImageRow.path.in_(_storable(paths))
        )
        with self._store.read() as session:
            return {
                path: (FileMark(num_bytes=num_bytes, modified_ns=modified_ns), sha256)
                for path, num_bytes, modified_ns, sha256 in session.execute(query)
            }

    @staticmethod
    def num_new(paths: tuple[str, ...], known: dict[str, tuple[FileMark, str]]) -> int:
        return sum(path not in known for path in paths)

    def add(self, found: Iterable[_Found]) -> None:
        images = list(found)  # read before the transaction, which blocks other writers
        with self._store.write() as session:
            find_locked(session, ProjectRow, self._project_id, "project")
            for image in images:
                other = self._same_content(session, image)
                if other is None:
                    session.add(_new_row(self._project, image, self._num_annotators))
                    session.flush()
                    self._num_added += 1
                elif other != image.path:
                    self._duplicates.append((image.path, other))

    def _same_content(self, session: Session, image: _Found) -> str | None:
        query = select(ImageRow.path).where(
            ImageRow.project_id == self._project_id, ImageRow.sha256 == image.sha256
        )
        return session.scalar(query)

    def report(self, left_out: Mapping[str, int]) -> AddReport:
        return AddReport(
            num_added=self._num_added,
            num_known=self.num_known,
            duplicates=tuple(self._duplicates),
            faults=tuple(self.faults),
            left_out=left_out,
        )


def _new_row(project: Project, image: _Found, num_annotators: int) -> ImageRow:
    return ImageRow(
        project_id=project.id,
        value_range=project.value_range,
        path=image.path,
        sha256=image.sha256,
        num_bytes=image.mark.num_bytes,
        modified_ns=image.mark.modified_ns,
        height=image.size_hw[0],
        width=image.size_hw[1],
        stage="assisted-manual",
        review="none",
        comment="",
        num_masks=0,
        num_annotators=num_annotators,
        open=True,
        tags=[],
        version=1,
    )


def _read_new(
    source: ImageSource,
    paths: tuple[str, ...],
    known: dict[str, tuple[FileMark, str]],
    faults: list[str],
    *,
    decode: bool,
) -> Iterator[_Found]:
    """Read unknown files, each page; a known file with changed content is a fault."""
    for path in paths:
        if not _storable((path,)):
            faults.append(f"{path!r:.100}: the name is not valid UTF-8")
            continue
        try:
            mark = source.mark(path)
            if path in known and known[path][0] == mark:
                continue
            found = _read(source, path, mark, decode=decode)
        except (StoreError, ImageError) as error:
            faults.append(str(error))
            continue
        if path not in known:
            yield from found
        elif known[path][1] != found[0].sha256:
            # Its masks belong to the old pixels.
            faults.append(f"{path} has changed since it was added: give the new file another name")


def _read(source: ImageSource, path: str, mark: FileMark, *, decode: bool) -> list[_Found]:
    """Read a file: its pages, of which most have one."""
    digest = hashlib.sha256()
    try:
        with source.open(path) as file:
            while block := file.read(HASH_BLOCK_BYTES):
                digest.update(block)
            sizes_hw = read_page_sizes(file, path, max_pixels=MAX_TILED_PIXELS)
            for page, size_hw in enumerate(sizes_hw if decode else (), start=1):
                if math.prod(size_hw) <= MAX_PIXELS:  # larger ones are read when they are opened
                    read_image_file(file, path, page=page)
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}") from error
    return [
        _Found(
            path=page_name(path, page),
            mark=mark,
            sha256=page_sha256(digest.hexdigest(), page),
            size_hw=size_hw,
        )
        for page, size_hw in enumerate(sizes_hw, start=1)
    ]


def _storable(paths: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names that the store can hold: those that are valid UTF-8."""
    return tuple(path for path in paths if path.isprintable() or _is_utf8(path))


def _is_utf8(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
