"""Prefilled masks of images by tiles: found tile by tile, at the scale at which people work."""

import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from samkit.dataengine import (
    NewEvent,
    Store,
    add_images,
    annotation_events,
    create_project,
    create_user,
    list_annotations,
    list_images,
    save_annotation,
    submit_image,
    take_image,
    unstarted_images,
)
from samkit.geometry import decode_rle, encode_rle
from samkit.learning import (
    Learner,
    TileFolder,
    lesson_images,
    prefill,
    prefill_images,
    tile_masks,
)
from samkit.learning.prefill import at_full_size, without_overlap
from samkit.predict import EmbeddingCache
from samkit.types import Masks

from .test_prefill import learned

HEIGHT, WIDTH = 1500, 2000
NUM_TILES = 6  # of 1,024 pixels, which overlap by a quarter
# Centres and radii of discs: within a tile, at the seams of tiles of 1,024 pixels, and at an edge.
DISCS = [(300, 300, 40), (900, 500, 60), (880, 880, 70), (1500, 1000, 50), (1990, 1490, 30)]


def drawn():
    pixels = np.full((HEIGHT, WIDTH, 3), 20, np.uint8)
    for x, y, radius in DISCS:
        cv2.circle(pixels, (x, y), radius, (220, 220, 220), -1)
    return pixels


def disc_mask(x, y, radius):
    return cv2.circle(np.zeros((HEIGHT, WIDTH), np.uint8), (x, y), radius, 1, -1).astype(bool)


class Bright:
    """Stands for an automatic masker: what is bright is an object, and one corner is too unsure."""

    sizes = ()

    def __init__(self, *_):
        pass

    def generate(self, image, **_):
        type(self).sizes += (image.shape[:2],)
        count, labels = cv2.connectedComponents((image[..., 0] > 120).astype(np.uint8))
        found = [labels == number for number in range(1, count)]
        corner = np.zeros(image.shape[:2], bool)
        corner[:8, :8] = True
        masks = Masks.from_arrays(np.array([*found, corner]), [0.99] * len(found) + [0.31])
        return masks.with_columns(stability=np.full(len(masks), 0.95, np.float32))


@pytest.fixture
def slides(tmp_path, tiny, recipe, monkeypatch):
    """A project with two large images and a small one, and a learner."""
    monkeypatch.setattr(prefill, "AutoMasker", Bright)
    monkeypatch.setattr(Bright, "sizes", ())
    root = tmp_path / "images"
    root.mkdir()
    Image.fromarray(drawn()).save(root / "a.png")
    Image.fromarray(drawn()[::-1]).save(root / "b.png")
    Image.fromarray(drawn()[200:400, 200:400]).save(root / "c.png")
    with Store.open(tmp_path / "store.db") as store:
        project = create_project(store, name="slides", root=root)
        add_images(store, project.id)
        cache = EmbeddingCache(tmp_path / "embeddings")
        made = Learner(
            store,
            tiny,
            cache,
            tmp_path / "learning",
            recipe=replace(recipe, judged=False),
            max_pixels=10**6,
        )
        made.project, made.images = project, list_images(store, project.id).items
        made.ann = create_user(store, name="ann", role="admin").id
        yield made


def masks_on(slides, image):
    return [decode_rle(one.rle) for one in list_annotations(slides.store, image.id)]


def iou(one, other):
    return (one & other).sum() / (one | other).sum()


def filled(slides, confidence=None, **options):
    known = learned() if confidence is None else confidence
    return prefill_images(slides, slides.project.id, known, user_id=slides.ann, **options)


def test_objects_are_found_once_across_tiles(slides):
    report = filled(slides)
    assert (report.num_images, report.faults) == (3, ())
    found = masks_on(slides, slides.images[0])
    assert len(found) == len(DISCS)
    for disc in DISCS:
        assert max(iou(disc_mask(*disc), mask) for mask in found) > 0.95
    assert len(masks_on(slides, slides.images[1])) == len(DISCS)
    assert len(masks_on(slides, slides.images[2])) == 1
    # One tile's pixels at a time.
    assert max(height * width for height, width in Bright.sizes) == 1024**2
    (mask, *_) = list_annotations(slides.store, slides.images[0].id)
    (event,) = annotation_events(slides.store, mask.id)
    assert (mask.stage, event.kind) == ("fully-automatic", "import")
    assert event.model_version_id == slides.base_version.id
    assert learned().threshold <= mask.score <= 1  # its confidence
    assert filled(slides).num_images == 0


