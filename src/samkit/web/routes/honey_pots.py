"""Routes for honey pots, of which only reviewers know."""

from __future__ import annotations

from collections.abc import Iterator

from samkit.dataengine import (
    HoneyScore,
    end_honey_pots,
    get_project,
    honey_pot_every,
    honey_scores,
    list_honey_pots,
    set_honey_pot_every,
    start_honey_pots,
    user_names,
)
from samkit.web.routing import Key, new_router
from samkit.web.sign_in import Reviewer
from samkit.web.state import ServerState, TheState
from samkit.web.team_schemas import HoneyPerson, HoneyPotEvery, HoneyPotsOut, SomeImages

router = new_router()


@router.get("/projects/{project_id}/honey_pots")
def get_honey_pots(studio: TheState, _user: Reviewer, project_id: Key) -> HoneyPotsOut:
    """Return a project's honey pots, and what people made of them."""
    get_project(studio.store, project_id)
    return _honey_pots(studio, project_id)


@router.post("/projects/{project_id}/honey_pots", status_code=201)
def post_honey_pots(
    studio: TheState, user: Reviewer, project_id: Key, body: SomeImages
) -> HoneyPotsOut:
    """Make accepted images honey pots, all or none of them."""
    start_honey_pots(studio.store, project_id, body.image_ids, user_id=user.id)
    return _honey_pots(studio, project_id)


@router.post("/projects/{project_id}/honey_pots/end")
def post_end(studio: TheState, user: Reviewer, project_id: Key, body: SomeImages) -> HoneyPotsOut:
    """Make honey pots accepted images again, with the masks of their answers."""
    end_honey_pots(studio.store, project_id, body.image_ids, user_id=user.id)
    return _honey_pots(studio, project_id)


@router.put("/projects/{project_id}/honey_pots/every")
def put_every(
    studio: TheState, user: Reviewer, project_id: Key, body: HoneyPotEvery
) -> HoneyPotsOut:
    """Set how often each annotator gets a honey pot."""
    set_honey_pot_every(studio.store, project_id, body.every, user_id=user.id)
    return _honey_pots(studio, project_id)


def _honey_pots(studio: ServerState, project_id: int) -> HoneyPotsOut:
    scores = honey_scores(studio.store, project_id)
    return HoneyPotsOut(
        every=honey_pot_every(studio.store, project_id),
        images=list(list_honey_pots(studio.store, project_id)),
        scores=list(scores),
        people=list(_people(scores, user_names(studio.store))),
    )


def _people(scores: tuple[HoneyScore, ...], names: dict[int, str]) -> Iterator[HoneyPerson]:
    for user_id in sorted({one.user_id for one in scores}):
        own = [one for one in scores if one.user_id == user_id]
        yield HoneyPerson(
            user_id=user_id,
            user_name=names[user_id],
            num_images=len(own),
            mean_iou=sum(one.mean_iou for one in own) / len(own),
            num_found=sum(one.num_found for one in own),
            num_missed=sum(one.num_missed for one in own),
            num_extra=sum(one.num_extra for one in own),
        )
