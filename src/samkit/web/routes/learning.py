"""Routes for models that learn from a project's masks."""

from __future__ import annotations

from dataclasses import replace

from samkit.dataengine import (
    count_verified_masks,
    encoder_of_version,
    get_project,
    list_learned_models,
    prefill_outcomes,
    prelabelled_now,
    serve_version,
    serving_version,
    set_learning,
)
from samkit.errors import ConflictError
from samkit.web.routing import Key, new_router
from samkit.web.schemas import LearnedOut, LearningIn, LearningOut, ServeIn
from samkit.web.sign_in import AnyUser, Reviewer
from samkit.web.state import ServerState, TheState

router = new_router()


@router.get("/projects/{project_id}/learning")
def get_learning(studio: TheState, _user: AnyUser, project_id: Key) -> LearningOut:
    """Return a project's models, and what is being learned."""
    return _learning(studio, project_id)


@router.put("/projects/{project_id}/learning")
def put_learning(
    studio: TheState, _user: Reviewer, project_id: Key, body: LearningIn
) -> LearningOut:
    """Set how a project's model learns."""
    known = get_project(studio.store, project_id).learning
    set_learning(studio.store, project_id, replace(known, **body.model_dump()))
    return _learning(studio, project_id)


@router.post("/projects/{project_id}/learning/learn", status_code=202)
def post_learn(studio: TheState, _user: Reviewer, project_id: Key) -> LearningOut:
    """Learn as soon as possible."""
    get_project(studio.store, project_id)
    studio.learners.ask(project_id)
    return _learning(studio, project_id)


@router.post("/projects/{project_id}/learning/prefill", status_code=202)
def post_prefill(studio: TheState, _user: Reviewer, project_id: Key) -> LearningOut:
    """Go on with prefilling masks that was stopped or has failed, in a project that is set so.

    Refused with 409 in other projects.
    """
    if not get_project(studio.store, project_id).learning.prefill:
        raise ConflictError("the project puts no masks on images: change how it learns first")
    studio.learners.ask_again("prefill", project_id)
    return _learning(studio, project_id)


@router.post("/projects/{project_id}/learning/embed", status_code=202)
def post_embed(studio: TheState, _user: Reviewer, project_id: Key) -> LearningOut:
    """Go on with encoding waiting images that was stopped, for a version with its own encoder.

    Refused with 409 for others.
    """
    version_id = serving_version(studio.store, get_project(studio.store, project_id).id)
    if version_id is None or encoder_of_version(studio.store, version_id) is None:
        raise ConflictError("the version that answers has the server's own image encoder")
    studio.learners.ask_again("embed", project_id)
    return _learning(studio, project_id)


@router.post("/projects/{project_id}/learning/stop", status_code=202)
def post_stop(studio: TheState, _user: Reviewer, project_id: Key) -> LearningOut:
    """Stop learning, prefilling or encoding; what is done stays, and it can go on later."""
    get_project(studio.store, project_id)
    studio.learners.stop_work(project_id)
    return _learning(studio, project_id)


@router.post("/projects/{project_id}/learning/serve")
def post_serve(studio: TheState, user: Reviewer, project_id: Key, body: ServeIn) -> LearningOut:
    """Let another version answer, one that did before."""
    serve_version(studio.store, project_id, body.model_version_id, user_id=user.id)
    return _learning(studio, project_id)


def _learning(studio: ServerState, project_id: int) -> LearningOut:
    store = studio.store
    learning = get_project(store, project_id).learning
    own = studio.embedder.model
    accepted, prefilled = prefill_outcomes(store, project_id)
    doing = studio.learners.working_on(project_id)
    images_of = studio.embedder.served().cache.images if own is not None else no_images
    return LearningOut(
        every_masks=learning.every_masks,
        prefill=learning.prefill,
        target_precision=learning.target_precision,
        choose_next=learning.choose_next,
        lora=learning.lora,
        away_minutes=learning.away_minutes,
        serving=serving_version(store, project_id) or (None if own is None else own.id),
        doing=doing,
        left=studio.learners.images_left(project_id, images_of),
        tiles=_tiles_done(studio, project_id) if doing == "prefill" else None,
        finished_masks=count_verified_masks(store, project_id),
        learned=tuple(
            LearnedOut.model_validate(one) for one in list_learned_models(store, project_id)
        ),
        precision=accepted / prefilled if prefilled else None,
        prefilled=prefilled,
    )


def _tiles_done(studio: ServerState, project_id: int) -> tuple[int, int] | None:
    """Numbers of tiles, done and all, of the image that is being prefilled; None if it has none."""
    from samkit.learning import TileFolder

    tiles = TileFolder(studio.config.cache_folder, studio.store, project_id)
    found = (tiles.progress(image_id) for image_id in prelabelled_now(studio.store, project_id))
    return next((progress for progress in found if progress is not None), None)


def no_images(_encoder_checksum: str) -> set[str]:
    """Stands for the cache until the model is loaded."""
    return set()
