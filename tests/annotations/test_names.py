"""Finding images by the names that other programs give them: the right one, or none."""

import unicodedata
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samkit.annotations import ImageNames
from samkit.errors import DataError

parts = st.text("abcXYZ_ äéß目ñ", min_size=1, max_size=4).filter(lambda one: one.strip() == one)
paths = st.lists(parts, min_size=1, max_size=3).map(lambda one: "/".join(one) + ".png")


def composed(path):
    return unicodedata.normalize("NFC", path)


@pytest.mark.parametrize(
    ("paths", "name", "folder", "found"),
    [
        (["a.png", "s1/a.png"], "a.png", None, "a.png"),
        (["a.png", "s1/a.png"], "a.png", "s1", "s1/a.png"),
        (["a.png", "s1/a.png"], "a.png", "", "a.png"),
        (["a.png", "s1/a.png"], "s1/a.png", "s1", "s1/a.png"),
        (["a.png", "s1/a.png"], "../a.png", "s1", "a.png"),
        (["s1/a.png", "s2/a.png"], "/home/ada/set/s1/a.png", None, "s1/a.png"),
        (["s1/a.png", "s2/a.png"], "C:\\set\\s2\\a.png", None, "s2/a.png"),
        (["s1/a.png", "s2/a.png"], "/home/ada/photos/a.png", "s2", "s2/a.png"),
        (["s1/a.png", "s2/a.png"], "D:\\set\\a.png", "s1", "s1/a.png"),
        (["deep/a.png"], "a.png", None, "deep/a.png"),
        (["deep/a.png"], "elsewhere/a.png", "s1", "deep/a.png"),
        (["my image.png"], "my%20image.png", None, "my image.png"),
        (["100%25.png", "100%.png"], "100%25.png", None, "100%25.png"),
        (["A.PNG"], "a.png", None, "A.PNG"),
        (["a.PNG", "a.png"], "a.png", None, "a.png"),
        (["cat.jpg"], "0a1b2c3d-cat.jpg", None, "cat.jpg"),
        (["cat.jpg"], "/data/upload/3/0a1b2c3d-cat.jpg", None, "cat.jpg"),
        (["s1/cat.jpg", "cat.jpg"], "/data/local-files/?d=set/s1/cat.jpg", None, "s1/cat.jpg"),
        (["x/b c.png"], "https://host/x/b%20c.png?token=1", None, "x/b c.png"),
        (["cat.jpg"], "train/cat_jpg.rf.0123456789abcdef0123456789abcdef.jpg", None, "cat.jpg"),
        (["0a1b2c3d-cat.jpg", "cat.jpg"], "0a1b2c3d-cat.jpg", None, "0a1b2c3d-cat.jpg"),
    ],
)
def test_names_of_other_programs(paths, name, folder, found):
    assert ImageNames(paths).find(name, folder=folder) == found


@pytest.mark.parametrize(
    ("paths", "name", "folder", "part"),
    [
        ([], "a.png", None, "the project has no image of this name"),
        (["b.png"], "", None, "no image of this name"),
        (["b.png"], "..", "s1", "no image of this name"),
        (["a.jpg"], "a.png", None, "no image of this name (but a.jpg)"),
        (["s1/a.png", "s2/a.png"], "a.png", None, "several images of the project have this name"),
        (["a.png", "val/a.png"], "train/a.png", None, "several images"),
        (["a.png", "s2/a.png"], "a.png", "s1", "several images"),
        (["a.PNG", "A.png"], "a.png", None, "several images"),
        (["s1/cat.jpg", "s2/cat.jpg"], "0a1b2c3d-cat.jpg", None, "several images"),
    ],
)
def test_names_that_could_be_several_or_none_are_refused(paths, name, folder, part, refusal):
    with refusal(DataError, part):
        ImageNames(paths).find(name, folder=folder)


@pytest.mark.parametrize(
    ("paths", "name", "found"),
    [
        (["a.jpg"], "a", "a.jpg"),
        (["a.jpg", "deep/a.jpg"], "deep/a", "deep/a.jpg"),
        (["v1.2.jpg"], "v1.2", "v1.2.jpg"),
        (["a.jpg"], "a_mask", "a.jpg"),
        (["a.jpg", "a_mask.jpg"], "a_mask", "a_mask.jpg"),
        (["a.jpg"], "train/A-labels", "a.jpg"),
    ],
)
def test_names_without_suffix(paths, name, found):
    assert ImageNames(paths).find(name, has_suffix=False) == found


def test_two_images_do_not_share_a_name_without_suffix(refusal):
    with refusal(DataError, "several images of the project have this name: a.jpg, a.png"):
        ImageNames(["a.jpg", "a.png"]).find("a", has_suffix=False)


@given(st.sets(paths, min_size=1, max_size=6), st.data())
def test_every_path_is_found_and_so_is_what_programs_make_of_it(found, data):
    names = ImageNames(found)
    path = data.draw(st.sampled_from(sorted(found)))
    # Different spellings of one name in one folder are for no program to tell apart.
    alone = sum(composed(one).casefold() == composed(path).casefold() for one in found) == 1
    assert names.find(path) == path
    if alone:
        for made in (
            path.replace("/", "\\"),
            unicodedata.normalize("NFD", path),
            quote(path),
            f"./{path}",
        ):
            assert composed(names.find(made)) == composed(path)
        folder, _, name = path.rpartition("/")
        assert names.find(name, folder=folder) == path


@given(st.sets(paths, min_size=1, max_size=6), st.text(max_size=12), st.booleans())
def test_any_name_finds_an_image_or_is_refused_in_one_line(found, name, has_suffix):
    try:
        assert ImageNames(found).find(name, has_suffix=has_suffix) in found
    except DataError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017 - or none
