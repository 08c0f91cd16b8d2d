"""Images are found by name, class, person, number of masks and state, in several orders."""

import pytest

from samkit.dataengine import (
    ImageSearch,
    add_class,
    all_items,
    count_found_images,
    delete_annotation,
    list_images,
    save_annotation,
    search_images,
    submit_image,
)
from samkit.errors import StoreError


def found(scene, order="added", descending=False, **search):
    """Numbers of the images that are found, also if they come in pages of one, and are counted."""
    search = ImageSearch(**search)
    numbers = {one.id: number for number, one in enumerate(scene.images)}

    def page(limit):
        return lambda after: search_images(
            scene.store,
            scene.project.id,
            search,
            order=order,
            descending=descending,
            after=after,
            limit=limit,
        )

    together = [numbers[one.id] for one in page(1000)(0).items]
    assert [numbers[one.id] for one in all_items(page(1))] == together
    assert count_found_images(scene.store, scene.project.id, search) == len(together)
    return together


@pytest.fixture
def worked(scene, rle_of):
    """A scene whose images have masks.

    Ann made a disc and a star on the first one, and a star on the second one that is deleted; Bob a
    star on the third one, and he submitted the last one without masks.
    """
    disc, star = (add_class(scene.store, scene.project.id, name).id for name in ("disc", "star"))

    def save(user, number, class_id):
        image_id = scene.hold(user, number)
        made = {"image_id": image_id, "user_id": user, "class_id": class_id}
        return save_annotation(scene.store, rle=rle_of(0, 0, 2, 2), **made)

    save(scene.ann, 0, disc)
    save(scene.ann, 0, star)
    gone = save(scene.ann, 1, star)
    delete_annotation(scene.store, gone.id, user_id=scene.ann, version=gone.version)
    save(scene.bob, 2, star)
    submit_image(scene.store, scene.hold(scene.bob, 3), scene.bob)
    scene.disc, scene.star = disc, star
    return scene


def test_class_person_and_number_of_masks(worked):
    assert found(worked, class_id=worked.disc) == [0]
    assert found(worked, class_id=worked.star) == [0, 2]
    assert found(worked, user_id=worked.ann) == [0]
    assert found(worked, user_id=worked.bob) == [2, 3]
    assert found(worked, user_id=worked.rev) == []
    assert found(worked, min_masks=1) == [0, 2]
    assert found(worked, max_masks=0) == [1, 3]
    assert found(worked, min_masks=1, max_masks=1) == [2]
    assert found(worked, class_id=worked.star, user_id=worked.bob, name="deep") == [2]
    assert found(worked, class_id=worked.star, reviews=("submitted",)) == []
    assert found(worked, reviews=("submitted",)) == [3]


def test_names_are_no_patterns(scene):
    assert found(scene, name="DEEP/") == [2, 3]
    assert found(scene, name=".png") == [0, 1, 2]
    for nothing in ("%", "_", "\\"):
        assert found(scene, name=nothing) == []


def test_orders(worked):
    assert found(worked) == [0, 1, 2, 3]
    assert found(worked, descending=True) == [3, 2, 1, 0]
    assert found(worked, "name") == [0, 1, 2, 3]  # a, b, deep/c, deep/d
    assert found(worked, "name", descending=True, name="deep") == [3, 2]
    assert found(worked, "masks") == [1, 3, 2, 0]
    assert found(worked, "masks", descending=True) == [0, 2, 3, 1]
    assert found(worked, "masks", descending=True, class_id=worked.star) == [0, 2]


def test_nth_image(worked):
    search = ImageSearch()
    page = search_images(worked.store, worked.project.id, search, skip=2, limit=1)
    assert page.items == (list_images(worked.store, worked.project.id).items[2],)
    masks = {"order": "masks", "descending": True}
    first = search_images(worked.store, worked.project.id, search, **masks, limit=1)
    assert first.items[0].num_masks == 2


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"reviews": ("good",)}, "good"),
        ({"stage": "no"}, "stage"),
        ({"min_masks": 3, "max_masks": 2}, "got 3 and 2"),
        ({"min_masks": -1}, "got -1"),
    ],
)
def test_impossible_searches(settings, told):
    with pytest.raises(StoreError, match=told):
        ImageSearch(**settings)


def test_unknown_order(scene):
    with pytest.raises(StoreError, match="order"):
        search_images(scene.store, scene.project.id, ImageSearch(), order="size")
