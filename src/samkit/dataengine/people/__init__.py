"""People: users and their roles, members of projects, sign-ins, and the audit log."""

from samkit.dataengine.people.audit import AuditEntry, list_actions, note_action
from samkit.dataengine.people.identities import (
    link_identity,
    user_of_identity,
)
from samkit.dataengine.people.members import (
    Belonging,
    Members,
    can_work,
    check_member,
    get_members,
    may_see,
    set_members,
)
from samkit.dataengine.people.settings import read_settings, save_settings
from samkit.dataengine.people.sign_ins import SignIn, close_sign_in, open_sign_in, resume_sign_in
from samkit.dataengine.people.tokens import (
    ApiToken,
    create_token,
    list_tokens,
    resume_token,
    revoke_token,
)
from samkit.dataengine.people.users import (
    ADMINS,
    REVIEWERS,
    acting_user,
    change_user,
    check_password,
    create_user,
    limit_role,
    list_users,
    role_of,
    user_names,
)

__all__ = [
    "ADMINS",
    "REVIEWERS",
    "ApiToken",
    "AuditEntry",
    "Belonging",
    "Members",
    "SignIn",
    "acting_user",
    "can_work",
    "change_user",
    "check_member",
    "check_password",
    "close_sign_in",
    "create_token",
    "create_user",
    "get_members",
    "limit_role",
    "link_identity",
    "list_actions",
    "list_tokens",
    "list_users",
    "may_see",
    "note_action",
    "open_sign_in",
    "read_settings",
    "resume_sign_in",
    "resume_token",
    "revoke_token",
    "role_of",
    "save_settings",
    "set_members",
    "user_names",
    "user_of_identity",
]
