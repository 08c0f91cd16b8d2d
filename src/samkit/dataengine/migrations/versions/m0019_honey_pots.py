"""Honey pots: images with known answers, by which annotators are measured."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:  # noqa: D103
    op.add_column(
        "projects",
        sa.Column("honey_pot_every", sa.Integer(), nullable=False, server_default="10"),
    )
    op.add_column(
        "images",
        sa.Column("honey_pot", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    op.create_table(
        "honey_pots",
        sa.Column("image_id", KEY, autoincrement=False, nullable=False),
        sa.Column("project_id", KEY, nullable=False),
        sa.Column("user_id", KEY, nullable=False),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("after_submission_id", sa.BigInteger(), nullable=False),
        sa.Column("after_annotation_id", sa.BigInteger(), nullable=False),
        sa.Column("until_annotation_id", sa.BigInteger(), nullable=True),
        _refers("honey_pots", "image_id", "images"),
        _refers("honey_pots", "project_id", "projects"),
        _refers("honey_pots", "user_id", "users"),
        sa.PrimaryKeyConstraint("image_id", name=op.f("pk_honey_pots")),
    )
    op.create_table(
        "honey_pot_masks",
        sa.Column("annotation_id", KEY, autoincrement=False, nullable=False),
        sa.Column("image_id", KEY, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        _refers("honey_pot_masks", "annotation_id", "annotations"),
        _refers("honey_pot_masks", "image_id", "honey_pots", "image_id"),
        sa.PrimaryKeyConstraint("annotation_id", name=op.f("pk_honey_pot_masks")),
    )
    for table, columns in (
        ("honey_pots", ["project_id", "image_id"]),
        ("honey_pot_masks", ["image_id"]),
    ):
        op.create_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table, columns)


def _refers(table: str, column: str, other: str, key: str = "id") -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{column}")
    return sa.ForeignKeyConstraint([column], [f"{other}.{key}"], name=name)