def test_size_is_judged_relative_to_what_the_model_sees(slides, monkeypatch):
    seen = []
    own = prefill.features_of

    def features_of(masks):
        seen.append((masks.size_hw, masks.areas.tolist()))
        return own(masks)

    monkeypatch.setattr(prefill, "features_of", features_of)
    filled(slides, image_ids=[slides.images[0].id])
    assert {size_hw for size_hw, _ in seen} == {(1024, 1024)}


def stop_after(slides, monkeypatch, num_tiles, confidence=None):
    """Prefill until so many tiles of the first image are done."""
    own = Bright.generate

    def generate(self, image, **options):
        if len(Bright.sizes) == num_tiles:
            raise KeyboardInterrupt
        return own(self, image, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Bright, "generate", generate)
        with pytest.raises(KeyboardInterrupt):
            filled(slides, confidence)


def unfinished(slides):
    """Folders of images whose tiles are there."""
    return sorted((slides.cache.folder / "prefilling").iterdir())


def test_a_stopped_run_goes_on_with_the_tiles_that_are_left(slides, monkeypatch):
    first, second = slides.images[:2]
    stop_after(slides, monkeypatch, 3)
    assert not any(masks_on(slides, image) for image in slides.images)
    assert len(unstarted_images(slides.store, slides.project.id)) == 3
    folder = TileFolder(slides.cache.folder, slides.store, slides.project.id)
    assert folder.progress(first.id) == (3, NUM_TILES)
    assert folder.progress(second.id) is None
    seen = []
    report = filled(slides, image_ids=[first.id], on_tile=lambda *one: seen.append(one))
    assert report.num_images == 1
    assert len(Bright.sizes) == NUM_TILES  # the first three were not generated again
    assert seen == [("a.png", done, NUM_TILES) for done in range(1, NUM_TILES + 1)]
    assert unfinished(slides) == []
    assert len(masks_on(slides, first)) == len(DISCS)


def test_a_stopped_run_gives_the_masks_of_one_in_one_go(slides, monkeypatch):
    stop_after(slides, monkeypatch, 2)
    filled(slides, image_ids=[slides.images[0].id])
    again = Path(slides.project.root) / "d.png"
    Image.fromarray(drawn()).save(again, compress_level=1)  # the same pixels in another file
    add_images(slides.store, slides.project.id)
    last = list_images(slides.store, slides.project.id).items[-1]
    filled(slides, image_ids=[last.id])
    once, resumed = (
        [(one.rle, one.score, one.stability) for one in list_annotations(slides.store, image.id)]
        for image in (last, slides.images[0])
    )
    assert len(once) == len(DISCS)
    assert resumed == once


def test_a_damaged_tile_is_found_anew(slides, monkeypatch):
    stop_after(slides, monkeypatch, 3)
    (folder,) = unfinished(slides)
    broken, *_ = sorted(path for path in folder.iterdir() if path.name != "progress.json")
    broken.write_bytes(broken.read_bytes()[:20])
    filled(slides, image_ids=[slides.images[0].id])
    assert len(Bright.sizes) == NUM_TILES + 1
    assert len(masks_on(slides, slides.images[0])) == len(DISCS)


def test_tiles_of_another_target_or_of_other_pixels_are_not_used(slides, monkeypatch):
    stop_after(slides, monkeypatch, 3)
    (before,) = unfinished(slides)
    other = learned(seed=1)
    assert other != learned()
    stop_after(slides, monkeypatch, 5, other)  # two of its own
    (after,) = unfinished(slides)
    assert after != before
    folder = TileFolder(slides.cache.folder, slides.store, slides.project.id)
    image = slides.images[0]
    assert folder.progress(image.id) == (2, NUM_TILES)
    folder.begin(replace(image, sha256="0" * 64), "")
    assert unfinished(slides) == []


def test_tiles_of_images_that_people_have_begun_are_removed(slides, monkeypatch):
    stop_after(slides, monkeypatch, 3)
    assert len(unfinished(slides)) == 1
    image = slides.images[0]
    take_image(slides.store, image.id, slides.ann)
    own = np.zeros((HEIGHT, WIDTH), bool)
    own[290:310, 290:310] = True
    rle = encode_rle(own)
    save_annotation(slides.store, image_id=image.id, user_id=slides.ann, rle=rle, events=[])
    filled(slides, image_ids=[slides.images[2].id])
    assert unfinished(slides) == []


