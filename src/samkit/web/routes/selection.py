"""Routes for many images at once: how many are found, and one verdict on several."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from samkit.dataengine import (
    StoredImage,
    accept_image,
    count_found_images,
    get_image,
    get_project,
    reopen_image,
    return_image,
)
from samkit.errors import DatabaseError, StoreError
from samkit.web.routing import Key, new_router
from samkit.web.schemas import FoundOut, ImageOut, RefusedImage, ReviewedOut, ReviewMany
from samkit.web.searching import TheSearch
from samkit.web.sign_in import AnyUser, Reviewer
from samkit.web.state import TheState

router = new_router()


@router.get("/projects/{project_id}/images/count")
def get_count(studio: TheState, _user: AnyUser, project_id: Key, search: TheSearch) -> FoundOut:
    """Count the images that a search finds."""
    get_project(studio.store, project_id)
    return FoundOut(num_images=count_found_images(studio.store, project_id, search))


@router.post("/projects/{project_id}/images/review")
def review_many(studio: TheState, user: Reviewer, project_id: Key, body: ReviewMany) -> ReviewedOut:
    """Accept, return or reopen several images; those that cannot be are told apart."""
    get_project(studio.store, project_id)
    store = studio.store
    judge: dict[str, Callable[[int, int], StoredImage]] = {
        "accept": lambda image_id, version: accept_image(store, image_id, user.id, version=version),
        "return": lambda image_id, version: return_image(
            store, image_id, user.id, version=version, comment=body.comment
        ),
        "reopen": lambda image_id, version: reopen_image(store, image_id, user.id, version=version),
    }
    done: list[ImageOut] = []
    refused: list[RefusedImage] = []
    for one in body.images:
        with _telling(refused, one.id):
            _check_project(get_image(store, one.id), project_id)
            done.append(ImageOut.model_validate(judge[body.verdict](one.id, one.version)))
    return ReviewedOut(done=done, refused=refused)


@contextmanager
def _telling(refused: list[RefusedImage], image_id: int) -> Iterator[None]:
    """Note why an image is refused, and go on with the next one."""
    try:
        yield
    except DatabaseError:  # no other image would fare better
        raise
    except StoreError as error:
        refused.append(RefusedImage(id=image_id, detail=str(error)))


def _check_project(image: StoredImage, project_id: int) -> None:
    if image.project_id != project_id:
        raise StoreError(f"{image.path} is an image of another project")
