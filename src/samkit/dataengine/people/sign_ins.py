"""Sign-ins of users. Only hashes of their tokens are stored."""

import hashlib
import secrets
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete

from samkit.dataengine.database import Store
from samkit.dataengine.people.users import acting_user
from samkit.dataengine.rows import find, to_user
from samkit.dataengine.schema import SignInRow, UserRow
from samkit.dataengine.values import User
from samkit.errors import DatabaseError

IDLE_S = 12 * 60 * 60.0
# A use extends the sign-in only once this fraction of its time has passed: most uses write nothing.
RENEW_SHARE = 0.1
TOKEN_BYTES = 32


@dataclass(frozen=True, kw_only=True)
class SignIn:
    """A sign-in: its user, and the token that the user's page must send with each change.

    `token_id` is that of an API token, with which no page is signed in; else None.
    """

    user: User
    csrf_token: str
    token_id: int | None = None


def open_sign_in(store: Store, user_id: int, *, idle_s: float = IDLE_S) -> tuple[str, SignIn]:
    """Sign in a user whose password or token was checked before; return the new token.

    Args:
        idle_s: the sign-in ends after this many seconds without use.

    Raises:
        MissingError: no such user.
        RoleError: the user is deactivated.
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
    """Find a token's sign-in; None if there is none, it expired, or its user is deactivated."""
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
        is_fresh = row.expires_at > end - timedelta(seconds=RENEW_SHARE * idle_s)
    if not is_fresh:
        # A store that another process locks must not stop those who only read.
        with suppress(DatabaseError), store.write(patient=False) as session:
            current = session.get(SignInRow, key)
            if current is not None:  # not signed out in the meantime
                current.expires_at = end
    return found


def close_sign_in(store: Store, token: str) -> None:
    """Sign out; does nothing for an unknown token."""
    with store.write() as session:
        session.execute(delete(SignInRow).where(SignInRow.token_hash == hash_token(token)))


def hash_token(token: str) -> str:
    """Hash a token; a plain hash is enough, as tokens are long and random."""
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()