def test_tiles_of_few_images_stay(slides, monkeypatch):
    """Of projects that are gone, nobody would remove them."""
    monkeypatch.setattr(tile_masks, "MOST_IMAGES", 2)
    masks = Bright().generate(drawn()[:100, :100])
    for project_id in (7, 8, 9):
        tiles = TileFolder(slides.cache.folder, slides.store, project_id)
        tiles.begin(slides.images[0], "").put((0, 0, 100, 100), masks)
        assert len(unfinished(slides)) == min(project_id - 6, 2)
    # Those of one project do not touch another's.
    TileFolder(slides.cache.folder, slides.store, 8).remove_others([])
    (left,) = unfinished(slides)
    tiles.remove(slides.images[1].id)
    assert unfinished(slides) == [left]
    tiles.remove(slides.images[0].id)
    assert unfinished(slides) == []


def test_a_person_s_masks_are_never_touched(slides):
    image = slides.images[0]
    take_image(slides.store, image.id, slides.ann)
    own = np.zeros((HEIGHT, WIDTH), bool)
    own[290:310, 290:310] = True
    rle = encode_rle(own)
    save_annotation(slides.store, image_id=image.id, user_id=slides.ann, rle=rle, events=[])
    assert filled(slides).num_images == 2
    (left,) = masks_on(slides, image)
    assert np.array_equal(left, own)


def test_masks_are_looked_for_at_the_level_at_which_people_work(slides):
    """They looked at 4,096 pixels at once, which the model sees at half of its size."""
    image = slides.images[1]
    take_image(slides.store, image.id, slides.ann)
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[100:1400, 100:1400] = True
    view = {"xy": [700, 700], "label": 1, "view": [0, 0, 2000, 1500]}
    made = [NewEvent(kind="point", data=view)]
    rle = encode_rle(mask)
    save_annotation(slides.store, image_id=image.id, user_id=slides.ann, rle=rle, events=made)
    submit_image(slides.store, image.id, slides.ann)
    from samkit.formats import region

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(region, "REGION_SIDE", 1000)
        assert filled(slides, image_ids=[slides.images[0].id]).num_images == 1
    assert set(Bright.sizes) == {(750, 1000)}  # half of the image's size: one tile
    found = masks_on(slides, slides.images[0])
    assert len(found) == len(DISCS)
    assert max(iou(disc_mask(*DISCS[3]), mask) for mask in found) > 0.93


def test_masks_of_an_image_and_the_folder_of_tiles_are_bounded(slides, monkeypatch, tmp_path):
    monkeypatch.setattr(prefill, "MOST_ON_IMAGE", 2)
    monkeypatch.setattr(lesson_images, "MAX_PYRAMID_BYTES", 0)
    filled(slides, image_ids=[one.id for one in slides.images[:2]])
    assert [len(masks_on(slides, image)) for image in slides.images] == [2, 2, 0]
    assert len(list((tmp_path / "embeddings" / "tiles").iterdir())) == 1  # the latest


def test_files_that_nobody_writes_any_more_are_removed_with_the_tiles(slides):
    folder = slides.cache.folder / "tiles"
    folder.mkdir()
    abandoned, being_written = folder / ".samkit.abandoned", folder / ".samkit.new"
    for path in (abandoned, being_written):
        path.write_bytes(b"1")
    os.utime(abandoned, (900, 900))
    filled(slides, image_ids=[slides.images[0].id])
    assert not abandoned.exists()
    assert being_written.exists()
    assert len(list(folder.iterdir())) == 2


def test_masks_of_a_level_fill_the_image(slides):
    mask = np.zeros((1, 3, 4), bool)
    mask[0, 1:, 3] = True
    small = Masks.from_arrays(mask, [0.5])
    (full,) = at_full_size(small, (5, 7), factor=2).rles
    assert decode_rle(full).nonzero()[0].tolist() == [2, 3, 4]
    assert decode_rle(full).nonzero()[1].tolist() == [6, 6, 6]
    assert at_full_size(small, (3, 4), factor=1) is small


def test_overlap_is_left_out_whatever_the_order():
    masks = np.zeros((4, 20, 20), bool)
    masks[0, :10, :10] = masks[1, 1:10, :10] = True
    masks[2, 12:, 12:] = masks[3, 9:12, 9:12] = True
    made = Masks.from_arrays(masks, [0.9, 0.8, 0.7, 0.6])
    sure = np.array([0.5, 0.6, 0.7, 0.8])
    assert without_overlap(made, np.arange(4), sure).tolist() == [1, 2, 3]
    assert without_overlap(made, np.array([0, 3]), sure).tolist() == [0, 3]
