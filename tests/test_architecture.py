"""Rooms: their public names, imports that bypass them, and import cycles."""

from __future__ import annotations

import inspect
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path

import grimp
import pytest

import samkit

ROOT = Path(samkit.__file__).parent
ROOMS = sorted(path.parent.name for path in ROOT.glob("*/__init__.py"))


@pytest.fixture(scope="module")
def graph():
    """Who imports whom, also inside of functions and for types only."""
    return grimp.build_graph("samkit", exclude_type_checking_imports=False, cache_dir=None)


def room_of(module):
    return module.split(".")[1] if "." in module else ""


def rank(name):
    """Constants, then types, then functions, as ruff sorts them."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


@pytest.mark.parametrize("room", ROOMS)
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


def test_rooms_import_from_the_faces_of_others_only(graph):
    past = [
        f"{module} -> {imported}"
        for module in sorted(graph.modules)
        for imported in graph.find_modules_directly_imported_by(module)
        if room_of(module) not in ("", room_of(imported)) and imported.count(".") > 1
    ]
    assert past == []


@pytest.mark.parametrize("room", ROOMS)
def test_no_name_of_a_room_hides_a_module_of_it(room):
    modules = {path.stem for path in (ROOT / room).iterdir()}
    assert modules & set(import_module(f"samkit.{room}").__all__) == set()


def test_no_module_imports_itself_through_others(graph):
    edges = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    TopologicalSorter(edges).prepare()  # raises CycleError, which names the circle
