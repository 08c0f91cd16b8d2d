"""Tiled mask generation: masks joined across seams, with a stub that sees known objects."""

import dataclasses
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proposals.scenery import Thing, corner_of, make_image
from proposals.test_filter import assert_equal_masks
from samkit.errors import ImageError
from samkit.proposals import TileConfig, generate_tiled
from samkit.proposals.tiles import Groups
from samkit.types import Masks

# Tiles of 200 pixels in an image of 540 x 540 begin at 0, 170 and 340 and share 30 pixels.
TILING = TileConfig(tile_px=200, overlap_px=30)
SIZE = (540, 540)
IMAGE = make_image(*SIZE)


class StubMasker:
    """Sees of each thing what is in the tile.

    Attributes:
        things: with predicted IoUs, or functions of the tile's corner that may tell None.
        tiles: sizes of the tiles that it was shown.
    """

    def __init__(self, *things, columns=True):
        self.things, self.columns, self.tiles = things, columns, []

    def generate(self, image):
        height, width = image.shape[:2]
        assert image.dtype == np.uint8
        self.tiles.append((height, width))
        x, y = corner_of(image)
        arrays, scores = [], []
        for thing in self.things:
            score = thing.iou_pred((x, y)) if callable(thing.iou_pred) else thing.iou_pred
            shifted = Thing(
                tuple(np.subtract(thing.box_xyxy, (x, y, x, y))),
                holes=tuple(tuple(np.subtract(hole, (x, y, x, y))) for hole in thing.holes),
            )
            mask = shifted.mask((height, width))
            if score is not None and mask.any():
                arrays.append(mask)
                scores.append(score)
        masks = Masks.from_arrays(np.array(arrays, bool).reshape(-1, height, width), scores)
        if not self.columns:
            return masks
        return dataclasses.replace(
            masks,
            stability=np.full(len(masks), 0.97, np.float32),
            points_xy=(masks.boxes_xyxy[:, :2] + 0.5).astype(np.float64),
            crops_xyxy=np.tile([0, 0, width, height], (len(masks), 1)),
        )


def tiled(*things, size_hw=SIZE, tiling=TILING, **settings):
    image = IMAGE if size_hw == SIZE else make_image(*size_hw)
    return generate_tiled(StubMasker(*things, **settings), image, tiling)


def assert_masks_are(masks, things):
    """Exactly the masks of some things, in any order."""
    expected = sorted(thing.mask(masks.size_hw).tobytes() for thing in things)
    assert sorted(mask.tobytes() for mask in masks.to_arrays()) == expected


@pytest.mark.parametrize(
    "box",
    [
        (100, 50, 300, 120),  # across a vertical seam
        (50, 100, 120, 300),  # across a horizontal seam
        (120, 130, 300, 290),  # around a corner of four tiles
        (20, 60, 520, 100),  # through three tiles
        (5, 5, 530, 535),  # through all tiles
        (172, 40, 198, 80),  # within what two tiles share, and cut off by neither ... nearly
        (175, 172, 190, 190),  # within what four tiles share
        (250, 50, 300, 120),  # in one tile alone
        (0, 0, 540, 540),
    ],
)
def test_thing_is_one_mask_wherever_the_seams_are(box):
    thing = Thing(box)
    masks = tiled(thing)
    assert_masks_are(masks, [thing])
    assert masks.boxes_xyxy.tolist() == [list(box)]
    assert masks.areas.tolist() == [masks.to_arrays().sum()]


def test_thing_with_a_hole_on_a_seam_keeps_it():
    thing = Thing((100, 50, 300, 160), holes=((160, 80, 260, 110),))
    assert_masks_are(tiled(thing), [thing])


def test_several_things_stay_apart():
    things = [
        Thing((100, 20, 300, 60)),
        Thing((100, 60, 300, 100)),  # touches the one above
        Thing((60, 120, 450, 180), 0.95),
        Thing((400, 300, 500, 500)),
    ]
    masks = tiled(*things)
    assert_masks_are(masks, things)
    assert masks.scores[0] == pytest.approx(0.95)  # the best first


