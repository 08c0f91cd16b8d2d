"""Statistics: images by review state, masks per image, seconds and clicks per mask."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, cast

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    and_,
    case,
    distinct,
    func,
    literal_column,
    or_,
    select,
    type_coerce,
)
from sqlalchemy.orm import InstrumentedAttribute

from samkit.dataengine.database import Store
from samkit.dataengine.schema import EPOCH, AnnotationRow, EventRow, ImageRow, SubmissionRow
from samkit.dataengine.values import CLICK_KINDS, MADE_BY_PEOPLE, REVIEWS, Review, Stage
from samkit.dataengine.work.assignments import count_assigned

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
    """What one person did on one day (UTC) on masks of one stage.

    Time and clicks are those of the person's own prompts and corrections on that day, also on masks
    that were deleted later. So the time that people spend on correcting automatic masks is theirs,
    under the stage "fully-automatic". Time without a prompt, such as for looking at prefilled masks
    that are right, belongs to the stage of the image, on the day when it was submitted last.

    Attributes:
        num_masks: masks that the person made on this day, without deleted ones; for automatic and
            imported ones, the person who had them made.
        num_corrected: masks that a program, another person or the same one on an earlier day made,
            and that the person changed or deleted on this day. A reviewer's choice among people's
            masks corrects none.
        num_clicks: points, boxes, strokes and polygons.
        duration_ms: time spent.
    """

    day: date
    user_id: int
    stage: Stage
    num_masks: int
    num_corrected: int
    num_clicks: int
    duration_ms: int

    @property
    def num_touched(self) -> int:
        """Number of masks that the person worked on: automatic ones only if they were corrected."""
        made = self.num_masks if self.stage in MADE_BY_PEOPLE else 0
        return made + self.num_corrected

    @property
    def seconds_per_mask(self) -> float | None:
        """Mean seconds per mask that the person worked on; None without any."""
        return self.duration_ms / 1000 / self.num_touched if self.num_touched else None

    @property
    def clicks_per_mask(self) -> float | None:
        """Mean number of clicks per mask that the person worked on; None without any."""
        return self.num_clicks / self.num_touched if self.num_touched else None


@dataclass(frozen=True, kw_only=True)
class PersonCount:
    """What has become of the images that one person has finished in a project.

    Attributes:
        num_waiting: submitted, and neither accepted nor returned.
        num_returned: returned to the person, and not submitted again.
        num_held: images that the person holds now.
        num_assigned: images that are assigned to the person, and that they have not finished.
    """

    user_id: int
    num_waiting: int
    num_accepted: int
    num_returned: int
    num_skipped: int
    num_unusable: int
    num_held: int
    num_assigned: int


def count_people(store: Store, project_id: int) -> tuple[PersonCount, ...]:
    """Count what became of each person's images, for all who finished, hold or are to do one."""
    kind = case(
        (SubmissionRow.outcome != "annotated", SubmissionRow.outcome),
        (SubmissionRow.returned, "returned"),
        (ImageRow.review == "accepted", "accepted"),
        else_="waiting",
    )
    finished = (
        select(SubmissionRow.user_id, kind, func.count())
        .join(ImageRow, ImageRow.id == SubmissionRow.image_id)
        .where(SubmissionRow.project_id == project_id, ~ImageRow.honey_pot)
        .group_by(SubmissionRow.user_id, kind)
    )
    held = (
        select(ImageRow.lease_user_id, func.count())
        .where(ImageRow.project_id == project_id, ImageRow.lease_expires_at > store.clock())
        .group_by(ImageRow.lease_user_id)
    )
    with store.read() as session:
        counts = {(user, name): number for user, name, number in session.execute(finished)}
        counts |= {(user, "held"): number for user, number in session.execute(held) if user}
        assigned = count_assigned(session, project_id)
        counts |= {(user, "assigned"): number for user, number in assigned.items()}
    names = ("waiting", "accepted", "returned", "skipped", "unusable", "held", "assigned")
    return tuple(
        PersonCount(user_id=user, **{f"num_{name}": counts.get((user, name), 0) for name in names})
        for user in sorted({user for user, _ in counts})
    )


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
    with store.read() as session:
        made = {tuple(row[:3]): row[3] for row in session.execute(_made(project_id))}
        done = {tuple(row[:3]): row[3:] for row in session.execute(_done(project_id))}
        looked = {tuple(row[:3]): int(row[3]) for row in session.execute(_looked(project_id))}
    days = []
    for key in sorted({*made, *done, *looked}):
        number, user_id, stage = key
        corrected, clicks, duration_ms = done.get(key, (0, 0, 0))
        days.append(
            WorkDay(
                day=date.fromordinal(EPOCH.toordinal() + int(number)),
                user_id=user_id,
                stage=cast("Stage", stage),
                num_masks=made.get(key, 0),
                num_corrected=int(corrected),
                num_clicks=int(clicks),
                duration_ms=int(duration_ms) + looked.get(key, 0),
            )
        )
    # The origin of automatic masks that were all deleted is no work.
    return tuple(
        one
        for one in days
        if one.num_masks or one.num_corrected or one.num_clicks or one.duration_ms
    )


def _day(column: InstrumentedAttribute[datetime]) -> ColumnElement[int]:
    """Number of the day (UTC) of a time, from 1970."""
    # A literal: PostgreSQL does not see that two parameters are the same, in SELECT and GROUP BY.
    return type_coerce(column, BigInteger) // literal_column(str(DAY_US), BigInteger)


def _made(project_id: int) -> Select[int, int, str, int]:
    """Select day, maker, stage and number of masks, without deleted ones."""
    groups = (_day(AnnotationRow.created_at), AnnotationRow.user_id, AnnotationRow.stage)
    return (
        select(*groups, func.count())
        .where(AnnotationRow.project_id == project_id, ~AnnotationRow.deleted)
        .group_by(*groups)
    )


def _done(project_id: int) -> Select[int, int, str, int, Any, int]:
    """Select day, person, stage, and what was done: masks corrected, clicks, milliseconds."""
    day = _day(EventRow.at)
    groups = (day, EventRow.user_id, AnnotationRow.stage)
    # The first state of an automatic mask is its program's, whoever ran it.
    is_own = and_(
        EventRow.user_id == AnnotationRow.user_id,
        day == _day(AnnotationRow.created_at),
        or_(AnnotationRow.stage.in_(MADE_BY_PEOPLE), EventRow.version == 1),
    )
    corrects = and_(~is_own, EventRow.kind != "review")
    return (
        select(
            *groups,
            func.count(distinct(case((corrects, EventRow.annotation_id)))),
            func.sum(case((EventRow.kind.in_(CLICK_KINDS), 1), else_=0)),
            func.sum(EventRow.duration_ms),
        )
        .join_from(AnnotationRow, EventRow, EventRow.annotation_id == AnnotationRow.id)
        .where(AnnotationRow.project_id == project_id)
        .group_by(*groups)
    )


def _looked(project_id: int) -> Select[int, int, str, int]:
    """Select day, person, stage, and the milliseconds that no event has."""
    groups = (_day(SubmissionRow.at), SubmissionRow.user_id, SubmissionRow.stage)
    return (
        select(*groups, func.sum(SubmissionRow.duration_ms))
        .where(SubmissionRow.project_id == project_id, SubmissionRow.duration_ms > 0)
        .group_by(*groups)
    )
