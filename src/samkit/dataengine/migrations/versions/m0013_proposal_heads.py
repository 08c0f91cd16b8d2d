"""Proposal heads that projects' masks have taught."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0011"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:  # noqa: D103
    op.create_table(
        "proposal_heads",
        sa.Column("project_id", KEY, autoincrement=False, nullable=False),
        sa.Column("encoder_checksum", sa.String(length=64), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("num_finished", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_proposal_heads_project_id")
        ),
        sa.PrimaryKeyConstraint("project_id", "encoder_checksum", name=op.f("pk_proposal_heads")),
    )