def test_thing_and_its_part_stay_two_masks():
    # Both lie across the seam at 170 to 200, the part in the upper half.
    whole, part = Thing((100, 20, 300, 160)), Thing((100, 20, 300, 90))
    assert_masks_are(tiled(whole, part), [whole, part])


BOXES = st.tuples(
    st.integers(0, 500), st.integers(0, 500), st.integers(8, 300), st.integers(8, 300)
)


@settings(max_examples=25)
@given(st.lists(BOXES, max_size=5), st.integers(100, 250), st.integers(40, 50))
def test_what_perfect_masks_of_tiles_make_is_perfect(boxes, tile_px, overlap_px):
    things = []
    for x, y, width, height in boxes:
        thing = Thing((x, y, min(540, x + width), min(540, y + height)))
        own = thing.mask(SIZE)
        # Things of nearly the same box cannot be told apart within what two tiles share.
        if not any((own & other.mask(SIZE)).any() for other in things):
            things.append(thing)
    tiling = TileConfig(tile_px=tile_px, overlap_px=overlap_px)
    assert_masks_are(tiled(*things, tiling=tiling), things)


def test_whole_mask_is_kept_and_not_grown_by_what_others_see_of_it():
    # The left tile sees all of it; the right one takes a part of its surroundings for it, too.
    thing = Thing((100, 50, 178, 120), lambda corner: 0.9 if corner == (0, 0) else None)
    other = Thing((100, 50, 184, 120), lambda corner: 0.99 if corner == (170, 0) else None)
    masks = tiled(thing, other)
    assert_masks_are(masks, [thing])
    assert masks.scores.tolist() == pytest.approx([0.9])


def test_of_two_whole_masks_the_surer_stays():
    # Tiles of 300 that share 200.
    tiling = TileConfig(tile_px=300, overlap_px=150)
    thing = Thing((180, 50, 230, 120), lambda corner: 0.9 if corner[0] == 0 else 0.95)
    masks = tiled(thing, size_hw=(300, 420), tiling=tiling)
    assert_masks_are(masks, [thing])
    assert masks.scores.tolist() == pytest.approx([0.95])
    assert masks.crops_xyxy.tolist() == [[120, 0, 420, 300]]


def test_masks_that_agree_too_little_are_not_joined():
    # Where both tiles see it, x 170..200: 60 rows against 20 of them.
    left = Thing((100, 40, 300, 100), lambda corner: 0.9 if corner == (0, 0) else None)
    right = Thing((100, 40, 300, 60), lambda corner: 0.9 if corner == (170, 0) else None)
    assert len(tiled(left, right)) == 2
    loose = dataclasses.replace(TILING, seam_iou_thresh=0.3)
    assert len(tiled(left, right, tiling=loose)) == 1


def seen_from(*corners):
    """Predicted IoU of a thing that only the tiles at these corners see."""
    return lambda corner: 0.9 if corner in corners else None


@pytest.mark.parametrize(
    ("small", "large"),
    [
        # Tiles 0..1024 and 768..1792: within what they share, 768..1024, the two have IoU 0.87.
        (((700, 990), 0), ((768, 1498), 768)),
        # The mirror image: the small one is complete in the right tile.
        (((798, 1018), 768), ((100, 1024), 0)),
        # Both are complete, and neither tile sees all of both.
        (((700, 990), 0), ((790, 1500), 768)),
    ],
)
def test_complete_mask_does_not_swallow_what_reaches_beyond_its_tile(small, large):
    tiling = TileConfig(tile_px=1024, overlap_px=256)
    things = [
        Thing((x0, 100, x1, 200), seen_from((corner, 0))) for (x0, x1), corner in (small, large)
    ]
    masks = tiled(*things, size_hw=(1024, 1792), tiling=tiling)
    assert_masks_are(masks, things)


