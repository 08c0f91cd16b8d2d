"""The room's public names: sorted, complete and documented."""

import inspect

import pytest

from samkit import datasets


def test_names_are_sorted_and_there():
    names = datasets.__all__
    # Constants, then classes, then functions.
    assert names == sorted(names, key=lambda name: (not name.isupper(), name[0].islower(), name))
    assert all(hasattr(datasets, name) for name in names)


@pytest.mark.parametrize("name", datasets.__all__)
def test_names_are_documented(name):
    thing = getattr(datasets, name)
    if inspect.isclass(thing) or inspect.isfunction(thing):
        assert thing.__doc__
        assert thing.__module__.startswith(datasets.__name__)
