"""Webhooks: addresses that are told what happens in a project.

What is to be told is written in the transaction in which it happens, so that it is told exactly if
it has happened, also after a crash; the server sends it, again and again until it is taken. A
receiver may get an event twice, and events in another order.
"""

import base64
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from sqlalchemy import and_, delete, select, update
from sqlalchemy.orm import Session

from samkit.dataengine.database import Store
from samkit.dataengine.people import ADMINS, acting_user
from samkit.dataengine.rows import check_limit, find, find_locked
from samkit.dataengine.schema import ImageRow, ProjectRow, UserRow
from samkit.dataengine.team_schema import DeliveryRow, WebhookRow
from samkit.dataengine.values import Page, check_choice
from samkit.errors import StoreError

WebhookEvent = Literal[
    "image.submitted",
    "image.accepted",
    "image.returned",
    "image.skipped",
    "image.unusable",
    "image.reopened",
    "video.submitted",
    "video.accepted",
    "video.returned",
    "comment.added",
    "model.learned",
]
WEBHOOK_EVENTS: tuple[WebhookEvent, ...] = get_args(WebhookEvent)
TEST = "webhook.test"
SECRET_PREFIX = "whsec_"  # noqa: S105 - as the specification "Standard Webhooks" has it
SECRET_BYTES = 32
MAX_URL, MAX_ERROR = 2000, 500  # characters
# Seconds from one attempt to the next; after the last one it is given up, a day and a half later.
BACKOFF_S = (10, 60, 300, 1800, 7200, 21_600, 86_400)
MAX_AGE = timedelta(days=30)  # of what was delivered or given up


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """An address that is told of events; without its secret."""

    id: int
    project_id: int
    url: str
    events: tuple[str, ...]
    active: bool
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """An event for a webhook.

    Attributes:
        attempts: how often it was tried so far.
        next_try_at: None once it was delivered or given up.
        error: why the latest attempt failed; empty if it did not.
    """

    id: int
    webhook_id: int
    event: str
    body: str
    attempts: int
    next_try_at: datetime | None
    delivered_at: datetime | None
    error: str
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class Due:
    """A delivery to send now, and where to."""

    delivery: Delivery
    url: str
    secret: str


def add_webhook(
    store: Store, project_id: int, *, url: str, events: Sequence[str], user_id: int
) -> tuple[str, Webhook]:
    """Add a webhook to a project; return the secret that signs what it gets, and the webhook.

    Args:
        url: http or https; the server that sends decides whether it may be reached.
        events: of WEBHOOK_EVENTS.

    Raises:
        MissingError: no such project or user.
        RoleError: the user is not an admin.
        StoreError: the address or an event is not valid.
    """
    _check_url(url)
    if not events:
        raise StoreError(f"give at least one event of {', '.join(WEBHOOK_EVENTS)}")
    for one in events:
        check_choice("an event", one, WEBHOOK_EVENTS)
    secret = SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
    with store.write() as session:
        acting_user(session, user_id, ADMINS)
        find(session, ProjectRow, project_id, "project")
        row = WebhookRow(
            project_id=project_id,
            user_id=user_id,
            url=url,
            secret=secret,
            events=[one for one in WEBHOOK_EVENTS if one in events],
            active=True,
            created_at=store.clock(),
        )
        session.add(row)
        session.flush()
        return secret, _to_webhook(row)


def list_webhooks(store: Store, project_id: int) -> tuple[Webhook, ...]:
    """List a project's webhooks, oldest first."""
    query = select(WebhookRow).where(WebhookRow.project_id == project_id).order_by(WebhookRow.id)
    with store.read() as session:
        return tuple(_to_webhook(row) for row in session.scalars(query))


def set_webhook_active(store: Store, webhook_id: int, active: bool, *, user_id: int) -> Webhook:  # noqa: FBT001
    """Tell a webhook of events or not; what waits for one that is not active stays.

    Raises:
        MissingError: no such webhook or user.
        RoleError: the user is not an admin.
    """
    with store.write() as session:
        acting_user(session, user_id, ADMINS)
        row = find_locked(session, WebhookRow, webhook_id, "webhook")
        row.active = active
        return _to_webhook(row)


def delete_webhook(store: Store, webhook_id: int, *, user_id: int) -> None:
    """Delete a webhook, with what waits for it.

    Raises:
        MissingError: no such webhook or user.
        RoleError: the user is not an admin.
    """
    with store.write() as session:
        acting_user(session, user_id, ADMINS)
        row = find_locked(session, WebhookRow, webhook_id, "webhook")
        session.execute(delete(DeliveryRow).where(DeliveryRow.webhook_id == webhook_id))
        session.delete(row)


def try_webhook(store: Store, webhook_id: int, *, user_id: int) -> Delivery:
    """Send a webhook an event `webhook.test`, to see whether it arrives.

    Raises:
        MissingError: no such webhook or user.
        RoleError: the user is not an admin.
    """
    with store.write() as session:
        user = acting_user(session, user_id, ADMINS)
        hook = find(session, WebhookRow, webhook_id, "webhook")
        row = _add(session, store, hook, TEST, {"project_id": hook.project_id, "user": user.name})
        session.flush()
        return _to_delivery(row)


def list_deliveries(
    store: Store, webhook_id: int, *, after: int = 0, limit: int = 100
) -> Page[Delivery]:
    """List what a webhook was and will be told, newest first, for a month.

    Raises:
        MissingError: no such webhook.
    """
    query = select(DeliveryRow).where(DeliveryRow.webhook_id == webhook_id)
    if after:
        query = query.where(DeliveryRow.id < after)
    with store.read() as session:
        find(session, WebhookRow, webhook_id, "webhook")
        ordered = query.order_by(DeliveryRow.id.desc()).limit(check_limit(limit))
        rows = session.scalars(ordered).all()
    items = tuple(_to_delivery(row) for row in rows[:limit])
    return Page(items=items, next_after=items[-1].id if len(rows) > limit else None)


