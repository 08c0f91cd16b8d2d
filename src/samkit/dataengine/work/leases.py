"""Leases: who holds an image or a video, and until when."""

from datetime import timedelta

from samkit.dataengine.database import Store
from samkit.dataengine.schema import ImageRow, VideoRow
from samkit.errors import ConflictError, StoreError

# Pages renew their lease every minute; a quarter of an hour survives a break.
LEASE_S = 900.0


def is_held(row: ImageRow | VideoRow, store: Store, *, but_by: int) -> bool:
    """Whether somebody other than `but_by` holds an image or a video."""
    runs = row.lease_expires_at is not None and row.lease_expires_at > store.clock()
    return runs and row.lease_user_id not in (None, but_by)


def check_unheld(row: ImageRow | VideoRow, store: Store, *, but_by: int) -> None:
    """Check that nobody other than `but_by` holds an image or a video.

    Raises:
        ConflictError: somebody does.
    """
    if is_held(row, store, but_by=but_by):
        raise ConflictError(f"{row.path} is held by somebody else")


def hold(store: Store, row: ImageRow | VideoRow, user_id: int, lease_s: float) -> None:
    """Let a user hold what has this row, which is locked.

    Raises:
        StoreError: lease_s is not above 0 and at most a day.
    """
    if not 0 < lease_s <= timedelta(days=1).total_seconds():
        raise StoreError(f"lease_s must be above 0 and at most a day; got {lease_s:g}")
    row.lease_user_id = user_id
    row.lease_expires_at = store.clock() + timedelta(seconds=lease_s)


def release(row: ImageRow | VideoRow) -> None:
    """End the lease of an image or a video."""
    row.lease_user_id = row.lease_expires_at = None
