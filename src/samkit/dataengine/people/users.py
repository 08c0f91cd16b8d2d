"""Users: names, roles and passwords (Argon2)."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import cast
from unicodedata import normalize

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from samkit.dataengine.database import Store
from samkit.dataengine.rows import check_limit, find, find_locked, to_page, to_user
from samkit.dataengine.schema import SignInRow, UserRow
from samkit.dataengine.values import ROLES, Page, Role, User, check_choice, check_label
from samkit.errors import RoleError, StoreError

MIN_PASSWORD = 8  # characters
MAX_PASSWORD = 1000  # hashing a longer one would take too long
HASHER = PasswordHasher()  # argon2id with RFC 9106's low-memory profile
_LIMIT: ContextVar[Role] = ContextVar("role_limit", default="admin")
REVIEWERS: tuple[Role, ...] = ("reviewer", "admin")
ADMINS: tuple[Role, ...] = ("admin",)


def create_user(
    store: Store, *, name: str, role: Role = "annotator", password: str | None = None
) -> User:
    """Add a user, who cannot sign in without a password.

    Raises:
        StoreError: the name is taken or empty, the password too short, or the role unknown.
    """
    check_choice("a role", role, ROLES)
    check_label("a user's name", name, 100)
    row = UserRow(
        name=name,
        role=role,
        password_hash=None if password is None else hash_password(password),
        active=True,
        created_at=store.clock(),
    )
    with store.write() as session:
        check_name_free(session, name)
        session.add(row)
        try:
            session.flush()
        except IntegrityError as error:  # added at the same time
            raise StoreError(f"there is a user {name!r} already") from error
        return to_user(row)


def check_name_free(session: Session, name: str) -> None:
    """Check that no user has a name, nor one that differs in case, width or outer spaces alone.

    Raises:
        StoreError: one has.
    """
    names = session.scalars(select(UserRow.name))
    if (other := next((one for one in names if _folded(one) == _folded(name)), None)) is not None:
        raise StoreError(f"there is a user {other!r:.40} already")


def _folded(name: str) -> str:
    return normalize("NFKC", name).strip().casefold()


def hash_password(password: str) -> str:
    """Return the Argon2 hash of a password, including salt and parameters.

    Raises:
        StoreError: the password is too short or too long.
    """
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise StoreError(
            f"a password must have {MIN_PASSWORD} to {MAX_PASSWORD} characters; got {len(password)}"
        )
    return HASHER.hash(password)


def check_password(store: Store, *, name: str, password: str) -> User | None:
    """Find the active user with this name and password; None if there is none."""
    with store.read() as session:
        row = session.scalar(select(UserRow).where(UserRow.name == name))
    if len(password) > MAX_PASSWORD:
        return None
    if row is None or row.password_hash is None:
        # Takes as long as a wrong password, so that response times do not reveal which names exist.
        HASHER.hash(password)
        return None
    try:
        HASHER.verify(row.password_hash, password)
    except (VerificationError, InvalidHashError):
        return None
    return to_user(row) if row.active else None


def change_user(
    store: Store,
    user_id: int,
    *,
    role: Role | None = None,
    password: str | None = None,
    active: bool | None = None,
) -> User:
    """Change a user's role, password or activity; None leaves them unchanged.

    Deactivated users cannot sign in or act. A new password ends the user's sign-ins. Images that
    were returned to a user who is deactivated go to anybody.

    Raises:
        MissingError: no such user.
        StoreError: unknown role, bad password, or no active admin would be left.
    """
    if role is not None:
        check_choice("a role", role, ROLES)
    password_hash = None if password is None else hash_password(password)
    with store.write() as session:
        row = find_locked(session, UserRow, user_id, "user")
        was_admin = row.active and row.role == "admin"
        row.role = role or row.role
        row.password_hash = password_hash or row.password_hash
        row.active = row.active if active is None else active
        if was_admin and not (row.active and row.role == "admin"):
            check_admin_left(session, user_id)
        if password_hash is not None or not row.active:
            session.execute(delete(SignInRow).where(SignInRow.user_id == user_id))
        return to_user(row)


def check_admin_left(session: Session, without_id: int) -> None:
    """Check that there is an active admin besides a user.

    Raises:
        StoreError: there is none.
    """
    admins = select(UserRow.id).where(
        UserRow.role == "admin", UserRow.active, UserRow.id != without_id
    )
    # Locked: two admins cannot take each other's role at the same time.
    if session.scalar(admins.limit(1).with_for_update()) is None:
        raise StoreError("there must be an active admin: give another user the role first")


def user_names(store: Store) -> dict[int, str]:
    """Return the names of all users by id."""
    with store.read() as session:
        rows = session.execute(select(UserRow.id, UserRow.name))
        return {row.id: row.name for row in rows}


def list_users(store: Store, *, after: int = 0, limit: int = 100) -> Page[User]:
    """List users in the order they were added."""
    query = select(UserRow).where(UserRow.id > after).order_by(UserRow.id)
    with store.read() as session:
        rows = session.scalars(query.limit(check_limit(limit)))
        return to_page([to_user(row) for row in rows], limit)


def acting_user(session: Session, user_id: int, roles: tuple[Role, ...] = ROLES) -> UserRow:
    """Return the row of an active user who has one of the roles.

    Raises:
        MissingError: no such user.
        RoleError: the user is deactivated or has another role.
    """
    row = find(session, UserRow, user_id, "user")
    if not row.active:
        raise RoleError(f"user {row.name!r:.40} is not active")
    if role_of(row) not in roles:
        raise RoleError(
            f"this needs the role {' or '.join(roles)}; {row.name!r:.40} is {role_of(row)}"
        )
    return row


@contextmanager
def limit_role(role: Role) -> Iterator[None]:
    """Let everybody act in this role at most, as with an API token, within the context."""
    before = _LIMIT.set(role)
    try:
        yield
    finally:
        _LIMIT.reset(before)


def role_of(row: UserRow) -> Role:
    """The role in which a user acts now."""
    return lower_role(cast("Role", row.role), _LIMIT.get())


def lower_role(one: Role, other: Role) -> Role:
    """The lower of two roles."""
    return min(one, other, key=ROLES.index)
