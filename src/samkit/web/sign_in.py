"""Authentication of requests: the sign-in cookie, the CSRF token, and roles."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, Header, HTTPException, Request, Response, Security
from fastapi.security import APIKeyCookie, HTTPBearer
from starlette.requests import HTTPConnection

from samkit.dataengine import (
    ADMINS,
    REVIEWERS,
    ROLES,
    Belonging,
    Role,
    SignIn,
    User,
    may_see,
    resume_sign_in,
    resume_token,
)
from samkit.http import is_own_origin
from samkit.web.config import WebConfig
from samkit.web.state import ServerState, TheState

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")

# Parameters of paths that name something of a project.
BELONGINGS: dict[str, Belonging] = {
    "project_id": "project",
    "image_id": "image",
    "annotation_id": "annotation",
    "class_id": "class",
    "job_id": "job",
    "comment_id": "comment",
    "video_id": "video",
    "track_id": "track",
}
MAX_KEY = 2**63 - 1

# Only for the OpenAPI document: a local server's cookie has another name.
COOKIE = APIKeyCookie(name="samkit_session", auto_error=False)
BEARER = HTTPBearer(auto_error=False)


def find_sign_in(connection: HTTPConnection, studio: ServerState) -> SignIn | None:
    """Find the sign-in of a request's API token or cookie; None if there is none.

    A request with an Authorization header is not by the page: its cookie does not count.
    """
    if "authorization" in connection.headers:
        scheme, _, secret = connection.headers["authorization"].partition(" ")
        is_bearer = scheme.lower() == "bearer"
        return resume_token(studio.store, secret.strip()) if is_bearer else None
    token = connection.cookies.get(studio.config.cookie_name)
    return resume_sign_in(studio.store, token, idle_s=studio.config.idle_s) if token else None


def signed_in(
    request: Request,
    studio: TheState,
    _cookie: Annotated[str | None, Security(COOKIE)],
    _bearer: Annotated[object, Security(BEARER)],
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
    # Other sites cannot make a browser send a token, as they can with cookies.
    if current.token_id is None and request.method not in SAFE_METHODS:
        if not is_own_origin(request.headers):
            raise HTTPException(403, "the request comes from another site")
        if not hmac.compare_digest((csrf_token or "").encode(), current.csrf_token.encode()):
            raise HTTPException(403, "the header X-CSRF-Token is missing or wrong: load the page")
    return current


def with_role(
    roles: tuple[Role, ...],
) -> Callable[[Request, ServerState, SignIn], User]:
    """Make a dependency that requires a user with one of these roles.

    They must be a member of the project that the request's path is about, if that is for members
    only; for others it does not exist.
    """

    def check(
        request: Request, studio: TheState, current: Annotated[SignIn, Depends(signed_in)]
    ) -> User:
        if current.user.role not in roles:
            raise HTTPException(403, f"this needs the role {' or '.join(roles)}")
        for name, what in BELONGINGS.items():
            key = request.path_params.get(name, "")
            if is_key(key) and not may_see(studio.store, current.user, what, int(key)):
                raise HTTPException(404, f"there is no {what} {key}")
        return current.user

    return check


def is_key(text: str) -> bool:
    """Whether a part of a path may be the key of a row; the route says why others are not."""
    return text.isascii() and text.isdecimal() and int(text) <= MAX_KEY


def at_the_page(current: Annotated[SignIn, Depends(signed_in)]) -> SignIn:
    """Require a person at the page, and no API token, which could else make itself stay.

    Raises:
        HTTPException: 403 with an API token.
    """
    if current.token_id is not None:
        raise HTTPException(403, "not with an API token: sign in on the page")
    return current


CurrentSignIn = Annotated[SignIn, Depends(signed_in)]
PageSignIn = Annotated[SignIn, Depends(at_the_page)]
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
