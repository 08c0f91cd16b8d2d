"""Numbers and names of classes, and of masks without one."""

from hypothesis import given
from hypothesis import strategies as st

from samkit.formats import Categories, category_entries, free_name

words = st.sampled_from(["cell", "object", "object 2", "unlabelled", "кот 😀"])


def test_masks_without_a_class_have_a_category_only_once_there_are_some():
    categories = Categories(["cell", "nucleus"])
    assert category_entries(categories) == [
        {"id": 1, "name": "cell"},
        {"id": 2, "name": "nucleus"},
    ]
    assert categories.number(None) == categories.number("") == 3
    assert category_entries(categories)[2] == {
        "id": 3,
        "name": "object",
        "samkit": {"unlabelled": True},
    }


@given(known=st.lists(words), used=st.lists(words | st.none()), first=st.integers(0, 1))
def test_numbers_and_names_are_unique_and_without_gaps(known, used, first):
    categories = Categories(known, first=first)
    numbers = {name: categories.number(name) for name in used}
    assert all(categories.number(name) == number for name, number in numbers.items())
    names = categories.names()
    assert [number for number, _ in categories.items()] == [*range(first, first + len(names))]
    assert len(set(names)) == len(names) == len({*known, *used})
    for name, number in numbers.items():
        if name is not None:
            assert names[number - first] == name
    assert (categories.unlabelled is None) == (None not in used)


def test_free_names():
    assert free_name("a", ["b"]) == "a"
    assert free_name("a", ["a", "a 2"]) == "a 3"
