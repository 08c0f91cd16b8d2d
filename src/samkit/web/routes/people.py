"""Routes for signing in and out, users and the audit log."""

from __future__ import annotations

import hmac

from fastapi import HTTPException, Request, Response

from samkit.dataengine import (
    AuditEntry,
    Page,
    SignIn,
    User,
    change_user,
    check_password,
    close_sign_in,
    create_user,
    list_actions,
    list_users,
    open_sign_in,
    read_settings,
    save_settings,
    user_names,
)
from samkit.http import client_address, is_own_origin
from samkit.web.routing import After, Key, Limit, new_router
from samkit.web.schemas import (
    Credentials,
    NewUser,
    PasswordChange,
    Settings,
    SignInOut,
    UserChange,
)
from samkit.web.security import attempt_key
from samkit.web.sign_in import Admin, AnyUser, CurrentSignIn, PageSignIn, give_cookie
from samkit.web.state import ServerState, TheState

router = new_router()

UNAUTHORIZED = 401


@router.post("/session")
def sign_in(request: Request, response: Response, studio: TheState, body: Credentials) -> SignInOut:
    """Sign in with name and password, or with a local server's token."""
    if not is_own_origin(request.headers):
        raise HTTPException(403, "the request comes from another site")
    user_id = _check_token(studio, request, body) if body.token else _check(studio, request, body)
    request.state.user_id = user_id
    return _begin(request, response, studio, user_id)


@router.get("/session")
def get_sign_in(studio: TheState, current: CurrentSignIn) -> SignInOut:
    """Who is signed in."""
    return _sign_in_out(studio, current)


@router.delete("/session", status_code=204)
def sign_out(request: Request, response: Response, studio: TheState, _current: PageSignIn) -> None:
    """Sign out; the browser forgets the pictures that it has cached."""
    response.headers["Clear-Site-Data"] = '"cache"'  # not "storage", which has unsent masks
    close_sign_in(studio.store, request.cookies[studio.config.cookie_name])
    response.delete_cookie(studio.config.cookie_name)


@router.get("/session/settings")
def get_settings(studio: TheState, user: AnyUser) -> Settings:
    """Return what one has set on the page."""
    return Settings(settings=read_settings(studio.store, user.id))


@router.put("/session/settings")
def put_settings(request: Request, studio: TheState, user: AnyUser, body: Settings) -> Settings:
    """Save what one has set on the page, of which the audit log says nothing."""
    request.state.routine = True
    save_settings(studio.store, user.id, body.settings)
    return body


@router.post("/session/password")
def change_password(
    request: Request,
    response: Response,
    studio: TheState,
    current: PageSignIn,
    body: PasswordChange,
) -> SignInOut:
    """Change one's own password: other sign-ins end, and this one continues with a new token."""
    user = current.user
    try:
        _verify(studio, request, user.name, body.old)
    except HTTPException as error:
        if error.status_code != UNAUTHORIZED:
            raise
        # Not 401, which would say that this sign-in has ended.
        raise HTTPException(403, "the old password is wrong") from error
    with studio.hashing:
        change_user(studio.store, user.id, password=body.new)
    return _begin(request, response, studio, user.id)


@router.get("/users")
def get_users(studio: TheState, _admin: Admin, after: After = 0, limit: Limit = 100) -> Page[User]:
    """List users."""
    return list_users(studio.store, after=after, limit=limit)


@router.post("/users", status_code=201)
def add_user(studio: TheState, _admin: Admin, body: NewUser) -> User:
    """Add a user."""
    with studio.hashing:
        return create_user(studio.store, name=body.name, role=body.role, password=body.password)


@router.patch("/users/{user_id}")
def patch_user(studio: TheState, _admin: Admin, user_id: Key, body: UserChange) -> User:
    """Change a user's role or password, or let them in no more."""
    with studio.hashing:
        return change_user(
            studio.store, user_id, role=body.role, password=body.password, active=body.active
        )


@router.get("/audit")
def get_audit(
    studio: TheState, _admin: Admin, after: After = 0, limit: Limit = 100
) -> Page[AuditEntry]:
    """The audit log, newest first."""
    return list_actions(studio.store, after=after, limit=limit)


def _check_token(studio: ServerState, request: Request, body: Credentials) -> int:
    """Check a local server's token; return its user's id."""
    expected, user_id = studio.config.local_token, studio.config.local_user_id
    given = (body.token or "").encode(errors="replace")
    if expected is not None and user_id is not None:
        # The right token is never throttled: it cannot be guessed, and others on this computer
        # share the address.
        if hmac.compare_digest(given, expected.encode()):
            return user_id
        _begin_try(studio, request, "")
        raise HTTPException(401, "wrong token: open the address that samkit printed")
    _begin_try(studio, request, "")
    raise HTTPException(401, "this server needs a name and password")


def _check(studio: ServerState, request: Request, body: Credentials) -> int:
    """Check name and password; return the user's id."""
    if not body.name or not body.password:
        raise HTTPException(422, "give a name and password, or a token")
    if studio.config.is_local:
        raise HTTPException(
            401, "this server is for one person: open the address that samkit printed"
        )
    if body.name in user_names(studio.store).values():  # else it may be a password, mistyped
        request.state.target = f"user {body.name}"
    return _verify(studio, request, body.name, body.password).id


def _verify(studio: ServerState, request: Request, name: str, password: str) -> User:
    """Check name and password; attempts are counted."""
    _begin_try(studio, request, name)
    with studio.hashing:
        user = check_password(studio.store, name=name, password=password)
    if user is None:
        raise HTTPException(401, "wrong name or password")
    address = attempt_key(client_address(request))
    studio.tries_of_address.succeed(address)
    studio.tries_for_name.succeed(f"{address} {name}")
    studio.known_places.add(f"{address} {name}")
    return user


def _begin_try(studio: ServerState, request: Request, name: str) -> None:
    """Count an attempt. Those over the limit are not logged: a stranger could fill the log.

    Guesses of strangers do not keep a person out who signs in from another address: a name has a
    limit at each address, and one at all that the person has not signed in from before.
    """
    address = attempt_key(client_address(request))
    fits = studio.tries_of_address.begin(address)
    if fits and name:
        place = f"{address} {name}"
        fits = studio.tries_for_name.begin(place)
        if fits and place not in studio.known_places:
            fits = studio.tries_elsewhere.begin(name)
    if not fits:
        raise HTTPException(429, "too many attempts: wait a few minutes", {"Retry-After": "300"})
    if not hasattr(request.state, "user_id"):
        request.state.user_id = None


def _begin(request: Request, response: Response, studio: ServerState, user_id: int) -> SignInOut:
    token, current = open_sign_in(studio.store, user_id, idle_s=studio.config.idle_s)
    give_cookie(request, response, studio.config, token)
    return _sign_in_out(studio, current)


def _sign_in_out(studio: ServerState, current: SignIn) -> SignInOut:
    return SignInOut(
        user=current.user,
        csrf_token=current.csrf_token,
        local=studio.config.is_local,
    )
