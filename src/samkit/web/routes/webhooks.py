"""Routes for webhooks, which admins set up."""

from __future__ import annotations

from samkit.dataengine import (
    Delivery,
    Page,
    Webhook,
    add_webhook,
    delete_webhook,
    get_project,
    list_deliveries,
    list_webhooks,
    set_webhook_active,
    try_webhook,
)
from samkit.web.routing import After, Key, Limit, new_router
from samkit.web.sign_in import Admin
from samkit.web.state import TheState
from samkit.web.team_schemas import NewWebhook, NewWebhookOut, WebhookChange

router = new_router()


@router.get("/projects/{project_id}/webhooks")
def get_webhooks(studio: TheState, _admin: Admin, project_id: Key) -> Page[Webhook]:
    """List a project's webhooks, without their secrets."""
    get_project(studio.store, project_id)
    return Page(items=list_webhooks(studio.store, project_id), next_after=None)


@router.post("/projects/{project_id}/webhooks", status_code=201)
def post_webhook(
    studio: TheState, admin: Admin, project_id: Key, body: NewWebhook
) -> NewWebhookOut:
    """Add a webhook; only this answer has the secret that signs what it gets."""
    secret, webhook = add_webhook(
        studio.store, project_id, url=body.url, events=body.events, user_id=admin.id
    )
    return NewWebhookOut(secret=secret, webhook=webhook)


@router.patch("/webhooks/{webhook_id}")
def patch_webhook(studio: TheState, admin: Admin, webhook_id: Key, body: WebhookChange) -> Webhook:
    """Tell a webhook of events or not."""
    return set_webhook_active(studio.store, webhook_id, body.active, user_id=admin.id)


@router.delete("/webhooks/{webhook_id}", status_code=204)
def drop_webhook(studio: TheState, admin: Admin, webhook_id: Key) -> None:
    """Delete a webhook, with what waits for it."""
    delete_webhook(studio.store, webhook_id, user_id=admin.id)


@router.post("/webhooks/{webhook_id}/test", status_code=202)
def post_test(studio: TheState, admin: Admin, webhook_id: Key) -> Delivery:
    """Send a webhook an event webhook.test, within some seconds."""
    return try_webhook(studio.store, webhook_id, user_id=admin.id)


@router.get("/webhooks/{webhook_id}/deliveries")
def get_deliveries(
    studio: TheState, _admin: Admin, webhook_id: Key, after: After = 0, limit: Limit = 100
) -> Page[Delivery]:
    """List what a webhook was and will be told, newest first."""
    return list_deliveries(studio.store, webhook_id, after=after, limit=limit)
