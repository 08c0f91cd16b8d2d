"""Signing in and out; users; what was done."""

from __future__ import annotations

import hmac

from fastapi import HTTPException, Request, Response

from samkit.dataengine import (
    SignedIn,
    change_user,
    check_password,
    close_session,
    create_user,
    list_actions,
    list_users,
    open_session,
    user_names,
)
from samkit.dataengine.values import User
from samkit.web.routes.parameters import After, Key, Limit, new_router
from samkit.web.schemas import (
    AuditOut,
    NewUser,
    PageOut,
    PasswordChange,
    SessionOut,
    SignIn,
    UserChange,
    UserOut,
)
from samkit.web.security import client_address, is_own_origin
from samkit.web.sessions import Admin, AnyUser, TheSession, give_cookie
from samkit.web.studio import Studio, TheStudio

router = new_router()


@router.post("/session")
def sign_in(request: Request, response: Response, studio: TheStudio, body: SignIn) -> SessionOut:
    """Sign in by name and password, or by a local server's token."""
    if not is_own_origin(request.headers):
        raise HTTPException(403, "the request comes from another site")
    user_id = _check_token(studio, request, body) if body.token else _check(studio, request, body)
    request.state.user_id = user_id
    return _begin(request, response, studio, user_id)


@router.get("/session")
def get_session(studio: TheStudio, session: TheSession) -> SessionOut:
    """Who is signed in."""
    return _session_out(studio, session)


@router.delete("/session", status_code=204)
def sign_out(request: Request, response: Response, studio: TheStudio, _session: TheSession) -> None:
    """End the session."""
    close_session(studio.store, request.cookies[studio.config.cookie_name])
    response.delete_cookie(studio.config.cookie_name)


@router.post("/session/password")
def change_password(
    request: Request, response: Response, studio: TheStudio, user: AnyUser, body: PasswordChange
) -> SessionOut:
    """Give oneself another password; other sessions end, and this one goes on under a new token."""
    _verify(studio, request, user.name, body.old)
    with studio.hashing:
        change_user(studio.store, user.id, password=body.new)
    return _begin(request, response, studio, user.id)


@router.get("/users")
def get_users(
    studio: TheStudio, _admin: Admin, after: After = 0, limit: Limit = 100
) -> PageOut[UserOut]:
    """All users."""
    return PageOut[UserOut].model_validate(list_users(studio.store, after=after, limit=limit))


@router.post("/users", status_code=201)
def add_user(studio: TheStudio, _admin: Admin, body: NewUser) -> UserOut:
    """Add a user."""
    with studio.hashing:
        user = create_user(studio.store, name=body.name, role=body.role, password=body.password)
    return UserOut.model_validate(user)


@router.patch("/users/{user_id}")
def patch_user(studio: TheStudio, _admin: Admin, user_id: Key, body: UserChange) -> UserOut:
    """Change a user's role or password, or let them in no more."""
    with studio.hashing:
        user = change_user(
            studio.store, user_id, role=body.role, password=body.password, active=body.active
        )
    return UserOut.model_validate(user)


@router.get("/audit")
def get_audit(
    studio: TheStudio, _admin: Admin, after: After = 0, limit: Limit = 100
) -> PageOut[AuditOut]:
    """What was done, the newest first."""
    return PageOut[AuditOut].model_validate(list_actions(studio.store, after=after, limit=limit))


def _check_token(studio: Studio, request: Request, body: SignIn) -> int:
    """The user of a local server's token."""
    expected, user_id = studio.config.local_token, studio.config.local_user_id
    given = (body.token or "").encode(errors="replace")
    if expected is not None and user_id is not None:
        # Never too many tries for the right one, which cannot be guessed: others on this computer
        # have the same address.
        if hmac.compare_digest(given, expected.encode()):
            return user_id
        _begin_try(studio, request, "")
        raise HTTPException(401, "the token is wrong: open the address that samkit has printed")
    _begin_try(studio, request, "")
    raise HTTPException(401, "this server takes names and passwords")


def _check(studio: Studio, request: Request, body: SignIn) -> int:
    """The user of a name and password."""
    if not body.name or not body.password:
        raise HTTPException(422, "give name and password, or a token")
    if studio.config.is_local:
        raise HTTPException(401, "this server is for one person: open the address it has printed")
    if body.name in user_names(studio.store).values():  # else it may be a password, mistyped
        request.state.target = f"user {body.name}"
    return _verify(studio, request, body.name, body.password).id


def _verify(studio: Studio, request: Request, name: str, password: str) -> User:
    """The user with a name and password; tries are counted."""
    _begin_try(studio, request, name)
    with studio.hashing:
        user = check_password(studio.store, name=name, password=password)
    if user is None:
        raise HTTPException(401, "name or password is wrong")
    studio.tries_of_address.succeed(client_address(request))
    studio.tries_for_name.succeed(name)
    return user


def _begin_try(studio: Studio, request: Request, name: str) -> None:
    """Count a try. Only those that fit are written down: a stranger could fill the log."""
    fits = studio.tries_of_address.begin(client_address(request))
    if not fits or (name and not studio.tries_for_name.begin(name)):
        raise HTTPException(429, "too many tries: wait some minutes", {"Retry-After": "300"})
    if not hasattr(request.state, "user_id"):
        request.state.user_id = None


def _begin(request: Request, response: Response, studio: Studio, user_id: int) -> SessionOut:
    token, session = open_session(studio.store, user_id, idle_s=studio.config.idle_s)
    give_cookie(request, response, studio.config, token)
    return _session_out(studio, session)


def _session_out(studio: Studio, session: SignedIn) -> SessionOut:
    return SessionOut(
        user=UserOut.model_validate(session.user),
        csrf_token=session.csrf_token,
        local=studio.config.is_local,
    )
