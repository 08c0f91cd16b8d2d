"""Synthetic scenes of named objects."""

from collections import Counter

import numpy as np
import pytest

from samkit.datasets import SampleSource, open_data
from samkit.datasets.synthetic.named_scenes import COLORS, SHAPES, SURFACES, NamedScenes, all_names
from samkit.errors import ConfigError
from samkit.geometry import decode_rle

SCENES = NamedScenes(count=60, size=96, seed=4)


def test_a_scene_depends_on_its_number_seed_and_size_alone():
    other = NamedScenes(count=500, size=96, seed=4)
    for index in (7, 0, 7):
        np.testing.assert_array_equal(other[index].image, SCENES[index].image)
        assert other[index].rles == SCENES[index].rles
        assert other[index].phrases == SCENES[index].phrases
        assert other[index].key == SCENES[index].key
    images = {NamedScenes(size=48, seed=seed)[0].image.tobytes() for seed in range(5)}
    assert len(images) == 5


def test_every_thing_has_a_name_of_its_own():
    known = {str(name) for name in all_names()}
    assert len(known) == len(COLORS) * len(SHAPES) * len(SURFACES)
    for index in range(60):
        phrases = SCENES[index].phrases
        assert len(phrases) == len(SCENES[index].rles) == len(set(phrases))
        assert set(phrases) <= known


def test_things_do_not_touch_and_are_all_in_the_picture():
    for index in range(60):
        masks = np.stack([decode_rle(rle) for rle in SCENES[index].rles])
        assert masks.sum(axis=0).max() == 1
        assert masks.any(axis=(1, 2)).all()


def test_things_have_the_colour_of_their_name():
    close = []
    for index in range(60):
        sample = SCENES[index]
        for rle, phrase in zip(sample.rles, sample.phrases, strict=True):
            words = phrase.split()[1:]
            if words[0] in SURFACES:  # half of it is of another shade
                continue
            mean = sample.image[decode_rle(rle)].mean(axis=0)
            distances = {name: np.linalg.norm(mean - rgb) for name, rgb in COLORS.items()}
            close.append(min(distances, key=distances.get) == words[0])
    assert len(close) > 30
    assert np.mean(close) > 0.95


def test_many_things_differ_from_another_in_one_word():
    pairs, scenes = 0, 0
    for index in range(60):
        names = [set(phrase.split()) for phrase in SCENES[index].phrases]
        scenes += 1
        pairs += any(
            len(a & b) >= max(len(a), len(b)) - 1 for a in names for b in names if a is not b
        )
    assert pairs / scenes > 0.6


def test_all_words_are_used():
    phrases = [phrase for index in range(60) for phrase in SCENES[index].phrases]
    words = Counter(word for phrase in phrases for word in phrase.split())
    assert {*COLORS, *SHAPES, *SURFACES[1:]} <= set(words)


def test_they_are_opened_by_name():
    source = open_data("named:count=3,size=64,seed=9,things=2")
    assert isinstance(source, SampleSource)
    assert len(source) == 3
    assert source[0].image.shape == (64, 64, 3)
    assert len(source[0].rles) == 2


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("named:things=9", "things of named scenes must be a whole number of at least 1 and at"),
        ("named:size=8", "size of named scenes must be a whole number of at least 32"),
        ("named:colour=1", "named are written named:count=1000,size=128,seed=0,things=5"),
        ("named:count=x", "got 'count=x'"),
    ],
)
def test_bad_settings_are_refused(spec, told, refusal):
    with refusal(ConfigError, told):
        open_data(spec)
