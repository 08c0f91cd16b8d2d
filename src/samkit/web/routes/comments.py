"""Routes for comments on images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from samkit.dataengine import (
    Page,
    Thread,
    add_comment,
    answer_comment,
    list_comments,
    resolve_comment,
    user_names,
)
from samkit.web.routing import Key, new_router
from samkit.web.sign_in import AnyUser
from samkit.web.state import ServerState, TheState
from samkit.web.team_schemas import Answer, CommentOut, NewComment, Resolved, ThreadOut

router = new_router()


@router.get("/images/{image_id}/comments")
def get_comments(studio: TheState, user: AnyUser, image_id: Key) -> Page[ThreadOut]:
    """List the threads of an image that one may see, in the order in which they began."""
    found = list_comments(studio.store, image_id, user_id=user.id)
    return Page(items=tuple(_threads(studio, found)), next_after=None)


@router.post("/images/{image_id}/comments", status_code=201)
def post_comment(studio: TheState, user: AnyUser, image_id: Key, body: NewComment) -> ThreadOut:
    """Begin a thread on an image, a place of it, or one of its masks."""
    made = add_comment(
        studio.store,
        image_id,
        user.id,
        body.text,
        xy=body.xy,
        annotation_id=body.annotation_id,
    )
    return next(_threads(studio, [made]))


@router.post("/comments/{comment_id}/answers", status_code=201)
def post_answer(studio: TheState, user: AnyUser, comment_id: Key, body: Answer) -> ThreadOut:
    """Add to a thread, which is named by its first comment."""
    changed = answer_comment(studio.store, comment_id, user.id, body.text)
    return next(_threads(studio, [changed]))


@router.put("/comments/{comment_id}/resolved")
def put_resolved(studio: TheState, user: AnyUser, comment_id: Key, body: Resolved) -> ThreadOut:
    """Resolve a thread, or open it again."""
    changed = resolve_comment(studio.store, comment_id, user.id, resolved=body.resolved)
    return next(_threads(studio, [changed]))


def _threads(studio: ServerState, found: Sequence[Thread]) -> Iterator[ThreadOut]:
    names = user_names(studio.store)
    for one in found:
        yield ThreadOut(
            id=one.id,
            image_id=one.image_id,
            annotation_id=one.annotation_id,
            xy=None if one.xy is None else list(one.xy),
            resolved=one.resolved,
            comments=[
                CommentOut(
                    id=each.id,
                    user_id=each.user_id,
                    user_name=names[each.user_id],
                    text=each.text,
                    at=each.at,
                )
                for each in one.comments
            ],
        )
