"""Comments on images, pinned to a place or a mask."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:  # noqa: D103
    op.add_column(
        "images",
        sa.Column("num_open_comments", sa.Integer(), nullable=False, server_default="0"),
    )
    op.create_table(
        "comments",
        sa.Column("id", KEY, nullable=False),
        sa.Column("project_id", KEY, nullable=False),
        sa.Column("image_id", KEY, nullable=False),
        sa.Column("annotation_id", KEY, nullable=True),
        sa.Column("parent_id", KEY, nullable=True),
        sa.Column("user_id", KEY, nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("x", sa.Double(), nullable=True),
        sa.Column("y", sa.Double(), nullable=True),
        sa.Column("resolved", sa.Boolean(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        _refers("project_id", "projects"),
        _refers("image_id", "images"),
        _refers("annotation_id", "annotations"),
        _refers("parent_id", "comments"),
        _refers("user_id", "users"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_comments")),
    )
    for table, columns in (
        ("comments", ["image_id", "id"]),
        ("images", ["project_id", "num_open_comments", "id"]),
    ):
        op.create_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table, columns)


def _refers(column: str, other: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{other}.id"], name=op.f(f"fk_comments_{column}"))
