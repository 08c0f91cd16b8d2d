"""Routes for single sign-on: to the provider, and back from it."""

from __future__ import annotations

import hmac
import logging
from typing import Annotated, Any

from fastapi import HTTPException, Query, Request
from fastapi.responses import RedirectResponse

from samkit.dataengine import open_sign_in, user_of_identity
from samkit.errors import ConflictError, RoleError, SamkitError
from samkit.web.oidc import OidcClient, OidcError
from samkit.web.routing import new_file_router
from samkit.web.sign_in import give_cookie
from samkit.web.state import ServerState, TheState
from samkit.web.team_schemas import SignInMethods

logger = logging.getLogger(__name__)
router = new_file_router()

COOKIE, COOKIE_PATH, COOKIE_S = "samkit_oidc", "/api/session/oidc", 600
SEE_OTHER = 303
Text = Annotated[str, Query(max_length=4000)]
REDIRECT: dict[int | str, dict[str, Any]] = {303: {"description": "to another page"}}


@router.get("/session/methods")
def get_methods(studio: TheState) -> SignInMethods:
    """Return how people sign in: by a password, and at which provider."""
    label = None if studio.oidc is None else studio.oidc.config.label
    return SignInMethods(password=not studio.config.is_local, provider=label)


@router.get("/session/oidc", response_class=RedirectResponse, responses=REDIRECT)
def go_to_provider(request: Request, studio: TheState) -> RedirectResponse:
    """Send a person to the provider."""
    try:
        url, state = _client(studio).begin(str(request.url_for("come_from_provider")))
    except OidcError as error:
        logger.warning("single sign-on: %s", error)
        return _back("unreachable")
    response = RedirectResponse(url, SEE_OTHER)
    # Lax: the provider's page sends the person back, which a strict cookie would not survive. It
    # ties the flow to this browser, so that nobody is signed in as somebody else by a link.
    response.set_cookie(
        COOKIE,
        state,
        max_age=COOKIE_S,
        path=COOKIE_PATH,
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )
    return response


@router.get("/session/oidc/callback", response_class=RedirectResponse, responses=REDIRECT)
def come_from_provider(
    request: Request, studio: TheState, state: Text = "", code: Text = "", error: Text = ""
) -> RedirectResponse:
    """Sign in whom the provider sends back."""
    client = _client(studio)
    begun = request.cookies.get(COOKIE, "")
    if not begun or not hmac.compare_digest(begun.encode(), state.encode(errors="replace")):
        return _back("ended")
    request.state.user_id = None
    if error or not code:
        logger.info("single sign-on: the provider says %r", error[:100])
        return _back("refused")
    try:
        found = client.finish(state, code)
        user = user_of_identity(
            studio.store,
            issuer=found.issuer,
            subject=found.subject,
            name=found.name,
            role=found.role,
        )
        token, _ = open_sign_in(studio.store, user.id, idle_s=studio.config.idle_s)
    except SamkitError as failure:
        logger.warning("single sign-on: %s", failure)
        return _back(_reason(failure))
    request.state.user_id = user.id
    response = RedirectResponse("/", SEE_OTHER)
    give_cookie(request, response, studio.config, token)
    response.delete_cookie(COOKIE, path=COOKIE_PATH)
    return response


def _client(studio: ServerState) -> OidcClient:
    if studio.oidc is None:
        raise HTTPException(404, "this server has no single sign-on")
    return studio.oidc


def _reason(failure: SamkitError) -> str:
    """A word for the page, which knows what to say."""
    if isinstance(failure, ConflictError):
        return "taken"
    return "role" if isinstance(failure, RoleError) else "failed"


def _back(reason: str) -> RedirectResponse:
    return RedirectResponse(f"/?sign-in={reason}", SEE_OTHER)
