"""Rooms: their public names, imports that bypass them, and import cycles."""

from __future__ import annotations

import inspect
from collections import Counter
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path

import grimp
import pytest

import samkit

ROOT = Path(samkit.__file__).parent
ROOMS = sorted(path.parent.name for path in ROOT.glob("*/__init__.py") if path.parent.name != "cli")
# Rooms without an `__all__`, for now; the command line needs none, since nobody imports it.
FACELESS = {"benchmark", "compat", "datasets", "training", "weights"}
# Imports from other rooms that go past their face to a module behind it: to be lowered, not raised.
ALLOWED_PAST_FACES = 197
# Pairs of modules that import each other, for now.
ALLOWED_CIRCLES = {
    ("samkit.training.state", "samkit.training.loop"),
    ("samkit.compat.automatic_mask_generator", "samkit.compat.segment_anything"),
}


@pytest.fixture(scope="module")
def graph():
    """Who imports whom, also inside of functions and for types only."""
    return grimp.build_graph("samkit", exclude_type_checking_imports=False, cache_dir=None)


def room_of(module):
    return module.split(".")[1] if "." in module else ""


def rank(name):
    """Constants, then types, then functions, as ruff sorts them."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


@pytest.mark.parametrize("room", [room for room in ROOMS if room not in FACELESS])
def test_names_of_a_room_are_sorted_documented_and_there(room):
    face = import_module(f"samkit.{room}")
    assert face.__doc__
    assert list(face.__all__) == sorted(face.__all__, key=rank)
    assert [name for name in face.__all__ if not hasattr(face, name)] == []
    things = {name: getattr(face, name) for name in face.__all__}
    bare = [
        name
        for name, thing in things.items()
        if (inspect.isclass(thing) or inspect.isfunction(thing)) and not own_doc(thing)
    ]
    assert bare == []


def own_doc(thing):
    """The docstring that somebody wrote; dataclasses without one get their signature."""
    doc = thing.__dict__.get("__doc__") if inspect.isclass(thing) else thing.__doc__
    return doc and not doc.startswith(f"{thing.__name__}(")


def test_imports_past_faces_become_fewer(graph):
    past = Counter(
        f"{room_of(module)} -> {imported}"
        for module in graph.modules
        for imported in graph.find_modules_directly_imported_by(module)
        if room_of(module) not in ("", room_of(imported)) and imported.count(".") > 1
    )
    assert past.total() <= ALLOWED_PAST_FACES, past.most_common()


def test_no_module_imports_itself_through_others(graph):
    edges = {
        module: {
            imported
            for imported in graph.find_modules_directly_imported_by(module)
            if (module, imported) not in ALLOWED_CIRCLES
        }
        for module in graph.modules
    }
    TopologicalSorter(edges).prepare()  # raises CycleError, which names the circle
