"""Agreement between people who annotated the same image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from pycocotools import mask as coco_mask
from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session

from samkit.dataengine.database import Store
from samkit.dataengine.rows import check_limit, find
from samkit.dataengine.schema import ImageRow, RevisionRow, SubmissionMaskRow, SubmissionRow
from samkit.dataengine.team_schema import HoneyPotRow
from samkit.dataengine.values import Page
from samkit.dataengine.work.submissions import submissions
from samkit.errors import StoreError
from samkit.geometry import Rle


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Two people's submissions of one image, their masks matched one to one.

    Attributes:
        user_ids: the two people, the lower id first.
        ious: IoU of each matched pair, highest first.
        num_unmatched: number of each person's masks without a match.
        num_same_class: pairs to which both gave one class, or none.
    """

    image_id: int
    user_ids: tuple[int, int]
    ious: tuple[float, ...]
    num_unmatched: tuple[int, int]
    num_same_class: int

    @property
    def mean_iou(self) -> float:
        """Mean IoU over matched pairs and unmatched masks (0 each); 1 without masks."""
        count = len(self.ious) + sum(self.num_unmatched)
        return sum(self.ious) / count if count else 1.0


def list_doubly_annotated(
    store: Store, project_id: int, *, after: int = 0, limit: int = 100
) -> Page[int]:
    """List ids of images that at least two people have submitted, without honey pots."""
    if after < 0:
        raise StoreError(f"after must not be negative; got {after}")
    query = (
        select(SubmissionRow.image_id)
        .where(SubmissionRow.project_id == project_id, SubmissionRow.image_id > after)
        .where(SubmissionRow.outcome == "annotated")
        .where(SubmissionRow.image_id.not_in(select(HoneyPotRow.image_id)))
        .group_by(SubmissionRow.image_id)
        .having(func.count() > 1)
        .order_by(SubmissionRow.image_id)
        .limit(check_limit(limit))
    )
    with store.read() as session:
        found = session.scalars(query).all()
    more = len(found) > limit
    return Page(items=tuple(found[:limit]), next_after=found[limit - 1] if more else None)


def measure_agreement(store: Store, image_id: int) -> tuple[Agreement, ...]:
    """Compare what each pair of people submitted, whatever has become of the masks since.

    A submission holds its person's own masks and those that all annotators of the image share,
    such as prelabelled ones.

    Raises:
        StoreError: no such image.
    """
    with store.read() as session:
        image = find(session, ImageRow, image_id, "image")
        size = [image.height, image.width]
        found = [one for one in submissions(session, image_id) if one.outcome == "annotated"]
        rows = {one.user_id: _submitted(session, one.id) for one in found}
    masks = {user: _masks(own, size) for user, own in rows.items()}
    classes = {user: [class_id for _, class_id in own] for user, own in rows.items()}
    return tuple(
        _compare(image_id, (one, other), masks, classes)
        for one, other in combinations(sorted(masks), 2)
    )


def submitted_masks(session: Session, submission_id: int, size: list[int]) -> list[Rle]:
    """Return the masks that a submission holds, as they were when it was made."""
    return _masks(_submitted(session, submission_id), size)


def _submitted(session: Session, submission_id: int) -> list[tuple[str, int | None]]:
    """Run lengths and class of each mask that a submission holds."""
    at_version = and_(
        RevisionRow.annotation_id == SubmissionMaskRow.annotation_id,
        RevisionRow.version == SubmissionMaskRow.version,
    )
    query = select(RevisionRow.counts, RevisionRow.class_id).join(SubmissionMaskRow, at_version)
    query = query.where(SubmissionMaskRow.submission_id == submission_id)
    rows = session.execute(query.order_by(RevisionRow.annotation_id))
    return [(counts, class_id) for counts, class_id in rows]


def _masks(rows: Sequence[tuple[str, int | None]], size: list[int]) -> list[Rle]:
    return [{"size": size, "counts": counts} for counts, _ in rows]


def _compare(
    image_id: int,
    user_ids: tuple[int, int],
    masks: Mapping[int, Sequence[Rle]],
    classes: Mapping[int, Sequence[int | None]],
) -> Agreement:
    one, other = user_ids
    pairs = match_masks(masks[one], masks[other])
    return Agreement(
        image_id=image_id,
        user_ids=user_ids,
        ious=tuple(iou for *_, iou in pairs),
        num_unmatched=(len(masks[one]) - len(pairs), len(masks[other]) - len(pairs)),
        num_same_class=sum(classes[one][a] == classes[other][b] for a, b, _ in pairs),
    )


def match_masks(ours: Sequence[Rle], theirs: Sequence[Rle]) -> list[tuple[int, int, float]]:
    """Match masks one to one, greedily; return both indices and the IoU, the highest first."""
    pairs: list[tuple[int, int, float]] = []
    if ours and theirs:
        table = coco_mask.iou(ours, theirs, [0] * len(theirs))
        while table.max() > 0:
            row, column = np.unravel_index(table.argmax(), table.shape)
            pairs.append((int(row), int(column), float(table[row, column])))
            table[row, :] = table[:, column] = 0
    return pairs