def test_complete_mask_does_not_swallow_a_chain_of_cut_ones():
    # Tiles of 300 that share 200, at 0, 100, 200: `middle` is a view of the complete one at 0 and
    # agrees with `far`, which reaches beyond that tile.
    tiling = TileConfig(tile_px=300, overlap_px=150)
    near = Thing((90, 50, 270, 120), seen_from((0, 0)))
    middle = Thing((100, 50, 270, 120), seen_from((100, 0)))
    far = Thing((200, 50, 330, 120), seen_from((200, 0)))
    masks = tiled(near, middle, far, size_hw=(300, 500), tiling=tiling)
    assert_masks_are(masks, [near, far])


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.integers(0, 400), st.integers(30, 400), st.sampled_from([0, 150, 300])),
        min_size=1,
        max_size=5,
    )
)
def test_large_masks_never_vanish(views):
    """Law: however views overlap, a mask's columns beyond other tiles are masked by something."""
    tiling = TileConfig(tile_px=300, overlap_px=150)  # at 0, 150, 300 of 600
    things = []
    for x, width, corner in views:
        x0, x1 = max(x, corner), min(x + width, corner + 300, 600)
        if x1 - x0 >= 8:
            things.append((Thing((x0, 50, x1, 120), seen_from((corner, 0))), corner))
    masks = tiled(*(thing for thing, _ in things), size_hw=(300, 600), tiling=tiling)
    covered = masks.to_arrays().any(axis=(0, 1)) if len(masks) else np.zeros(600, bool)
    for thing, corner in things:
        x0, _, x1, _ = thing.box_xyxy
        for other in (0, 150, 300):
            if other != corner:  # columns that no other tile can vouch for
                x0, x1 = (max(x0, other + 300), x1) if other < corner else (x0, min(x1, other))
        assert covered[x0:x1].all()


def test_cut_mask_is_dropped_if_another_tile_sees_all_of_it_and_disagrees():
    tiling = TileConfig(tile_px=200, overlap_px=80)  # tiles begin at 0, 113, 227, 340
    # Reaches the border of the first tile at 200; the second sees it 27 pixels from its own.
    cut = Thing((140, 50, 200, 90), lambda corner: 0.9 if corner == (0, 0) else None)
    assert len(tiled(cut, tiling=tiling)) == 0
    # That nobody else sees whole stays.
    lone = Thing((60, 50, 200, 90), lambda corner: 0.9 if corner == (0, 0) else None)
    assert_masks_are(
        tiled(lone, tiling=tiling), [dataclasses.replace(lone, box_xyxy=(60, 50, 200, 90))]
    )


def test_joined_mask_has_the_scores_and_point_of_its_largest_part():
    # 100 columns in the left tile and 60 in the right one.
    thing = Thing((100, 50, 230, 120), lambda corner: 0.9 if corner == (0, 0) else 0.95)
    masks = tiled(thing)
    assert masks.scores.tolist() == pytest.approx([0.9])
    assert masks.points_xy.tolist() == [[100.5, 50.5]]
    assert masks.crops_xyxy.tolist() == [[0, 0, 370, 200]]
    assert masks.stability.tolist() == pytest.approx([0.97])


def test_points_and_crops_are_in_the_image():
    masks = tiled(Thing((400, 420, 450, 500)))
    assert masks.points_xy.tolist() == [[400.5, 420.5]]
    assert masks.crops_xyxy.tolist() == [[340, 340, 540, 540]]


def test_masks_without_points_and_stability():
    masks = tiled(Thing((100, 50, 300, 120)), columns=False)
    assert masks.stability is None
    assert masks.points_xy is None
    assert masks.crops_xyxy.tolist() == [[0, 0, 370, 200]]


def test_nothing_found():
    masks = tiled()
    assert len(masks) == 0
    assert masks.size_hw == SIZE
    assert masks.points_xy.shape == (0, 2)
    assert masks.crops_xyxy.shape == (0, 4)


def test_image_of_one_tile_is_not_cut():
    image = make_image(150, 190)
    masker = StubMasker(Thing((10, 20, 50, 60)), Thing((60, 20, 190, 150), 0.8))
    assert_equal_masks(generate_tiled(masker, image, TILING), masker.generate(image))
    assert masker.tiles[0] == (150, 190)


