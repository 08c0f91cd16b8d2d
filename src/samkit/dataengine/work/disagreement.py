"""Agreement between people who annotated the same image independently."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from pycocotools import mask as coco_mask
from sqlalchemy import func, select

from samkit.dataengine.database import Store
from samkit.dataengine.rows import check_limit
from samkit.dataengine.schema import SubmissionRow
from samkit.dataengine.values import Annotation, Page
from samkit.dataengine.work.annotation_queries import list_annotations
from samkit.errors import StoreError


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Two people's masks of one image, matched one to one.

    Attributes:
        user_ids: the two people, the lower id first.
        ious: IoU of each matched pair, highest first.
        num_unmatched: number of each person's masks without a match.
    """

    image_id: int
    user_ids: tuple[int, int]
    ious: tuple[float, ...]
    num_unmatched: tuple[int, int]

    @property
    def mean_iou(self) -> float:
        """Mean IoU over matched pairs and unmatched masks (0 each); 1 without masks."""
        count = len(self.ious) + sum(self.num_unmatched)
        return sum(self.ious) / count if count else 1.0


def list_doubly_annotated(
    store: Store, project_id: int, *, after: int = 0, limit: int = 100
) -> Page[int]:
    """List ids of images that at least two people have submitted."""
    if after < 0:
        raise StoreError(f"after must not be negative; got {after}")
    query = (
        select(SubmissionRow.image_id)
        .where(SubmissionRow.project_id == project_id, SubmissionRow.image_id > after)
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
    """Compare each pair of people who have submitted an image.

    Raises:
        StoreError: no such image.
    """
    query = select(SubmissionRow.user_id).where(SubmissionRow.image_id == image_id)
    with store.read() as session:
        people = sorted(session.scalars(query))
    masks = list_annotations(store, image_id)
    by_user = {user: [one for one in masks if one.user_id == user] for user in people}
    return tuple(
        _compare(image_id, (one, other), by_user[one], by_user[other])
        for one, other in combinations(people, 2)
    )


def _compare(
    image_id: int,
    user_ids: tuple[int, int],
    ours: Sequence[Annotation],
    theirs: Sequence[Annotation],
) -> Agreement:
    """Match masks greedily, highest IoU first."""
    ious: list[float] = []
    if ours and theirs:
        table = coco_mask.iou(
            [one.rle for one in ours], [one.rle for one in theirs], [0] * len(theirs)
        )
        while table.max() > 0:
            row, column = np.unravel_index(table.argmax(), table.shape)
            ious.append(float(table[row, column]))
            table[row, :] = table[:, column] = 0
    return Agreement(
        image_id=image_id,
        user_ids=user_ids,
        ious=tuple(ious),
        num_unmatched=(len(ours) - len(ious), len(theirs) - len(ious)),
    )
