"""Identities: people whom a provider of single sign-on has recognised."""

from sqlalchemy.orm import Session

from samkit.dataengine.database import Store
from samkit.dataengine.people.users import check_admin_left, check_name_free
from samkit.dataengine.rows import find, find_locked, to_user
from samkit.dataengine.schema import UserRow
from samkit.dataengine.team_schema import IdentityRow
from samkit.dataengine.values import Role, User, check_label
from samkit.errors import ConflictError, RoleError, StoreError

MAX_ISSUER, MAX_SUBJECT = 300, 255  # characters; the latter as the specification has it


def user_of_identity(
    store: Store, *, issuer: str, subject: str, name: str, role: Role | None
) -> User:
    """Return the user whom a provider has recognised; add them when they come first.

    Args:
        issuer: URL of the provider.
        subject: its name for the person, which never changes.
        name: for a new user.
        role: what the provider's claims give them, now; None for none, which keeps that of a known
            user and refuses a new one.

    Raises:
        ConflictError: another user has the name, whom an admin may link.
        RoleError: the user is deactivated, or new and without a role.
        StoreError: the name or the subject is not valid.
    """
    _check(issuer, subject)
    with store.write() as session:
        known = session.get(IdentityRow, (issuer, subject))
        if known is not None:
            row = find_locked(session, UserRow, known.user_id, "user")
            if not row.active:
                raise RoleError(f"user {row.name!r:.40} is not active")
            if role is not None and role != row.role:
                _change_role(session, row, role)
            return to_user(row)
        if role is None:
            raise RoleError(f"{name!r:.40} has no role here")
        check_label("a user's name", name, 100)
        try:
            check_name_free(session, name)
        except StoreError as error:
            raise ConflictError(
                f"{error}, with another sign-in: an admin links them by samkit engine users link"
            ) from error
        row = UserRow(name=name, role=role, active=True, created_at=store.clock())
        session.add(row)
        session.flush()
        session.add(IdentityRow(issuer=issuer, subject=subject, user_id=row.id))
        return to_user(row)


def link_identity(store: Store, user_id: int, *, issuer: str, subject: str) -> None:
    """Let a provider's subject sign in as a user, and as nobody else from now on.

    Raises:
        MissingError: no such user.
        StoreError: the subject is not valid.
    """
    _check(issuer, subject)
    with store.write() as session:
        find(session, UserRow, user_id, "user")
        session.merge(IdentityRow(issuer=issuer, subject=subject, user_id=user_id))


def _change_role(session: Session, row: UserRow, role: Role) -> None:
    """Give a user another role, unless they are the last admin."""
    if row.role == "admin":
        check_admin_left(session, row.id)
    row.role = role


def _check(issuer: str, subject: str) -> None:
    if not 1 <= len(issuer) <= MAX_ISSUER or not 1 <= len(subject) <= MAX_SUBJECT:
        raise StoreError("a provider's address and its subject must not be empty, nor too long")
