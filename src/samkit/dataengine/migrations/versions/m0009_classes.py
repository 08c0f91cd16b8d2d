"""Classes with an order, merged and removed classes, and submissions that can be taken back."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:  # noqa: D103
    for column in (
        sa.Column("rank", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("removed", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("merged_into", sa.BigInteger(), nullable=True),
    ):
        op.add_column("label_classes", column)
    column = sa.Column("resubmitted", sa.Boolean(), nullable=False, server_default=sa.false())
    op.add_column("submissions", column)
