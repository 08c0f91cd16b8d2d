"""Who did what, and when, and what they were refused."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from samkit.dataengine.database import Store
from samkit.dataengine.rows import check_limit
from samkit.dataengine.schema import AuditRow, UserRow
from samkit.dataengine.values import Page

MOST_ACTION, MOST_TARGET, MOST_ADDRESS = 100, 200, 100  # characters


@dataclass(frozen=True, kw_only=True)
class AuditEntry:
    """One action.

    Attributes:
        at: when it ended.
        user_id, user_name: of who did it; None if they did not prove who they are.
        action: what.
        target: to what.
        status: how it ended, as in HTTP: 200 to 299 is done, 400 to 499 refused.
        address: where it came from.
    """

    id: int
    at: datetime
    user_id: int | None
    user_name: str | None
    action: str
    target: str
    status: int
    address: str


def note_action(
    store: Store, *, user_id: int | None, action: str, target: str, status: int, address: str
) -> None:
    """Write an action down. Neither text may hold a secret."""
    with store.write() as session:
        session.add(
            AuditRow(
                at=store.clock(),
                user_id=user_id,
                action=action[:MOST_ACTION],
                target=target[:MOST_TARGET],
                status=status,
                address=address[:MOST_ADDRESS],
            )
        )


def list_actions(store: Store, *, after: int = 0, limit: int = 100) -> Page[AuditEntry]:
    """What was written down, the newest first.

    Args:
        store: where.
        after: `next_after` of the page before; 0 for the newest.
        limit: most entries of one page, 1 to 1000.
    """
    query = select(AuditRow, UserRow.name).outerjoin(UserRow, UserRow.id == AuditRow.user_id)
    if after:
        query = query.where(AuditRow.id < after)
    with store.read() as session:
        rows = session.execute(query.order_by(AuditRow.id.desc()).limit(check_limit(limit))).all()
    items = tuple(
        AuditEntry(
            id=row.id,
            at=row.at,
            user_id=row.user_id,
            user_name=name,
            action=row.action,
            target=row.target,
            status=row.status,
            address=row.address,
        )
        for row, name in rows[:limit]
    )
    return Page(items=items, next_after=items[-1].id if len(rows) > limit else None)
