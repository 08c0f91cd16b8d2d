"""People: users and their roles, sign-ins, and the audit log."""

from samkit.dataengine.people.audit import AuditEntry, list_actions, note_action
from samkit.dataengine.people.sign_ins import SignIn, close_sign_in, open_sign_in, resume_sign_in
from samkit.dataengine.people.users import (
    ADMINS,
    REVIEWERS,
    acting_user,
    change_user,
    check_password,
    create_user,
    list_users,
    user_names,
)

__all__ = [
    "ADMINS",
    "REVIEWERS",
    "AuditEntry",
    "SignIn",
    "acting_user",
    "change_user",
    "check_password",
    "close_sign_in",
    "create_user",
    "list_actions",
    "list_users",
    "note_action",
    "open_sign_in",
    "resume_sign_in",
    "user_names",
]
