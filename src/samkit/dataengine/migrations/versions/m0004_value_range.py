"""Which values of a project's images become black and white; its images have a copy.

Those that are there keep the range in which they were seen until now, "full", so that nobody finds
their images changed and the embeddings computed from them stay valid.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:  # noqa: D103
    for table in ("projects", "images"):
        column = sa.Column(
            "value_range", sa.String(length=80), nullable=False, server_default="auto"
        )
        op.add_column(table, column)
        op.execute(sa.update(sa.table(table, sa.column("value_range"))).values(value_range="full"))
