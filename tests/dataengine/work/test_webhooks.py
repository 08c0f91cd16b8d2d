"""Webhooks: what is told of, in the transaction in which it happens, and tried until it arrives."""

import json

import pytest

from samkit.dataengine import (
    WEBHOOK_EVENTS,
    accept_image,
    add_comment,
    add_learned_model,
    add_model_version,
    add_webhook,
    delete_project,
    delete_webhook,
    finish_delivery,
    list_deliveries,
    list_webhooks,
    reopen_image,
    report_unusable,
    return_image,
    set_webhook_active,
    skip_image,
    submit_image,
    take_delivery,
    try_webhook,
)
from samkit.errors import RoleError, StoreError

URL = "https://hooks.example.org/samkit?team=1"


@pytest.fixture
def hook(scene):
    _, made = add_webhook(
        scene.store, scene.project.id, url=URL, events=WEBHOOK_EVENTS, user_id=scene.adm
    )
    return made


def told(scene, hook):
    """Events with what they say, oldest first."""
    items = reversed(list_deliveries(scene.store, hook.id).items)
    return [(one.event, json.loads(one.body)) for one in items]


def test_each_state_is_told(scene, hook):
    store, first = scene.store, scene.hold(scene.ann)
    image = submit_image(store, first, scene.ann)
    image = return_image(store, first, scene.rev, version=image.version, comment="more")
    scene.hold(scene.ann)
    image = submit_image(store, first, scene.ann)
    accept_image(store, first, scene.rev, version=image.version)
    second = scene.hold(scene.ann, 1)
    skip_image(store, second, scene.ann, reason="hard")
    third = scene.hold(scene.ann, 2)
    unusable = report_unusable(store, third, scene.ann, reason="black")
    reopen_image(store, third, scene.rev, version=unusable.version)
    add_comment(store, first, scene.rev, "well done")
    parent = add_model_version(store, name="m", checksum="0" * 64, path="").id
    add_learned_model(
        store,
        scene.project.id,
        name="cells 2",
        checksum="1" * 64,
        parent_id=parent,
        decoder=None,
        num_images=1,
        num_masks=2,
        num_finished=3,
        reason="worse",
        figures={},
    )
    found = told(scene, hook)
    assert [event for event, _ in found] == [
        "image.submitted",
        "image.returned",
        "image.submitted",
        "image.accepted",
        "image.skipped",
        "image.unusable",
        "image.reopened",
        "comment.added",
        "model.learned",
    ]
    bodies = [body for _, body in found]
    assert [one["type"] for one in bodies] == [event for event, _ in found]
    returned = bodies[1]["data"]
    assert (returned["path"], returned["review"], returned["comment"], returned["to"]) == (
        "a.png",
        "returned",
        "more",
        ["ann"],
    )
    assert (returned["user"], returned["project"]) == ("rev", "cells")
    assert bodies[7]["data"]["text"] == "well done"
    assert (bodies[8]["data"]["verdict"], bodies[8]["data"]["reason"]) == ("rejected", "worse")


def test_nothing_is_told_that_has_not_happened(scene, hook, refusal):
    image_id = scene.hold(scene.ann)
    image = submit_image(scene.store, image_id, scene.ann)
    with refusal(StoreError, "a comment must have"):
        return_image(scene.store, image_id, scene.rev, version=image.version, comment="")
    with refusal(StoreError, "has no mask 999"):
        accept_image(scene.store, image_id, scene.rev, version=image.version, masks=[999])
    assert [event for event, _ in told(scene, hook)] == ["image.submitted"]


def test_it_is_tried_until_it_arrives(scene, hook, clock):
    store = scene.store
    try_webhook(store, hook.id, user_id=scene.adm)
    try_webhook(store, hook.id, user_id=scene.adm)
    due = take_delivery(store)
    assert (due.url, due.delivery.event, due.delivery.attempts) == (URL, "webhook.test", 1)
    # Whoever took it is killed: it is due again in ten seconds. The other one is due now.
    other = take_delivery(store)
    assert other.delivery.id == due.delivery.id + 1
    assert take_delivery(store) is None
    clock.advance(seconds=10)
    again = take_delivery(store)
    assert (again.delivery.id, again.delivery.attempts) == (due.delivery.id, 2)
    # A receiver that fails is left alone.
    finish_delivery(store, due.delivery.id, error="answered 500")
    assert take_delivery(store) is None
    clock.advance(seconds=60)
    delivered = take_delivery(store).delivery
    finish_delivery(store, delivered.id)
    rest = take_delivery(store).delivery
    states = {one.id: one for one in list_deliveries(store, hook.id).items}
    assert states[delivered.id].delivered_at == clock.now
    assert (states[delivered.id].error, states[delivered.id].next_try_at) == ("", None)
    assert states[rest.id].error == "no answer yet"


def test_it_is_given_up_after_a_day_and_a_half(scene, hook, clock):
    try_webhook(scene.store, hook.id, user_id=scene.adm)
    finish_delivery(scene.store, take_delivery(scene.store).delivery.id, error="refused")
    for wait_s in (10, 60, 300, 1800, 7200, 21_600, 86_400):
        clock.advance(seconds=wait_s - 1)
        assert take_delivery(scene.store) is None
        clock.advance(seconds=1)
        due = take_delivery(scene.store)
        finish_delivery(scene.store, due.delivery.id, error="refused")
    clock.advance(days=3)
    assert take_delivery(scene.store) is None
    (given_up,) = list_deliveries(scene.store, hook.id).items
    assert (given_up.attempts, given_up.next_try_at) == (8, None)
    clock.advance(days=31)
    try_webhook(scene.store, hook.id, user_id=scene.adm)
    finish_delivery(scene.store, take_delivery(scene.store).delivery.id)
    assert [one.attempts for one in list_deliveries(scene.store, hook.id).items] == [1]


def test_webhooks_are_the_admins(scene, hook, refusal):
    store = scene.store
    assert list_webhooks(store, scene.project.id) == (hook,)
    with refusal(RoleError, "needs the role admin"):
        add_webhook(store, scene.project.id, url=URL, events=["comment.added"], user_id=scene.rev)
    for url in ("ftp://x/", "https://", "https://u:p@x/", "https://x/#y", "https://x:0/", "x y"):
        with refusal(StoreError, "a webhook's address"):
            add_webhook(
                store, scene.project.id, url=url, events=["comment.added"], user_id=scene.adm
            )
    with refusal(StoreError, "an event must be one of"):
        add_webhook(store, scene.project.id, url=URL, events=["x"], user_id=scene.adm)
    set_webhook_active(store, hook.id, False, user_id=scene.adm)
    add_comment(store, scene.images[0].id, scene.ann, "unheard")
    assert told(scene, hook) == []
    set_webhook_active(store, hook.id, True, user_id=scene.adm)
    add_comment(store, scene.images[0].id, scene.ann, "heard")
    assert len(told(scene, hook)) == 1
    delete_webhook(store, hook.id, user_id=scene.adm)
    assert list_webhooks(store, scene.project.id) == ()
    assert take_delivery(store) is None
    _, second = add_webhook(
        store, scene.project.id, url=URL, events=["comment.added"], user_id=scene.adm
    )
    try_webhook(store, second.id, user_id=scene.adm)
    delete_project(store, scene.project.id)
    assert take_delivery(store) is None
