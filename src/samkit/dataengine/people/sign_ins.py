"""Who is signed in. Only hashes of tokens are kept; ending a session or a user ends its access."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete

from samkit.dataengine.database import Store
from samkit.dataengine.people.users import acting_user
from samkit.dataengine.rows import find, to_user
from samkit.dataengine.schema import SignInRow, UserRow
from samkit.dataengine.values import User

IDLE_S = 12 * 60 * 60.0
# A use puts the end off only when this part of the time is over: most uses write nothing.
RENEW_PART = 0.1
TOKEN_BYTES = 32


@dataclass(frozen=True, kw_only=True)
class SignIn:
    """A session: its user, and what the user's page must send with each change."""

    user: User
    csrf_token: str


def open_sign_in(store: Store, user_id: int, *, idle_s: float = IDLE_S) -> tuple[str, SignIn]:
    """Sign a user in, whose password or token was checked before; give the session's token.

    Raises:
        MissingError: no such user.
        RoleError: they are not active.
    """
    token, csrf_token = secrets.token_urlsafe(TOKEN_BYTES), secrets.token_urlsafe(TOKEN_BYTES)
    now = store.clock()
    with store.write() as session:
        user = acting_user(session, user_id)
        session.execute(delete(SignInRow).where(SignInRow.expires_at <= now))
        session.add(
            SignInRow(
                token_hash=hash_token(token),
                user_id=user_id,
                csrf_token=csrf_token,
                expires_at=now + timedelta(seconds=idle_s),
            )
        )
        return token, SignIn(user=to_user(user), csrf_token=csrf_token)


def resume_sign_in(store: Store, token: str, *, idle_s: float = IDLE_S) -> SignIn | None:
    """The session of a token; None if there is none, it has expired, or its user is not active."""
    key, now = hash_token(token), store.clock()
    end = now + timedelta(seconds=idle_s)
    with store.read() as session:
        row = session.get(SignInRow, key)
        if row is None or row.expires_at <= now:
            return None
        user = find(session, UserRow, row.user_id, "user")
        if not user.active:
            return None
        found = SignIn(user=to_user(user), csrf_token=row.csrf_token)
        is_fresh = row.expires_at > end - timedelta(seconds=RENEW_PART * idle_s)
    if not is_fresh:
        with store.write() as session:
            kept = session.get(SignInRow, key)
            if kept is not None:  # not signed out meanwhile
                kept.expires_at = end
    return found


def close_sign_in(store: Store, token: str) -> None:
    """Sign out; nothing if there is no such session."""
    with store.write() as session:
        session.execute(delete(SignInRow).where(SignInRow.token_hash == hash_token(token)))


def hash_token(token: str) -> str:
    """What is kept of a token: it is random and long, so that a plain hash is enough."""
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()
