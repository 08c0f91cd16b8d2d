"""Indexes for searching images by class, person and number of masks."""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

INDEXES = (
    ("images", ["project_id", "num_masks", "id"]),
    ("annotations", ["class_id", "deleted", "project_id", "image_id"]),
    ("annotations", ["user_id", "deleted", "project_id", "image_id"]),
)


def upgrade() -> None:  # noqa: D103
    for table, columns in INDEXES:
        op.create_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table, columns)