def take_delivery(store: Store) -> Due | None:
    """Take a delivery that is due; None if there is none.

    It counts as tried from now on, and is due again later, unless `finish_delivery` says that it
    has arrived: so whoever takes it may be killed.
    """
    now = store.clock()
    query = (
        select(DeliveryRow, WebhookRow)
        .join(WebhookRow, WebhookRow.id == DeliveryRow.webhook_id)
        .where(DeliveryRow.next_try_at <= now, WebhookRow.active)
        .order_by(DeliveryRow.next_try_at, DeliveryRow.id)
        .limit(1)
    )
    with store.read() as session:
        if session.execute(query).first() is None:
            return None
    with store.write() as session:
        locked = query.with_for_update(skip_locked=True, of=DeliveryRow)
        found = session.execute(locked).first()
        if found is None:
            return None
        row, hook = found
        row.next_try_at = (
            now + timedelta(seconds=BACKOFF_S[row.attempts])
            if row.attempts < len(BACKOFF_S)
            else None
        )
        row.attempts += 1
        row.error = "no answer yet"
        return Due(delivery=_to_delivery(row), url=hook.url, secret=hook.secret)


def finish_delivery(store: Store, delivery_id: int, *, error: str = "") -> None:
    """Note that a delivery has arrived, or why it has not.

    A receiver that fails is left alone: whatever waits for it waits until this one is due again.
    Deliveries of more than a month ago are forgotten.
    """
    now = store.clock()
    with store.write() as session:
        row = session.get(DeliveryRow, delivery_id, with_for_update=True)
        if row is None:  # deleted with its webhook
            return
        row.error = error[:MAX_ERROR]
        if not error:
            row.next_try_at, row.delivered_at = None, now
        elif row.next_try_at is not None:
            others = update(DeliveryRow).where(
                DeliveryRow.webhook_id == row.webhook_id, DeliveryRow.next_try_at < row.next_try_at
            )
            session.execute(others.values(next_try_at=row.next_try_at))
        old = and_(DeliveryRow.next_try_at.is_(None), DeliveryRow.created_at < now - MAX_AGE)
        session.execute(delete(DeliveryRow).where(DeliveryRow.webhook_id == row.webhook_id, old))


def tell_of_image(
    session: Session,
    store: Store,
    row: ImageRow,
    event: WebhookEvent,
    user_id: int,
    **more: Any,
) -> None:
    """Tell a project's webhooks of an image, in the transaction in which it changes."""
    data = {
        "image_id": row.id,
        "path": row.path,
        "review": row.review,
        "num_masks": row.num_masks,
        "version": row.version,
        "comment": row.comment,
        **more,
    }
    tell(session, store, row.project_id, event, data, user_id=user_id)


def tell(
    session: Session,
    store: Store,
    project_id: int,
    event: WebhookEvent,
    data: dict[str, Any],
    *,
    user_id: int | None = None,
) -> None:
    """Tell a project's webhooks of an event, in the transaction in which it happens."""
    hooks = select(WebhookRow).where(WebhookRow.project_id == project_id, WebhookRow.active)
    wanting = [one for one in session.scalars(hooks) if event in one.events]
    if not wanting:
        return
    project = find(session, ProjectRow, project_id, "project").name
    user = None if user_id is None else find(session, UserRow, user_id, "user").name
    facts = {"project_id": project_id, "project": project, "user": user, **data}
    for hook in wanting:
        _add(session, store, hook, event, facts)


def delete_webhooks(session: Session, project_id: int) -> None:
    """Delete a project's webhooks, with what waits for them."""
    hooks = select(WebhookRow.id).where(WebhookRow.project_id == project_id)
    session.execute(delete(DeliveryRow).where(DeliveryRow.webhook_id.in_(hooks)))
    session.execute(delete(WebhookRow).where(WebhookRow.project_id == project_id))


def _add(
    session: Session, store: Store, hook: WebhookRow, event: str, data: dict[str, Any]
) -> DeliveryRow:
    now = store.clock()
    body = {"type": event, "timestamp": now.isoformat(), "data": data}
    row = DeliveryRow(
        webhook_id=hook.id,
        event=event,
        body=json.dumps(body),
        attempts=0,
        next_try_at=now,
        error="",
        created_at=now,
    )
    session.add(row)
    return row


def _check_url(url: str) -> None:
    if len(url) > MAX_URL or not url.isascii() or not url.isprintable() or " " in url:
        raise StoreError(f"a webhook's address has at most {MAX_URL} printable ASCII characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise StoreError(f"a webhook's address is not valid: {error}") from error
    is_plain = parts.username is None and not parts.fragment and port != 0
    if parts.scheme not in ("http", "https") or not parts.hostname or not is_plain:
        raise StoreError(
            "a webhook's address is http(s)://HOST/PATH, without a name, a password or a fragment;"
            f" got {url!r:.60}"
        )


def _to_webhook(row: WebhookRow) -> Webhook:
    return Webhook(
        id=row.id,
        project_id=row.project_id,
        url=row.url,
        events=tuple(row.events),
        active=row.active,
        created_at=row.created_at,
    )


def _to_delivery(row: DeliveryRow) -> Delivery:
    return Delivery(
        id=row.id,
        webhook_id=row.webhook_id,
        event=row.event,
        body=row.body,
        attempts=row.attempts,
        next_try_at=row.next_try_at,
        delivered_at=row.delivered_at,
        error=row.error,
        created_at=row.created_at,
    )
