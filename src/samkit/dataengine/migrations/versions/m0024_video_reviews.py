"""Reviews of videos, and the work that people have put into them."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:  # noqa: D103
    for column in (
        sa.Column("review", sa.String(length=20), nullable=False, server_default="none"),
        sa.Column("comment", sa.Text(), nullable=False, server_default=""),
        sa.Column("num_clicks", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("duration_ms", sa.BigInteger(), nullable=False, server_default="0"),
    ):
        op.add_column("videos", column)
    op.create_table(
        "video_reviews",
        sa.Column("id", KEY, nullable=False),
        sa.Column("video_id", KEY, nullable=False),
        sa.Column("user_id", KEY, nullable=False),
        sa.Column("verdict", sa.String(length=20), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        _refers("video_id", "videos"),
        _refers("user_id", "users"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_video_reviews")),
    )
    for table, columns in (
        ("video_reviews", ["video_id", "id"]),
        ("track_frames", ["track_id", "area_px", "frame"]),
    ):
        op.create_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table, columns)


def _refers(column: str, other: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_video_reviews_{column}")
    return sa.ForeignKeyConstraint([column], [f"{other}.id"], name=name)
