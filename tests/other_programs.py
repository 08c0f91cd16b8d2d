"""Packages of other programs, which `make test-interop` installs."""

import warnings
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

import pytest


def load(name: str) -> ModuleType:
    """Import a module, or skip the test if its package is not installed.

    One that is installed and cannot be imported is an error, and no reason to skip.
    """
    package = name.partition(".")[0]
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed: make test-interop", allow_module_level=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what they import of one another is no fault of ours
        return import_module(name)
