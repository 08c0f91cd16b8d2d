"""API tokens, by which programs act as a person. Only hashes of them are stored."""

import secrets
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import cast

from sqlalchemy import select

from samkit.dataengine.database import Store
from samkit.dataengine.people.sign_ins import TOKEN_BYTES, SignIn, hash_token
from samkit.dataengine.people.users import ADMINS, acting_user, lower_role, role_of
from samkit.dataengine.rows import find, find_locked, to_user
from samkit.dataengine.schema import UserRow
from samkit.dataengine.team_schema import ApiTokenRow
from samkit.dataengine.values import ROLES, Role, check_choice, check_label
from samkit.errors import DatabaseError, RoleError, StoreError

PREFIX = "samkit_"  # by which a token is recognised, also where it should not be
MAX_DAYS = 3650
USE_EVERY = timedelta(minutes=1)  # how exactly the last use is known


@dataclass(frozen=True, kw_only=True)
class ApiToken:
    """A token without its secret.

    Attributes:
        role: of what it may do; less if its owner's role is lower by now.
        last_used_at: to the minute; None if it was never used.
    """

    id: int
    user_id: int
    name: str
    role: Role
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked: bool


def create_token(
    store: Store, user_id: int, *, name: str, role: Role | None = None, days: int | None = None
) -> tuple[str, ApiToken]:
    """Make a token for a user; return its secret, which is not stored, and what is known of it.

    Args:
        role: at most that of the user, which None stands for.
        days: how long it is valid; None for ever.

    Raises:
        MissingError: no such user.
        RoleError: the user is deactivated, or the role is above theirs.
        StoreError: the name, the role or the number of days is not valid.
    """
    check_label("a token's name", name, 100)
    if role is not None:
        check_choice("a role", role, ROLES)
    if days is not None and not 1 <= days <= MAX_DAYS:
        raise StoreError(f"a token is valid for 1 to {MAX_DAYS} days; got {days}")
    secret = PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
    now = store.clock()
    with store.write() as session:
        owner = acting_user(session, user_id)
        wanted = role or role_of(owner)
        if lower_role(wanted, role_of(owner)) != wanted:
            raise RoleError(f"a token of {owner.name!r:.40} can be {role_of(owner)} at most")
        row = ApiTokenRow(
            user_id=user_id,
            name=name,
            role=wanted,
            token_hash=hash_token(secret),
            created_at=now,
            expires_at=None if days is None else now + timedelta(days=days),
            revoked=False,
        )
        session.add(row)
        session.flush()
        return secret, _to_token(row)


def list_tokens(store: Store, user_id: int) -> tuple[ApiToken, ...]:
    """List a user's tokens, revoked and expired ones among them, oldest first."""
    query = select(ApiTokenRow).where(ApiTokenRow.user_id == user_id).order_by(ApiTokenRow.id)
    with store.read() as session:
        return tuple(_to_token(row) for row in session.scalars(query))


def revoke_token(store: Store, token_id: int, *, user_id: int) -> ApiToken:
    """Revoke a token: nobody can use it from now on.

    Args:
        user_id: its owner, or an admin.

    Raises:
        MissingError: no such token or user.
        RoleError: it is somebody else's, and the user is no admin.
    """
    with store.write() as session:
        user = acting_user(session, user_id)
        row = find_locked(session, ApiTokenRow, token_id, "token")
        if row.user_id != user_id and role_of(user) not in ADMINS:
            raise RoleError(f"token {token_id} is somebody else's")
        row.revoked = True
        return _to_token(row)


def resume_token(store: Store, secret: str) -> SignIn | None:
    """Find whom a token's secret lets in, in its role; None if it is not valid."""
    now = store.clock()
    query = select(ApiTokenRow).where(ApiTokenRow.token_hash == hash_token(secret))
    with store.read() as session:
        row = session.scalar(query)
        if row is None or row.revoked or (row.expires_at is not None and row.expires_at <= now):
            return None
        owner = find(session, UserRow, row.user_id, "user")
        if not owner.active:
            return None
        user, token_id = to_user(owner), row.id
        user = replace(user, role=lower_role(user.role, cast("Role", row.role)))
        is_noted = row.last_used_at is not None and now - row.last_used_at < USE_EVERY
    if not is_noted:
        # A store that another process locks must not stop those who only read.
        with suppress(DatabaseError), store.write(patient=False) as session:
            find(session, ApiTokenRow, token_id, "token").last_used_at = now
    return SignIn(user=user, csrf_token="", token_id=token_id)


def _to_token(row: ApiTokenRow) -> ApiToken:
    return ApiToken(
        id=row.id,
        user_id=row.user_id,
        name=row.name,
        role=cast("Role", row.role),
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        revoked=row.revoked,
    )
