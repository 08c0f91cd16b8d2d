"""Verdicts of reviewers on single masks."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:  # noqa: D103
    op.add_column("annotations", sa.Column("verdict", sa.String(length=20), nullable=True))
    op.create_table(
        "mask_verdicts",
        sa.Column("id", KEY, nullable=False),
        sa.Column("annotation_id", KEY, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("user_id", KEY, nullable=False),
        sa.Column("verdict", sa.String(length=20), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        _refers("annotation_id", "annotations"),
        _refers("user_id", "users"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mask_verdicts")),
    )
    op.create_index(op.f("ix_mask_verdicts_annotation_id"), "mask_verdicts", ["annotation_id"])


def _refers(column: str, other: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_mask_verdicts_{column}")
    return sa.ForeignKeyConstraint([column], [f"{other}.id"], name=name)
