"""Authentication of requests: the sign-in cookie, the CSRF token, and roles."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, Header, HTTPException, Request, Response, Security
from fastapi.security import APIKeyCookie
from starlette.requests import HTTPConnection

from samkit.dataengine import ADMINS, REVIEWERS, ROLES, Role, SignIn, User, resume_sign_in
from samkit.web.config import WebConfig
from samkit.web.security import is_own_origin
from samkit.web.state import ServerState, TheState

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")

# Only for the OpenAPI document: a local server's cookie has another name.
COOKIE = APIKeyCookie(name="samkit_session", auto_error=False)


def find_sign_in(connection: HTTPConnection, studio: ServerState) -> SignIn | None:
    """Find the sign-in that a request's cookie belongs to; None if there is none."""
    token = connection.cookies.get(studio.config.cookie_name)
    return resume_sign_in(studio.store, token, idle_s=studio.config.idle_s) if token else None


def signed_in(
    request: Request,
    studio: TheState,
    _cookie: Annotated[str | None, Security(COOKIE)],
    csrf_token: Annotated[str | None, Header(alias="X-CSRF-Token")] = None,
) -> SignIn:
    """Require a sign-in, and for unsafe methods an origin and CSRF token of our own page.

    Raises:
        HTTPException: 401 without a sign-in, 403 for a request from another site.
    """
    if hasattr(request.state, "sign_in"):  # found before the body was read
        current: SignIn | None = request.state.sign_in
    else:
        current = find_sign_in(request, studio)
    if current is None:
        raise HTTPException(401, "sign in first")
    request.state.user_id = current.user.id
    if request.method not in SAFE_METHODS:
        if not is_own_origin(request.headers):
            raise HTTPException(403, "the request comes from another site")
        if not hmac.compare_digest((csrf_token or "").encode(), current.csrf_token.encode()):
            raise HTTPException(403, "the header X-CSRF-Token is missing or wrong: load the page")
    return current


def with_role(roles: tuple[Role, ...]) -> Callable[[SignIn], User]:
    """Make a dependency that requires a user with one of these roles."""

    def check(current: Annotated[SignIn, Depends(signed_in)]) -> User:
        if current.user.role not in roles:
            raise HTTPException(403, f"this needs the role {' or '.join(roles)}")
        return current.user

    return check


CurrentSignIn = Annotated[SignIn, Depends(signed_in)]
AnyUser = Annotated[User, Depends(with_role(ROLES))]
Reviewer = Annotated[User, Depends(with_role(REVIEWERS))]
Admin = Annotated[User, Depends(with_role(ADMINS))]


def give_cookie(request: Request, response: Response, config: WebConfig, token: str) -> None:
    """Set the sign-in cookie, which lasts until the browser is closed."""
    response.set_cookie(
        config.cookie_name,
        token,
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
