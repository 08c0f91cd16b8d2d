"""Assignments of images to people, their priorities and batches."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:  # noqa: D103
    op.add_column("images", sa.Column("priority", sa.Integer(), nullable=False, server_default="2"))
    op.add_column(
        "images", sa.Column("batch", sa.String(length=100), nullable=False, server_default="")
    )
    op.create_table(
        "assignments",
        sa.Column("image_id", KEY, nullable=False),
        sa.Column("user_id", KEY, nullable=False),
        sa.Column("project_id", KEY, nullable=False),
        _refers("image_id", "images"),
        _refers("user_id", "users"),
        _refers("project_id", "projects"),
        sa.PrimaryKeyConstraint("image_id", "user_id", name=op.f("pk_assignments")),
    )
    op.drop_index(op.f("ix_images_project_id_open_id"), "images")
    for table, columns in (
        ("images", ["project_id", "open", "priority", "id"]),
        ("images", ["project_id", "batch", "id"]),
        ("assignments", ["user_id", "project_id", "image_id"]),
    ):
        op.create_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table, columns)


def _refers(column: str, other: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_assignments_{column}")
    return sa.ForeignKeyConstraint([column], [f"{other}.id"], name=name)
