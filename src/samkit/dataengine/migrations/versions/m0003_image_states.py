"""Skipped and unusable images, returns to several people, what submissions and states hold."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# What each submission held, by the time of the masks' states: those of the person's own masks and
# of the masks that all annotators of the image share.
SUBMITTED_MASKS = """
INSERT INTO submission_masks (submission_id, annotation_id, version)
SELECT submissions.id, revisions.annotation_id, MAX(revisions.version)
FROM submissions
JOIN images ON images.id = submissions.image_id
JOIN annotations ON annotations.image_id = submissions.image_id
JOIN revisions ON revisions.annotation_id = annotations.id AND revisions.at <= submissions.at
WHERE annotations.user_id = submissions.user_id
OR annotations.stage <> 'assisted-manual' OR images.num_annotators = 1
GROUP BY submissions.id, revisions.annotation_id
"""
DELETED_MASKS = """
DELETE FROM submission_masks WHERE EXISTS (
SELECT 1 FROM revisions WHERE revisions.annotation_id = submission_masks.annotation_id
AND revisions.version = submission_masks.version AND revisions.deleted)
"""
# Scores were those of the first state, whatever became of the mask.
FIRST_SCORES = """
UPDATE revisions SET
score = (SELECT score FROM annotations WHERE annotations.id = revisions.annotation_id),
stability = (SELECT stability FROM annotations WHERE annotations.id = revisions.annotation_id)
WHERE counts = (SELECT first.counts FROM revisions AS first
WHERE first.annotation_id = revisions.annotation_id AND first.version = 1)
"""
CURRENT_SCORES = """
UPDATE annotations SET score = NULL, stability = NULL WHERE counts <> (
SELECT counts FROM revisions WHERE revisions.annotation_id = annotations.id
AND revisions.version = 1)
"""
RETURNED = """
UPDATE submissions SET returned = {true} WHERE EXISTS (
SELECT 1 FROM images WHERE images.id = submissions.image_id
AND images.returned_to = submissions.user_id)
"""


def upgrade() -> None:  # noqa: D103
    key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    for name, kind, default in (
        ("outcome", sa.String(length=20), "annotated"),
        ("reason", sa.Text(), ""),
        ("returned", sa.Boolean(), sa.false()),
    ):
        op.add_column("submissions", sa.Column(name, kind, nullable=False, server_default=default))
    op.create_index(
        op.f("ix_submissions_user_id_returned_image_id"),
        "submissions",
        ["user_id", "returned", "image_id"],
        unique=False,
    )
    op.create_table(
        "submission_masks",
        sa.Column("submission_id", key, nullable=False),
        sa.Column("annotation_id", key, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["submission_id"], ["submissions.id"], name=op.f("fk_submission_masks_submission_id")
        ),
        sa.ForeignKeyConstraint(
            ["annotation_id"], ["annotations.id"], name=op.f("fk_submission_masks_annotation_id")
        ),
        sa.PrimaryKeyConstraint("submission_id", "annotation_id", name=op.f("pk_submission_masks")),
    )
    op.create_index(
        op.f("ix_submission_masks_annotation_id"), "submission_masks", ["annotation_id"]
    )
    for name in ("score", "stability"):
        op.add_column("revisions", sa.Column(name, sa.Double(), nullable=True))
    true = "1" if op.get_bind().dialect.name == "sqlite" else "TRUE"
    for step in (SUBMITTED_MASKS, DELETED_MASKS, FIRST_SCORES, CURRENT_SCORES):
        op.execute(step)
    op.execute(RETURNED.format(true=true))
    op.execute("UPDATE images SET returned_to = NULL")
    op.drop_index(op.f("ix_images_project_id_returned_to_id"), table_name="images")
