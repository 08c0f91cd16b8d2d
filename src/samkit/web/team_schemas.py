"""Bodies of requests and answers about teams; see `samkit.web.schemas`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from samkit.dataengine import (
    ApiToken,
    HoneyPot,
    HoneyScore,
    Priority,
    Role,
    User,
    Webhook,
    WebhookEvent,
)
from samkit.web.schemas import MAX_AT_ONCE, MAX_PEOPLE, ImageOut, Key, Model, Pair

SomePeople = Annotated[list[Key], Field(max_length=MAX_PEOPLE)]


class MembersIn(Model):
    """The members of a project; null for everybody."""

    user_ids: SomePeople | None


class MembersOut(Model):
    """Who may work on a project; see `samkit.dataengine.Members`."""

    everybody: bool
    people: list[User]
    user_ids: list[int]


class Assign(Model):
    """What to set on several images; null leaves it as it is.

    With `deal`, each image goes to one of the people, in turn, instead of to all of them.
    """

    image_ids: Annotated[list[Key], Field(min_length=1, max_length=MAX_AT_ONCE)]
    user_ids: SomePeople | None = None
    deal: bool = False
    priority: Priority | None = None
    batch: Annotated[str, Field(max_length=100)] | None = None


class AssignedOut(Model):
    images: list[ImageOut]


class HeldImage(Model):
    image_id: int
    path: str
    user_id: int
    user_name: str
    expires_at: datetime


class Person(Model):
    user_id: int
    user_name: str


# --- Comments ---


class NewComment(Model):
    """Pinned to a place `xy` in pixels, to a mask, to both, or to neither."""

    text: str
    xy: Annotated[list[float], Pair] | None = None
    annotation_id: Key | None = None


class Answer(Model):
    text: str


class Resolved(Model):
    resolved: bool


class CommentOut(Model):
    id: int
    user_id: int
    user_name: str
    text: str
    at: datetime


class ThreadOut(Model):
    """A comment and the answers to it; `id` is that of the first one."""

    id: int
    image_id: int
    annotation_id: int | None
    xy: Annotated[list[float], Pair] | None
    resolved: bool
    comments: list[CommentOut]


# --- Honey pots ---


class SomeImages(Model):
    image_ids: Annotated[list[Key], Field(min_length=1, max_length=MAX_AT_ONCE)]


class HoneyPotEvery(Model):
    """Of so many images, one that each annotator gets is a honey pot."""

    every: Annotated[int, Field(ge=2, le=1000)]


class HoneyPerson(Model):
    """What one person's submissions of honey pots are worth: sums, and the mean over images."""

    user_id: int
    user_name: str
    num_images: int
    mean_iou: float
    num_found: int
    num_missed: int
    num_extra: int


class HoneyPotsOut(Model):
    every: int
    images: list[HoneyPot]
    scores: list[HoneyScore]
    people: list[HoneyPerson]


# --- API tokens ---


class NewToken(Model):
    """The role is at most one's own, which null stands for; without `days` it does not expire."""

    name: str
    role: Role | None = None
    days: Annotated[int, Field(ge=1, le=3650)] | None = None


class NewTokenOut(Model):
    secret: str
    token: ApiToken


# --- Webhooks ---


class NewWebhook(Model):
    url: Annotated[str, Field(min_length=1, max_length=2000)]
    events: Annotated[list[WebhookEvent], Field(min_length=1)]


class NewWebhookOut(Model):
    secret: str
    webhook: Webhook


class WebhookChange(Model):
    active: bool


# --- Single sign-on ---


class SignInMethods(Model):
    """How people sign in; `provider` is the label of single sign-on, null without."""

    password: bool
    provider: str | None
