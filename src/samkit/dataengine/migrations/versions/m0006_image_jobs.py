"""Which run does which image of a job, and which images have failed."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:  # noqa: D103
    op.create_table(
        "image_jobs",
        sa.Column("image_id", KEY, autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=50), nullable=False),
        sa.Column("run", sa.String(length=300), nullable=False),
        sa.Column("lease_expires_at", sa.BigInteger(), nullable=True),
        sa.Column("num_lost", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("failed_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name=op.f("fk_image_jobs_image_id")),
        sa.PrimaryKeyConstraint("image_id", "kind", name=op.f("pk_image_jobs")),
    )
    op.create_index(op.f("ix_image_jobs_kind_run"), "image_jobs", ["kind", "run"])
