"""Statistics: images by review state, masks per image, seconds and clicks per mask."""

from dataclasses import dataclass
from datetime import date
from typing import cast

from sqlalchemy import BigInteger, func, select, type_coerce

from samkit.dataengine.database import Store
from samkit.dataengine.schema import EPOCH, AnnotationRow, ImageRow
from samkit.dataengine.values import REVIEWS, Review, Stage

DAY_US = 24 * 60 * 60 * 1_000_000  # microseconds


@dataclass(frozen=True, kw_only=True)
class StateCount:
    """Images in one review state, and their masks."""

    num_images: int
    num_masks: int

    @property
    def masks_per_image(self) -> float:
        """Mean number of masks per image; 0 without images."""
        return self.num_masks / self.num_images if self.num_images else 0.0


@dataclass(frozen=True, kw_only=True)
class WorkDay:
    """Masks made by one person on one day (UTC) in one stage, without deleted ones.

    Attributes:
        num_clicks: points, boxes, strokes and polygons, including other people's corrections.
        duration_ms: time spent, including other people's corrections.
    """

    day: date
    user_id: int
    stage: Stage
    num_masks: int
    num_clicks: int
    duration_ms: int

    @property
    def seconds_per_mask(self) -> float:
        """Mean seconds per mask."""
        return self.duration_ms / 1000 / self.num_masks

    @property
    def clicks_per_mask(self) -> float:
        """Mean number of clicks per mask."""
        return self.num_clicks / self.num_masks


def count_images(store: Store, project_id: int) -> dict[Review, StateCount]:
    """Count a project's images and masks in each review state."""
    query = (
        select(ImageRow.review, func.count(), func.sum(ImageRow.num_masks))
        .where(ImageRow.project_id == project_id)
        .group_by(ImageRow.review)
    )
    with store.read() as session:
        found = {review: (images, int(masks)) for review, images, masks in session.execute(query)}
    return {
        state: StateCount(num_images=images, num_masks=masks)
        for state in REVIEWS
        for images, masks in (found.get(state, (0, 0)),)
    }


def work_days(store: Store, project_id: int) -> tuple[WorkDay, ...]:
    """Summarise the work of each day, person and stage, in this order."""
    day = (type_coerce(AnnotationRow.created_at, BigInteger) // DAY_US).label("day")
    groups = (day, AnnotationRow.user_id, AnnotationRow.stage)
    query = (
        select(
            *groups,
            func.count(),
            func.sum(AnnotationRow.num_clicks),
            func.sum(AnnotationRow.duration_ms),
        )
        .where(AnnotationRow.project_id == project_id, ~AnnotationRow.deleted)
        .group_by(*groups)
        .order_by(*groups)
    )
    with store.read() as session:
        return tuple(
            WorkDay(
                day=date.fromordinal(EPOCH.toordinal() + int(number)),
                user_id=user_id,
                stage=cast("Stage", stage),
                num_masks=masks,
                num_clicks=int(clicks),
                duration_ms=int(duration_ms),
            )
            for number, user_id, stage, masks, clicks, duration_ms in session.execute(query)
        )