def test_progress_counts_tiles():
    calls = []
    generate_tiled(StubMasker(), IMAGE, TILING, on_progress=lambda *call: calls.append(call))
    assert calls == [(number, 9) for number in range(1, 10)]


class Record(dict):
    """The masks of tiles, by their boxes."""

    put = dict.__setitem__


def test_tiles_that_are_on_record_are_not_generated_again():
    things = [Thing((10, 20, 50, 60)), Thing((150, 150, 260, 250), 0.8), Thing((380, 30, 500, 90))]
    record, masker = Record(), StubMasker(*things)
    once = generate_tiled(masker, IMAGE, TILING, record=record)
    assert (len(record), len(masker.tiles)) == (9, 9)
    for box in [(0, 0, 200, 200), (340, 340, 540, 540)]:
        del record[box]
    again = StubMasker(*things)
    calls = []
    masks = generate_tiled(
        again, IMAGE, TILING, record=record, on_progress=lambda *call: calls.append(call)
    )
    assert_equal_masks(masks, once)
    assert (len(record), len(again.tiles)) == (9, 2)
    assert calls == [(number, 9) for number in range(1, 10)]


def test_tiles_are_read_as_images():
    masker = StubMasker()
    generate_tiled(masker, np.zeros((210, 100), np.uint16), TILING)
    assert masker.tiles == [(200, 100), (200, 100)]


class HugeImage:
    """Pixels that tell their place, made when asked for."""

    size_hw = (20_000, 20_000)

    def __init__(self):
        self.largest = 0

    def read(self, box_xyxy):
        x0, y0, x1, y1 = box_xyxy
        self.largest = max(self.largest, (x1 - x0) * (y1 - y0))
        # `corner_of` tells places up to 4096: here in units of 8 pixels.
        pixels = np.zeros((y1 - y0, x1 - x0, 3), np.uint8)
        pixels[0, 0] = x0 // 8 % 256, y0 // 8 % 256, x0 // 8 // 256 * 16 + y0 // 8 // 256
        return pixels


class HugeStub(StubMasker):
    """Sees a long river, and a lake in each tile."""

    def generate(self, image):
        height, width = image.shape[:2]
        y = 8 * corner_of(image)[1]
        river = np.zeros((height, width), bool)
        river[max(0, 9000 - y) : max(0, 9100 - y)] = True
        lake = np.zeros((height, width), bool)
        lake[900:1000, 900:1000] = True
        arrays = np.array([lake, river] if river.any() else [lake])
        return Masks.from_arrays(arrays, [0.9, 0.95][: len(arrays)])


def test_memory_does_not_grow_with_the_image():
    source = HugeImage()
    tiling = TileConfig(tile_px=2048, overlap_px=256)
    tracemalloc.start()
    masks = generate_tiled(HugeStub(), source, tiling)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # One mask of the image as an array would take 400 MB.
    assert peak < 50e6
    assert source.largest == 2048**2
    assert masks.boxes_xyxy[0].tolist() == [0, 9000, 20_000, 9100]
    assert masks.areas[0] == 2_000_000
    assert masks.areas[1:].tolist() == [10_000] * 144
    assert masks.rles[0]["size"] == [20_000, 20_000]


def test_image_too_large_for_run_lengths_is_refused(refusal):
    class TooLarge(HugeImage):
        size_hw = (70_000, 70_000)

    with refusal(ImageError, "70000 x 70000", "the limit is 4,294,967,295 pixels"):
        generate_tiled(StubMasker(), TooLarge())


def test_groups_hold_what_is_joined_directly_or_not():
    groups = Groups()
    groups.extend(3)
    groups.extend(4)
    for one, other in ((5, 1), (1, 6), (2, 3)):
        groups.join(one, other)
    assert len(groups) == 7
    assert groups.members() == [[0], [1, 5, 6], [2, 3], [4]]
