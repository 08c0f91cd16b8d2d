"""Audit log: who did what and when, and what was refused."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from samkit.dataengine.database import Store
from samkit.dataengine.rows import check_limit
from samkit.dataengine.schema import AuditRow, UserRow
from samkit.dataengine.team_schema import ApiTokenRow
from samkit.dataengine.values import Page

MAX_ACTION, MAX_TARGET, MAX_ADDRESS = 100, 200, 100  # characters


@dataclass(frozen=True, kw_only=True)
class AuditEntry:
    """One logged action.

    Attributes:
        at: when the action ended.
        user_id, user_name: who did it; None without a sign-in.
        action: name of the action.
        target: object of the action.
        status: HTTP status: 200 to 299 for done, 400 to 499 for refused.
        address: network address of the client.
        token_id, token_name: the API token that it was done by; None on the page.
    """

    id: int
    at: datetime
    user_id: int | None
    user_name: str | None
    action: str
    target: str
    status: int
    address: str
    token_id: int | None = None
    token_name: str | None = None


def note_action(
    store: Store,
    *,
    user_id: int | None,
    action: str,
    target: str,
    status: int,
    address: str,
    token_id: int | None = None,
) -> None:
    """Log an action. Neither `action` nor `target` may contain a secret.

    Raises:
        DatabaseError: the store stays locked for a second: the action itself is not held up longer.
    """
    with store.write(patient=False) as session:
        session.add(
            AuditRow(
                at=store.clock(),
                user_id=user_id,
                action=action[:MAX_ACTION],
                target=target[:MAX_TARGET],
                status=status,
                address=address[:MAX_ADDRESS],
                token_id=token_id,
            )
        )


def list_actions(store: Store, *, after: int = 0, limit: int = 100) -> Page[AuditEntry]:
    """List logged actions, newest first.

    Args:
        after: `next_after` of the previous page; 0 for the newest entries.
        limit: page size, 1 to 1000.
    """
    query = (
        select(AuditRow, UserRow.name, ApiTokenRow.name)
        .outerjoin(UserRow, UserRow.id == AuditRow.user_id)
        .outerjoin(ApiTokenRow, ApiTokenRow.id == AuditRow.token_id)
    )
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
            token_id=row.token_id,
            token_name=token,
        )
        for row, name, token in rows[:limit]
    )
    return Page(items=items, next_after=items[-1].id if len(rows) > limit else None)
