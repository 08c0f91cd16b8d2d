"""People: names, roles, passwords (argon2)."""

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from samkit.dataengine.database import Store
from samkit.dataengine.rows import check_limit, find, find_locked, to_page, to_user
from samkit.dataengine.schema import ImageRow, SignInRow, UserRow
from samkit.dataengine.values import ROLES, Page, Role, User, check_choice
from samkit.errors import RoleError, StoreError

LEAST_PASSWORD = 8  # characters
MOST_PASSWORD = 1000  # a longer one would keep the hash busy
HASHER = PasswordHasher()  # argon2id with RFC 9106's low-memory profile
REVIEWERS: tuple[Role, ...] = ("reviewer", "admin")
ADMINS: tuple[Role, ...] = ("admin",)


def create_user(
    store: Store, *, name: str, role: Role = "annotator", password: str | None = None
) -> User:
    """Add somebody; without a password they cannot log in.

    Raises:
        StoreError: the name is taken or empty, the password too short, the role unknown.
    """
    check_choice("a role", role, ROLES)
    if not name.strip() or len(name) > 100:
        raise StoreError(f"a user's name must have 1 to 100 characters; got {name!r:.40}")
    row = UserRow(
        name=name,
        role=role,
        password_hash=None if password is None else hash_password(password),
        active=True,
        created_at=store.clock(),
    )
    with store.write() as session:
        session.add(row)
        try:
            session.flush()
        except IntegrityError as error:
            raise StoreError(f"there is a user {name!r} already") from error
        return to_user(row)


def hash_password(password: str) -> str:
    """Argon2 hash of a password, with its salt and settings.

    Raises:
        StoreError: it is too short or too long.
    """
    if not LEAST_PASSWORD <= len(password) <= MOST_PASSWORD:
        raise StoreError(
            f"a password must have {LEAST_PASSWORD} to {MOST_PASSWORD} characters;"
            f" got {len(password)}"
        )
    return HASHER.hash(password)


def check_password(store: Store, *, name: str, password: str) -> User | None:
    """The user with this name and password; None if there is none, or they are not active."""
    with store.read() as session:
        row = session.scalar(select(UserRow).where(UserRow.name == name))
    if len(password) > MOST_PASSWORD:
        return None
    if row is None or row.password_hash is None:
        # Takes as long as a wrong password, so that nobody learns which names there are.
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
    """Change what is given of a user. Those who are not active cannot log in or act.

    A new password ends the user's sessions. What waits for somebody who is no longer active, as it
    was returned to them, waits for anybody.

    Raises:
        MissingError: no such user.
        StoreError: unknown role, bad password, or no admin would be left.
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
            _check_admin_left(session, user_id)
        if password_hash is not None or not row.active:
            session.execute(delete(SignInRow).where(SignInRow.user_id == user_id))
        if not row.active:
            theirs = update(ImageRow).where(ImageRow.returned_to == user_id)
            session.execute(theirs.values(returned_to=None))
        return to_user(row)


def _check_admin_left(session: Session, without_id: int) -> None:
    admins = select(UserRow.id).where(
        UserRow.role == "admin", UserRow.active, UserRow.id != without_id
    )
    # Locked: two admins cannot take each other's role at the same time.
    if session.scalar(admins.limit(1).with_for_update()) is None:
        raise StoreError("there must be an active admin: make another user one first")


def user_names(store: Store) -> dict[int, str]:
    """Names of all users by their numbers."""
    with store.read() as session:
        rows = session.execute(select(UserRow.id, UserRow.name))
        return {row.id: row.name for row in rows}


def list_users(store: Store, *, after: int = 0, limit: int = 100) -> Page[User]:
    """Users in the order in which they were added."""
    query = select(UserRow).where(UserRow.id > after).order_by(UserRow.id)
    with store.read() as session:
        rows = session.scalars(query.limit(check_limit(limit)))
        return to_page([to_user(row) for row in rows], limit)


def acting_user(session: Session, user_id: int, roles: tuple[Role, ...] = ROLES) -> UserRow:
    """The row of somebody who wants to do what needs one of some roles.

    Raises:
        MissingError: no such user.
        RoleError: not active, or of another role.
    """
    row = find(session, UserRow, user_id, "user")
    if not row.active:
        raise RoleError(f"user {row.name!r:.40} is not active")
    if row.role not in roles:
        raise RoleError(f"this needs the role {' or '.join(roles)}; {row.name!r:.40} is {row.role}")
    return row
