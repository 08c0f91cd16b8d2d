"""Synthetic scenes."""

from dataclasses import replace

import numpy as np
import pytest

from samkit.datasets import SampleSource
from samkit.datasets.synthetic import Scenes
from samkit.datasets.synthetic.shapes import KINDS, cover, draw_shape
from samkit.errors import ConfigError
from samkit.geometry import decode_rle


def masks_of(sample):
    return np.stack([decode_rle(rle) for rle in sample.rles])


def test_a_scene_depends_on_its_number_seed_and_size_alone(scenes):
    other = replace(scenes, count=500)
    for index in (7, 0, 7):
        np.testing.assert_array_equal(other[index].image, scenes[index].image)
        assert other[index].rles == scenes[index].rles
        assert other[index].key == scenes[index].key == f"scene-5-48-{index}"


def test_scenes_differ():
    scenes = [Scenes(size=32, seed=seed)[index] for seed in range(5) for index in range(5)]
    assert len({scene.image.tobytes() for scene in scenes}) == 25
    assert len({scene.key for scene in scenes}) == 25


def test_global_random_state_has_no_part(scenes):
    np.random.seed(0)  # noqa: NPY002 - that it does not matter
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    scenes[3]
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


def test_scenes_are_rich():
    """Many masks; whole things and parts in them; small and large."""
    scenes = Scenes(count=60, size=96, seed=1)
    nested = 0
    counts, areas = [], []
    for index in range(60):
        masks = masks_of(scenes[index])
        counts.append(len(masks))
        areas += masks.sum(axis=(1, 2)).tolist()
        for a in masks:
            nested += any((a & b).sum() == b.sum() < a.sum() for b in masks)
    assert 5 < np.mean(counts) < 12
    assert min(counts) >= 1
    assert nested > 60
    assert min(areas) >= 0.0006 * 96**2
    assert max(areas) > 0.15 * 96**2
    assert np.median(areas) < 0.05 * 96**2


def test_few_things_hide_less_of_each_other():
    usual = Scenes(count=40, size=64, seed=2)
    easier = Scenes(count=40, size=64, seed=2, things=3)
    per_scene = [
        np.mean([len(scenes[index].rles) for index in range(40)]) for scenes in (usual, easier)
    ]
    assert per_scene[1] < 0.7 * per_scene[0]
    assert usual.key(3) == "scene-2-64-3"
    assert easier.key(3) == "scene-2-64-3-3"


def test_masks_overlap_only_where_one_is_a_part_of_the_other():
    scenes = Scenes(count=40, size=64, seed=2)
    for index in range(40):
        masks = masks_of(scenes[index])
        for i, a in enumerate(masks):
            for b in masks[:i]:
                common = (a & b).sum()
                # Never across: a part lies within its thing, but for what hides the thing.
                assert common in (0, min(a.sum(), b.sum()))


def test_image_changes_at_the_edges_of_masks():
    """Masks lie where the things are: contrast across edges exceeds that inside."""
    scenes = Scenes(count=20, size=128, seed=3)
    across, inside = [], []
    for index in range(20):
        scene = scenes[index]
        steps = np.abs(np.diff(scene.image.astype(float), axis=1)).mean(axis=2)
        for mask in masks_of(scene):
            edge = mask[:, 1:] != mask[:, :-1]
            across.append(steps[edge].mean())
            both = mask[:, 1:] & mask[:, :-1]
            inside.append(steps[both].mean() if both.any() else 0)
    assert np.mean(across) > 3 * np.mean(inside)


@pytest.mark.parametrize("kind", [*KINDS, "line"])
def test_coverage_is_the_shapes_area(kind):
    """A picture four times as fine has four by four times the area; nothing is shifted."""
    # Thin lines are some whole subpixels wide, the number of which differs along them.
    share, shift = (0.15, 1.0) if kind == "line" else (0.05, 0.3)
    for seed in range(5):
        shape = draw_shape(np.random.default_rng(seed), kind)
        coarse = cover(shape, np.array([50.0, 50.0]), 20.0, 100)
        fine = cover(shape, np.array([200.0, 200.0]), 80.0, 400)
        area, fine_area = coarse.coverage.sum(), fine.coverage.sum() / 16
        assert area == pytest.approx(fine_area, rel=share)
        rows, cols = np.mgrid[: coarse.coverage.shape[0], : coarse.coverage.shape[1]]
        fine_rows, fine_cols = np.mgrid[: fine.coverage.shape[0], : fine.coverage.shape[1]]
        x = np.average(cols + coarse.x + 0.5, weights=coarse.coverage)
        y = np.average(rows + coarse.y + 0.5, weights=coarse.coverage)
        assert x == pytest.approx(
            np.average(fine_cols + fine.x + 0.5, weights=fine.coverage) / 4, abs=shift
        )
        assert y == pytest.approx(
            np.average(fine_rows + fine.y + 0.5, weights=fine.coverage) / 4, abs=shift
        )


def test_shape_outside_of_the_picture_covers_nothing():
    shape = draw_shape(np.random.default_rng(0), "disc")
    assert cover(shape, np.array([-50.0, 10.0]), 20.0, 100) is None


def test_it_is_a_source(scenes):
    assert isinstance(scenes, SampleSource)
    assert len(scenes) == 12
    assert scenes[-1].key == scenes[11].key
    with pytest.raises(IndexError):
        scenes[12]


@pytest.mark.parametrize(
    "fields",
    [
        {"count": 0},
        {"size": 4},
        {"seed": -1},
        {"size": 2.5},
        {"things": 2},
        {"things": 101},
    ],
)
def test_settings_without_sense_are_refused(fields, refusal):
    with refusal(ConfigError, next(iter(fields)), "whole number of at least"):
        Scenes(**fields)
