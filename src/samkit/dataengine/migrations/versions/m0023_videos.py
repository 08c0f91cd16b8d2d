"""Videos, their tracks, and tracks in frames."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:  # noqa: D103
    op.create_table(
        "videos",
        sa.Column("id", KEY, nullable=False),
        sa.Column("project_id", KEY, nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("num_bytes", sa.BigInteger(), nullable=False),
        sa.Column("modified_ns", sa.BigInteger(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("num_frames", sa.Integer(), nullable=False),
        sa.Column("rate", sa.Double(), nullable=True),
        sa.Column("value_range", sa.String(length=80), nullable=False),
        sa.Column("times", sa.LargeBinary(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("added_at", sa.BigInteger(), nullable=False),
        sa.Column("lease_user_id", KEY, nullable=True),
        sa.Column("lease_expires_at", sa.BigInteger(), nullable=True),
        _refers("videos", "project_id", "projects"),
        _refers("videos", "lease_user_id", "users"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_videos")),
        sa.UniqueConstraint("project_id", "path", name=op.f("uq_videos_project_id_path")),
    )
    op.create_table(
        "tracks",
        sa.Column("id", KEY, nullable=False),
        sa.Column("video_id", KEY, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("class_id", KEY, nullable=True),
        sa.Column("attributes", sa.JSON(), nullable=False),
        sa.Column("user_id", KEY, nullable=False),
        sa.Column("request_id", sa.String(length=100), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        _refers("tracks", "video_id", "videos"),
        _refers("tracks", "class_id", "label_classes"),
        _refers("tracks", "user_id", "users"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tracks")),
        sa.UniqueConstraint("video_id", "number", name=op.f("uq_tracks_video_id_number")),
        sa.UniqueConstraint("video_id", "request_id", name=op.f("uq_tracks_video_id_request_id")),
    )
    op.create_index(op.f("ix_tracks_class_id"), "tracks", ["class_id"])
    op.create_table(
        "track_frames",
        sa.Column("track_id", KEY, autoincrement=False, nullable=False),
        sa.Column("frame", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("counts", sa.Text(), nullable=False),
        sa.Column("area_px", sa.Integer(), nullable=False),
        sa.Column("score", sa.Double(), nullable=True),
        sa.Column("source", sa.Integer(), nullable=True),
        sa.Column("prompts", sa.JSON(), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        _refers("track_frames", "track_id", "tracks"),
        sa.PrimaryKeyConstraint("track_id", "frame", name=op.f("pk_track_frames")),
    )


def _refers(table: str, column: str, other: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{column}")
    return sa.ForeignKeyConstraint([column], [f"{other}.id"], name=name)
