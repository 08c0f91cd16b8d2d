"""Parameters by which requests search a project's images."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, HTTPException, Query

from samkit.dataengine import REVIEWERS, ImageSearch, Review, Stage
from samkit.web.schemas import MAX_INT32, MAX_INT64
from samkit.web.sign_in import AnyUser

MAX_NAME = 200  # characters
MAX_BATCH = 100

SomeKey = Annotated[int | None, Query(ge=1, le=MAX_INT64)]
Count = Annotated[int | None, Query(ge=0, le=MAX_INT32)]


def search_of(
    user: AnyUser,
    *,
    review: Review | None = None,
    stage: Stage | None = None,
    name: Annotated[str, Query(max_length=MAX_NAME)] = "",
    class_id: SomeKey = None,
    user_id: SomeKey = None,
    min_masks: Count = None,
    max_masks: Count = None,
    batch: Annotated[str | None, Query(max_length=MAX_BATCH)] = None,
    assigned_to: SomeKey = None,
    commented: bool = False,
) -> ImageSearch:
    """Make a search of a request's parameters.

    Raises:
        HTTPException: an annotator looks for somebody else's images.
    """
    others = {user_id, assigned_to} - {None, user.id}
    if others and user.role not in REVIEWERS:
        raise HTTPException(403, "only reviewers look for other people's images")
    return ImageSearch(
        reviews=None if review is None else (review,),
        stage=stage,
        name=name,
        class_id=class_id,
        user_id=user_id,
        min_masks=min_masks,
        max_masks=max_masks,
        batch=batch,
        assigned_to=assigned_to,
        commented=commented,
    )


TheSearch = Annotated[ImageSearch, Depends(search_of)]
