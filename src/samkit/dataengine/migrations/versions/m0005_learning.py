"""Models that learn from a project's masks: their files, their figures, and which one answers."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:  # noqa: D103
    op.add_column("projects", sa.Column("learning", sa.JSON(), nullable=False, server_default="{}"))
    op.create_table(
        "decoders",
        sa.Column("model_version_id", KEY, autoincrement=False, nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        _refers("decoders", "model_version_id", "model_versions"),
        sa.PrimaryKeyConstraint("model_version_id", name=op.f("pk_decoders")),
    )
    op.create_table(
        "learned_models",
        sa.Column("id", KEY, nullable=False),
        sa.Column("project_id", KEY, nullable=False),
        sa.Column("model_version_id", KEY, nullable=False),
        sa.Column("parent_id", KEY, nullable=False),
        sa.Column("num_images", sa.Integer(), nullable=False),
        sa.Column("num_masks", sa.Integer(), nullable=False),
        sa.Column("num_finished", sa.Integer(), nullable=False),
        sa.Column("verdict", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("figures", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        _refers("learned_models", "project_id", "projects"),
        _refers("learned_models", "model_version_id", "model_versions"),
        _refers("learned_models", "parent_id", "model_versions"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_learned_models")),
    )
    op.create_table(
        "promotions",
        sa.Column("id", KEY, nullable=False),
        sa.Column("project_id", KEY, nullable=False),
        sa.Column("model_version_id", KEY, nullable=False),
        sa.Column("user_id", KEY, nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        _refers("promotions", "project_id", "projects"),
        _refers("promotions", "model_version_id", "model_versions"),
        _refers("promotions", "user_id", "users"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_promotions")),
    )
    for table in ("learned_models", "promotions"):
        op.create_index(op.f(f"ix_{table}_project_id_id"), table, ["project_id", "id"])


def _refers(table: str, column: str, other: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{other}.id"], name=op.f(f"fk_{table}_{column}"))
