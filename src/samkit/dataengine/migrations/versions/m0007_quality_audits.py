"""Quality audits: samples of images whose automatic masks people correct."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:  # noqa: D103
    op.create_table(
        "quality_audits",
        sa.Column("id", KEY, nullable=False),
        sa.Column("project_id", KEY, nullable=False),
        sa.Column("user_id", KEY, nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("num_untouched", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        _refers("quality_audits", "project_id", "projects"),
        _refers("quality_audits", "user_id", "users"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quality_audits")),
    )
    op.create_table(
        "quality_audit_images",
        sa.Column("image_id", KEY, autoincrement=False, nullable=False),
        sa.Column("project_id", KEY, nullable=False),
        sa.Column("audit_id", KEY, nullable=False),
        _refers("quality_audit_images", "image_id", "images"),
        _refers("quality_audit_images", "project_id", "projects"),
        _refers("quality_audit_images", "audit_id", "quality_audits"),
        sa.PrimaryKeyConstraint("image_id", name=op.f("pk_quality_audit_images")),
    )
    op.create_table(
        "quality_audit_masks",
        sa.Column("annotation_id", KEY, autoincrement=False, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        _refers("quality_audit_masks", "annotation_id", "annotations"),
        sa.PrimaryKeyConstraint("annotation_id", name=op.f("pk_quality_audit_masks")),
    )
    for table, columns in (
        ("quality_audits", ["project_id", "id"]),
        ("quality_audit_images", ["project_id", "image_id"]),
        ("quality_audit_images", ["audit_id", "image_id"]),
    ):
        op.create_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table, columns)


def _refers(table: str, column: str, other: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{other}.id"], name=op.f(f"fk_{table}_{column}"))
