"""Who asks: the session's cookie, the CSRF token, roles."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, Header, HTTPException, Request, Response, Security
from fastapi.security import APIKeyCookie
from starlette.requests import HTTPConnection

from samkit.dataengine import SignedIn, resume_session
from samkit.dataengine.values import ROLES, Role, User
from samkit.web.config import WebConfig
from samkit.web.security import is_own_origin
from samkit.web.studio import Studio, TheStudio

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
REVIEWERS: tuple[Role, ...] = ("reviewer", "admin")
ADMINS: tuple[Role, ...] = ("admin",)

# Only for the OpenAPI document: the name of a local server's cookie differs.
COOKIE = APIKeyCookie(name="samkit_session", auto_error=False)


def find_session(connection: HTTPConnection, studio: Studio) -> SignedIn | None:
    """The session of a request's cookie."""
    token = connection.cookies.get(studio.config.cookie_name)
    return resume_session(studio.store, token, idle_s=studio.config.idle_s) if token else None


def signed_in(
    request: Request,
    studio: TheStudio,
    _cookie: Annotated[str | None, Security(COOKIE)],
    csrf_token: Annotated[str | None, Header(alias="X-CSRF-Token")] = None,
) -> SignedIn:
    """The session of a request; one that changes something must come from our own page."""
    session = find_session(request, studio)
    if session is None:
        raise HTTPException(401, "sign in first")
    request.state.user_id = session.user.id
    if request.method not in SAFE_METHODS:
        if not is_own_origin(request.headers):
            raise HTTPException(403, "the request comes from another site")
        if not hmac.compare_digest((csrf_token or "").encode(), session.csrf_token.encode()):
            raise HTTPException(403, "the header X-CSRF-Token is missing or wrong: load the page")
    return session


def with_role(roles: tuple[Role, ...]) -> Callable[[SignedIn], User]:
    """A dependency: the user of a request, who must have one of some roles."""

    def check(session: Annotated[SignedIn, Depends(signed_in)]) -> User:
        if session.user.role not in roles:
            raise HTTPException(403, f"this needs the role {' or '.join(roles)}")
        return session.user

    return check


TheSession = Annotated[SignedIn, Depends(signed_in)]
AnyUser = Annotated[User, Depends(with_role(ROLES))]
Reviewer = Annotated[User, Depends(with_role(REVIEWERS))]
Admin = Annotated[User, Depends(with_role(ADMINS))]


def give_cookie(request: Request, response: Response, config: WebConfig, token: str) -> None:
    """Put a session's token into the browser, until it is closed."""
    response.set_cookie(
        config.cookie_name,
        token,
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
