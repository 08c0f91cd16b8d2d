"""Attributes of masks, tags of images, keys of classes, and people's settings of the page."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
OBJECT, LIST = "{}", "[]"


def upgrade() -> None:  # noqa: D103
    for table, name, default in (
        ("projects", "labelling", OBJECT),
        ("annotations", "attributes", OBJECT),
        ("revisions", "attributes", OBJECT),
        ("images", "tags", LIST),
        ("users", "settings", OBJECT),
    ):
        column = sa.Column(name, sa.JSON(), nullable=False, server_default=default)
        op.add_column(table, column)
    op.add_column(
        "label_classes",
        sa.Column("key", sa.String(length=20), nullable=False, server_default=""),
    )
    op.create_table(
        "tag_revisions",
        sa.Column("image_id", KEY, autoincrement=False, nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("change", sa.String(length=10), nullable=False),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("user_id", KEY, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        _refers("image_id", "images"),
        _refers("user_id", "users"),
        sa.PrimaryKeyConstraint("image_id", "version", name=op.f("pk_tag_revisions")),
    )


def _refers(column: str, other: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_tag_revisions_{column}")
    return sa.ForeignKeyConstraint([column], [f"{other}.id"], name=name)
