"""Learned confidences, the images that people get next, and how long people looked at images."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:  # noqa: D103
    for column in (
        sa.Column("stage", sa.String(length=20), nullable=False, server_default="assisted-manual"),
        sa.Column("duration_ms", sa.BigInteger(), nullable=False, server_default="0"),
    ):
        op.add_column("submissions", column)
    columns = ["project_id", "at", "user_id", "stage", "duration_ms"]
    op.create_index(op.f(f"ix_submissions_{'_'.join(columns)}"), "submissions", columns)
    op.create_table(
        "confidences",
        sa.Column("project_id", KEY, autoincrement=False, nullable=False),
        sa.Column("model_version_id", KEY, autoincrement=False, nullable=False),
        sa.Column("target_precision", sa.Double(), nullable=False),
        sa.Column("num_finished", sa.Integer(), nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        _refers("confidences", "project_id", "projects"),
        _refers("confidences", "model_version_id", "model_versions"),
        sa.PrimaryKeyConstraint("project_id", "model_version_id", name=op.f("pk_confidences")),
    )
    op.create_table(
        "next_images",
        sa.Column("image_id", KEY, autoincrement=False, nullable=False),
        sa.Column("project_id", KEY, nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        _refers("next_images", "image_id", "images"),
        _refers("next_images", "project_id", "projects"),
        sa.PrimaryKeyConstraint("image_id", name=op.f("pk_next_images")),
    )
    op.create_index(op.f("ix_next_images_project_id_rank"), "next_images", ["project_id", "rank"])


def _refers(table: str, column: str, other: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{other}.id"], name=op.f(f"fk_{table}_{column}"))
