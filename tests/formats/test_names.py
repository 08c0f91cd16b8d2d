"""File names of images, and of their results."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from samkit.formats import (
    IMAGE_SUFFIXES,
    base_name,
    flat_file_name,
    has_image_suffix,
    read_image,
)


@pytest.mark.parametrize("path", ["a.png", "deep/er/a.b.JPG", Path("a.Tiff")])
def test_images_are_known_by_their_suffix(path):
    assert has_image_suffix(path)


@pytest.mark.parametrize("path", ["", "a", "png", ".png", "a.png.json", "a.png/b", "a.pngs"])
def test_other_names_are_not_images(path):
    assert not has_image_suffix(path)


@pytest.mark.parametrize("suffix", IMAGE_SUFFIXES)
def test_each_suffix_is_one_that_is_read(suffix, tmp_path):
    path = tmp_path / f"a{suffix}"
    Image.new("L", (5, 3), 200).save(path)
    assert read_image(path).shape == (3, 5, 3)


def test_base_is_the_path_without_the_last_suffix():
    assert base_name("a.png") == "a"
    assert base_name("deep.er/a.b.png") == "deep.er/a.b"
    assert base_name("deep.er/a") == "deep.er/a"


@given(st.text(max_size=300), st.text(max_size=300))
def test_flat_names_are_plain_short_and_one_for_each_key(one, other):
    name = flat_file_name(one, ".bin")
    assert name.endswith(".bin")
    assert name.isascii()
    assert len(name) <= 100
    assert not set(name) & set('/\\:*?"<>| \0')
    assert (name == flat_file_name(other, ".bin")) == (one == other)


def test_flat_name_stays_readable_and_the_same():
    assert flat_file_name("deep/a b.png", ".x") == "deep_a_b.png-d2252698e2d0.x"
