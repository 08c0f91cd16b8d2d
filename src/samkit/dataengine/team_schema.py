"""Database tables of teams: who works on which project, on what, and what they say about it."""

from datetime import datetime

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from samkit.dataengine.schema import KEY, Base, UtcTime


class MemberRow(Base):
    """Somebody who may see and work on a project that is for members only."""

    __tablename__ = "members"
    __table_args__ = (Index(None, "user_id"),)

    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)


class AssignmentRow(Base):
    """An image that is for a person, and not for those whom it is not assigned to."""

    __tablename__ = "assignments"
    __table_args__ = (Index(None, "user_id", "project_id", "image_id"),)

    image_id: Mapped[int] = mapped_column(ForeignKey("images.id"), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"))


class CommentRow(Base):
    """A comment on an image, which begins a thread, or an answer to one, which has a parent."""

    __tablename__ = "comments"
    __table_args__ = (Index(None, "image_id", "id"),)

    id: Mapped[int] = mapped_column(KEY, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"))
    image_id: Mapped[int] = mapped_column(ForeignKey("images.id"))
    annotation_id: Mapped[int | None] = mapped_column(ForeignKey("annotations.id"))
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("comments.id"))
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    text: Mapped[str] = mapped_column(Text)
    x: Mapped[float | None]
    y: Mapped[float | None]
    resolved: Mapped[bool]  # of a thread
    at: Mapped[datetime] = mapped_column(UtcTime)


class MaskVerdictRow(Base):
    """A reviewer's verdict on one state of a mask; all are kept, the latest one holds."""

    __tablename__ = "mask_verdicts"
    __table_args__ = (Index(None, "annotation_id"),)

    id: Mapped[int] = mapped_column(KEY, primary_key=True)
    annotation_id: Mapped[int] = mapped_column(ForeignKey("annotations.id"))
    version: Mapped[int]
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    verdict: Mapped[str | None] = mapped_column(String(20))  # null takes an earlier one back
    at: Mapped[datetime] = mapped_column(UtcTime)


class HoneyPotRow(Base):
    """An image with a known answer, by which annotators are measured until it ends."""

    __tablename__ = "honey_pots"
    __table_args__ = (Index(None, "project_id", "image_id"),)

    image_id: Mapped[int] = mapped_column(
        ForeignKey("images.id"), primary_key=True, autoincrement=False
    )
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"))
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    tags: Mapped[list[str]] = mapped_column(JSON)  # that it had
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcTime)
    # What annotators made of it has numbers above, and up to, these.
    after_submission_id: Mapped[int] = mapped_column(BigInteger)
    after_annotation_id: Mapped[int] = mapped_column(BigInteger)
    until_annotation_id: Mapped[int | None] = mapped_column(BigInteger)


class HoneyPotMaskRow(Base):
    """A mask of a known answer, at the version that it had."""

    __tablename__ = "honey_pot_masks"
    __table_args__ = (Index(None, "image_id"),)

    annotation_id: Mapped[int] = mapped_column(
        ForeignKey("annotations.id"), primary_key=True, autoincrement=False
    )
    image_id: Mapped[int] = mapped_column(ForeignKey("honey_pots.image_id"))
    version: Mapped[int]


class ApiTokenRow(Base):
    """A token by which a program acts as a person."""

    __tablename__ = "api_tokens"
    __table_args__ = (Index(None, "user_id"),)

    id: Mapped[int] = mapped_column(KEY, primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    name: Mapped[str] = mapped_column(String(100))
    role: Mapped[str] = mapped_column(String(20))  # at most; the owner's may be lower
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcTime)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcTime)
    revoked: Mapped[bool]


class WebhookRow(Base):
    """An address that is told of a project's events."""

    __tablename__ = "webhooks"
    __table_args__ = (Index(None, "project_id", "id"),)

    id: Mapped[int] = mapped_column(KEY, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"))
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    url: Mapped[str] = mapped_column(Text)
    secret: Mapped[str] = mapped_column(String(100))  # that signs; the receiver has it, too
    events: Mapped[list[str]] = mapped_column(JSON)
    active: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(UtcTime)


class DeliveryRow(Base):
    """An event that is to be delivered to a webhook: written with what it tells of."""

    __tablename__ = "deliveries"
    __table_args__ = (Index(None, "next_try_at", "id"), Index(None, "webhook_id", "id"))

    id: Mapped[int] = mapped_column(KEY, primary_key=True)
    webhook_id: Mapped[int] = mapped_column(ForeignKey("webhooks.id"))
    event: Mapped[str] = mapped_column(String(50))
    body: Mapped[str] = mapped_column(Text)
    attempts: Mapped[int]
    next_try_at: Mapped[datetime | None] = mapped_column(UtcTime)  # null: delivered or given up
    delivered_at: Mapped[datetime | None] = mapped_column(UtcTime)
    error: Mapped[str] = mapped_column(String(500))  # of the latest attempt
    created_at: Mapped[datetime] = mapped_column(UtcTime)


class IdentityRow(Base):
    """Whom a provider of single sign-on knows by a subject."""

    __tablename__ = "identities"
    __table_args__ = (Index(None, "user_id"),)

    issuer: Mapped[str] = mapped_column(String(300), primary_key=True)
    subject: Mapped[str] = mapped_column(String(255), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
