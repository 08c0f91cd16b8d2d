"""Images of one job that several runs share: each image is held by one run at a time.

A run is a process that works on a job, on any machine. It renews its leases while it lives. What a
dead run has left is taken over by another: at once if that one sees that the process is gone, else
when the lease expires. Only who holds an image may store its results.
"""

import logging
import os
import secrets
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Literal

from sqlalchemy import ColumnElement, and_, delete, select, update
from sqlalchemy.orm import Session

from samkit.dataengine.database import Store
from samkit.dataengine.schema import ImageJobRow, ImageRow
from samkit.errors import DatabaseError, StoreError

logger = logging.getLogger(__name__)

LEASE_S = 120.0  # without a sign of life for this long, a run is dead
RENEW_S = 30.0
MAX_LOST = 3  # runs that ended while they worked on an image

Turn = Literal["ours", "theirs", "failed"]


class ImageJobRun:
    """One run of a job.

    Attributes:
        kind: kind of the job.
        name: machine and process of this run, and a random part.
    """

    def __init__(self, store: Store, kind: str) -> None:
        self.store = store
        self.kind = kind
        self.name = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._began_at = store.clock()

    def claim(self, session: Session, image_id: int, *, again: bool = False) -> Turn:
        """Take an image whose row the session has locked.

        Args:
            again: forget earlier failures.

        Returns:
            "ours", "theirs" while another run works on it, or "failed" if another run has failed
            with it since this one began.

        Raises:
            StoreError: three runs ended while they worked on it.
        """
        row = session.get(ImageJobRow, (image_id, self.kind), populate_existing=True)
        expires_at = self.store.clock() + timedelta(seconds=LEASE_S)
        if row is None:
            session.add(
                ImageJobRow(
                    image_id=image_id,
                    kind=self.kind,
                    run=self.name,
                    lease_expires_at=expires_at,
                    num_lost=0,
                    error="",
                )
            )
            return "ours"
        if row.run != self.name:
            if row.lease_expires_at is None:
                if row.failed_at is not None and row.failed_at > self._began_at:
                    return "failed"
            elif row.lease_expires_at > self.store.clock() and not _is_gone(row.run):
                return "theirs"
            else:
                row.num_lost += 1
            if again:
                row.num_lost = 0
            if row.num_lost >= MAX_LOST:
                raise StoreError(
                    f"{row.num_lost} runs have ended while they worked on it, the last one in"
                    f" {row.run.rpartition(':')[0]}: to try it once more, give --again"
                )
        row.run, row.lease_expires_at = self.name, expires_at
        row.error, row.failed_at = "", None
        return "ours"

    def holds(self, session: Session, image_id: int) -> bool:
        """Whether this run still has an image whose row the session has locked."""
        row = session.get(ImageJobRow, (image_id, self.kind), populate_existing=True)
        return row is not None and row.run == self.name

    def finish(self, session: Session, image_id: int) -> None:
        """Remove an image that is done, or of which no other run has to know."""
        session.execute(
            delete(ImageJobRow).where(
                ImageJobRow.image_id == image_id,
                ImageJobRow.kind == self.kind,
                ImageJobRow.run == self.name,
            )
        )

    def fail(self, image_id: int, error: str) -> None:
        """Record that this run has failed with an image; a later run tries it again."""
        self._update(
            ImageJobRow.image_id == image_id,
            lease_expires_at=None,
            error=error,
            failed_at=self.store.clock(),
            num_lost=0,
        )

    def renew(self) -> None:
        """Extend the leases of all images that this run holds."""
        self._update(
            ImageJobRow.lease_expires_at.is_not(None),
            lease_expires_at=self.store.clock() + timedelta(seconds=LEASE_S),
        )

    def release(self) -> None:
        """Give back all images that this run holds."""
        with self.store.write() as session:
            session.execute(
                delete(ImageJobRow).where(
                    ImageJobRow.kind == self.kind,
                    ImageJobRow.run == self.name,
                    ImageJobRow.lease_expires_at.is_not(None),
                )
            )

    @contextmanager
    def renewing(self) -> Iterator[None]:
        """Renew the leases while the block runs; release them at its end."""
        ended = threading.Event()

        def keep_renewing() -> None:
            while not ended.wait(RENEW_S):
                try:
                    self.renew()
                except DatabaseError as error:  # noqa: PERF203 - a lost image is never stored
                    logger.warning("leases could not be renewed: %s", error)

        thread = threading.Thread(target=keep_renewing, daemon=True, name="samkit-leases")
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            self.release()

    def _update(self, which: ColumnElement[bool], **values: Any) -> None:
        own = and_(ImageJobRow.kind == self.kind, ImageJobRow.run == self.name, which)
        with self.store.write() as session:
            session.execute(update(ImageJobRow).where(own).values(**values))


def held_images(session: Session, project_id: int, kind: str) -> Sequence[int]:
    """Images of a project that runs of a job hold now."""
    query = select(ImageJobRow.image_id).join(ImageRow, ImageRow.id == ImageJobRow.image_id)
    own = and_(ImageRow.project_id == project_id, ImageJobRow.kind == kind)
    is_held = ImageJobRow.lease_expires_at.is_not(None)
    return session.scalars(query.where(own, is_held).order_by(ImageJobRow.image_id)).all()


def _is_gone(run: str) -> bool:
    """Whether a run was a process of this machine that has ended.

    Where machines share a name, this may be wrong: an image is then generated twice, but stored
    once.
    """
    machine, process, _ = run.rsplit(":", 2)
    if machine != socket.gethostname() or os.name != "posix":
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # of another user
        return False
    return False
