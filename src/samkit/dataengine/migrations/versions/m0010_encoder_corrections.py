"""Learned versions with an image encoder of their own."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:  # noqa: D103
    op.add_column(
        "learned_models",
        sa.Column("learns", sa.String(length=20), nullable=False, server_default="decoder"),
    )
    op.add_column(
        "decoders",
        sa.Column("encoder_checksum", sa.String(length=64), nullable=False, server_default=""),
    )
