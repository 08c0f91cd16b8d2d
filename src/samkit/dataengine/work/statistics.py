"""How the work goes: images by state, masks per image, seconds and clicks per mask."""

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
    """Images in one state of review, and the masks on them."""

    num_images: int
    num_masks: int

    @property
    def masks_per_image(self) -> float:
        """Mean number of masks; 0 without images."""
        return self.num_masks / self.num_images if self.num_images else 0.0


@dataclass(frozen=True, kw_only=True)
class WorkDay:
    """Masks that one person made on one day, in UTC, in one stage; deleted ones do not count.

    Attributes:
        day: in UTC.
        user_id: who made them.
        stage: of the data engine.
        num_masks: how many.
        num_clicks: points, boxes, strokes and polygons on them, corrections of others included.
        duration_ms: spent on them, corrections of others included.
    """

    day: date
    user_id: int
    stage: Stage
    num_masks: int
    num_clicks: int
    duration_ms: int

    @property
    def seconds_per_mask(self) -> float:
        """Mean time for one mask."""
        return self.duration_ms / 1000 / self.num_masks

    @property
    def clicks_per_mask(self) -> float:
        """Mean number of clicks for one mask."""
        return self.num_clicks / self.num_masks


def count_images(store: Store, project_id: int) -> dict[Review, StateCount]:
    """Images and masks of a project in each state of review."""
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
    """What each person has done on each day, by day, person and stage."""
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
