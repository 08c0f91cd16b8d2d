"""Routes for API tokens: everybody has their own, admins see and revoke those of others."""

from __future__ import annotations

from samkit.dataengine import ApiToken, Page, create_token, list_tokens, revoke_token
from samkit.web.routing import Key, new_router
from samkit.web.sign_in import Admin, PageSignIn
from samkit.web.state import TheState
from samkit.web.team_schemas import NewToken, NewTokenOut

router = new_router()


@router.get("/session/tokens")
def get_tokens(studio: TheState, current: PageSignIn) -> Page[ApiToken]:
    """List one's own API tokens, without their secrets."""
    return Page(items=list_tokens(studio.store, current.user.id), next_after=None)


@router.post("/session/tokens", status_code=201)
def post_token(studio: TheState, current: PageSignIn, body: NewToken) -> NewTokenOut:
    """Make an API token; only this answer has its secret."""
    secret, token = create_token(
        studio.store, current.user.id, name=body.name, role=body.role, days=body.days
    )
    return NewTokenOut(secret=secret, token=token)


@router.post("/tokens/{token_id}/revoke")
def post_revoke(studio: TheState, current: PageSignIn, token_id: Key) -> ApiToken:
    """Revoke an API token of one's own; admins revoke any."""
    return revoke_token(studio.store, token_id, user_id=current.user.id)


@router.get("/users/{user_id}/tokens")
def get_tokens_of(studio: TheState, _admin: Admin, user_id: Key) -> Page[ApiToken]:
    """List the API tokens of a user, without their secrets."""
    return Page(items=list_tokens(studio.store, user_id), next_after=None)
