"""Masks of a video that models may learn from.

Videos that were finished before teach, too, but count as new when they are submitted or judged
again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:  # noqa: D103
    op.add_column(
        "videos", sa.Column("num_verified", sa.Integer(), nullable=False, server_default="0")
    )
