"""A predictor for the tests of this folder."""

from collections.abc import Callable

import pytest

from samkit import Predictor
from samkit.models import CONFIGS, Sam


@pytest.fixture(scope="module")
def predictor(randomise: Callable[..., None]) -> Predictor:
    """The smallest real model, random but not degenerate, for a file's tests."""
    model = Sam(CONFIGS["tiny"])
    randomise(model)
    return Predictor(model, model_name="tiny")
