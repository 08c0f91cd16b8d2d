"""Searching a project's images, in several orders."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

from sqlalchemy import ColumnElement, Select, func, or_, select, tuple_
from sqlalchemy.orm import InstrumentedAttribute

from samkit.dataengine.database import Store
from samkit.dataengine.rows import check_limit, to_image, to_page
from samkit.dataengine.schema import AnnotationRow, ImageRow, SubmissionRow
from samkit.dataengine.values import (
    STAGES,
    Page,
    Review,
    Stage,
    StoredImage,
    check_choice,
    check_states,
)
from samkit.dataengine.work.assignments import is_assigned_to
from samkit.errors import StoreError

Found = TypeVar("Found")
ImageOrder = Literal["added", "name", "masks"]
ORDERS: tuple[ImageOrder, ...] = get_args(ImageOrder)
SORTED_BY: dict[ImageOrder, tuple[InstrumentedAttribute[object], ...]] = {
    "added": (ImageRow.id,),
    "name": (ImageRow.path,),  # no two images of a project have the same
    "masks": (ImageRow.num_masks, ImageRow.id),
}


@dataclass(frozen=True, kw_only=True)
class ImageSearch:
    """Which images are looked for: those for which all of this holds.

    Attributes:
        reviews: in one of these review states.
        stage: of this stage.
        name: whose path contains this, in upper or lower case.
        class_id: with a mask of this class.
        user_id: with a mask that this person made, or submitted by them.
        min_masks: with at least so many masks.
        max_masks: with at most so many masks.
        batch: of this batch; empty for those of none.
        assigned_to: assigned to this person.
        commented: with comments that are not resolved.
    """

    reviews: Sequence[Review] | None = None
    stage: Stage | None = None
    name: str = ""
    class_id: int | None = None
    user_id: int | None = None
    min_masks: int | None = None
    max_masks: int | None = None
    batch: str | None = None
    assigned_to: int | None = None
    commented: bool = False

    def __post_init__(self) -> None:
        if self.reviews is not None:
            check_states(self.reviews)
        if self.stage is not None:
            check_choice("stage", self.stage, STAGES)
        least, most = self.min_masks or 0, self.max_masks
        if least < 0 or (most is not None and most < least):
            raise StoreError(
                "min_masks must be at least 0 and at most max_masks;"
                f" got {self.min_masks} and {most}"
            )


def search_images(
    store: Store,
    project_id: int,
    search: ImageSearch,
    *,
    order: ImageOrder = "added",
    descending: bool = False,
    after: int = 0,
    limit: int = 100,
    skip: int = 0,
) -> Page[StoredImage]:
    """List the images of a project that are looked for.

    Args:
        after: `next_after` of the previous page; 0 for the first page.
        limit: page size, 1 to 1000.
        skip: number of images to leave out at the beginning, to find the n-th one.

    Raises:
        StoreError: an invalid order or limit.
    """
    check_choice("order", order, ORDERS)
    query = _matching(select(ImageRow), project_id, search)
    columns = SORTED_BY[order]
    if after:
        query = query.where(_comes_after(columns, after, descending=descending))
    ordered = query.order_by(*(column.desc() if descending else column for column in columns))
    with store.read() as session:
        rows = session.scalars(ordered.limit(check_limit(limit)).offset(skip))
        return to_page([to_image(row) for row in rows], limit)


def count_found_images(store: Store, project_id: int, search: ImageSearch) -> int:
    """Count the images of a project that are looked for."""
    query = _matching(select(func.count()).select_from(ImageRow), project_id, search)
    with store.read() as session:
        return session.scalar(query) or 0


def list_images(
    store: Store,
    project_id: int,
    *,
    after: int = 0,
    limit: int = 100,
    review: Review | Sequence[Review] | None = None,
    stage: Stage | None = None,
) -> Page[StoredImage]:
    """List images of a project in the order they were added.

    Args:
        after: `next_after` of the previous page; 0 for the first page.
        limit: page size, 1 to 1000.
        review: only images in this review state, or in one of these.
        stage: only images of this stage.

    Raises:
        StoreError: an invalid filter or limit.
    """
    reviews = (review,) if isinstance(review, str) else review
    search = ImageSearch(reviews=reviews, stage=stage)
    return search_images(store, project_id, search, after=after, limit=limit)


def _comes_after(
    columns: tuple[InstrumentedAttribute[object], ...], image_id: int, *, descending: bool
) -> ColumnElement[bool]:
    """Select what follows an image in an order; if it is gone, nothing does."""
    if columns == (ImageRow.id,):
        return ImageRow.id < image_id if descending else ImageRow.id > image_id
    values = [
        select(column).where(ImageRow.id == image_id).correlate(None).scalar_subquery()
        for column in columns
    ]
    place, start = tuple_(*columns), tuple_(*values)
    return place < start if descending else place > start


def _matching(query: Select[Found], project_id: int, search: ImageSearch) -> Select[Found]:
    query = _matching_team(query.where(ImageRow.project_id == project_id), search)
    if search.reviews is not None:
        query = query.where(ImageRow.review.in_(search.reviews))
    if search.stage is not None:
        query = query.where(ImageRow.stage == search.stage)
    if search.name:
        query = query.where(ImageRow.path.icontains(search.name, autoescape=True))
    if search.min_masks:
        query = query.where(ImageRow.num_masks >= search.min_masks)
    if search.max_masks is not None:
        query = query.where(ImageRow.num_masks <= search.max_masks)
    masks = select(AnnotationRow.image_id).where(
        AnnotationRow.project_id == project_id, ~AnnotationRow.deleted
    )
    if search.class_id is not None:
        query = query.where(ImageRow.id.in_(masks.where(AnnotationRow.class_id == search.class_id)))
    if search.user_id is not None:
        submitted = select(SubmissionRow.image_id).where(
            SubmissionRow.project_id == project_id, SubmissionRow.user_id == search.user_id
        )
        made = masks.where(AnnotationRow.user_id == search.user_id)
        query = query.where(or_(ImageRow.id.in_(made), ImageRow.id.in_(submitted)))
    return query


def _matching_team(query: Select[Found], search: ImageSearch) -> Select[Found]:
    """Select by what a team has agreed on or said about images."""
    if search.batch is not None:
        query = query.where(ImageRow.batch == search.batch)
    if search.assigned_to is not None:
        query = query.where(is_assigned_to(search.assigned_to))
    if search.commented:
        query = query.where(ImageRow.num_open_comments > 0)
    return query
