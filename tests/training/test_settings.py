"""Changing settings by name, and refusals."""

from dataclasses import dataclass
from typing import Literal

import pytest

from samkit.errors import ConfigError
from samkit.training.sam.task import InteractiveRecipe
from samkit.training.settings import OptimRecipe, RunRecipe, list_settings, override


@dataclass(frozen=True, kw_only=True)
class Example:
    optim: OptimRecipe = OptimRecipe()
    run: RunRecipe = RunRecipe(steps=10)
    name: str | None = None
    size: int | None = 3
    jitter: tuple[float, float] | None = None
    flag: bool = False
    kind: Literal["a", "b"] = "a"
    session: InteractiveRecipe = InteractiveRecipe()


@pytest.mark.parametrize(
    ("assignment", "key", "value"),
    [
        ("optim.lr=1e-4", "optim.lr", 1e-4),
        ("optim.lr=1", "optim.lr", 1.0),
        ("optim.milestones=100,200", "optim.milestones", (100, 200)),
        ("optim.milestones=", "optim.milestones", ()),
        ("optim.betas=(0.9, 0.95)", "optim.betas", (0.9, 0.95)),
        ("optim.clip_norm=none", "optim.clip_norm", None),
        ("optim.schedule=cosine", "optim.schedule", "cosine"),
        ("run.steps=7", "run.steps", 7),
        ("name=a=b", "name", "a=b"),
        ("name=none", "name", None),
        ("size=none", "size", None),
        ("jitter=0.1,2", "jitter", (0.1, 2.0)),
        ("jitter=none", "jitter", None),
        ("flag=True", "flag", True),
        ("flag=0", "flag", False),
        ("kind=b", "kind", "b"),
    ],
)
def test_a_setting_is_changed(assignment, key, value):
    changed = list_settings(override(Example(), [assignment]))
    assert changed.pop(key) == value
    assert type(list_settings(override(Example(), [assignment]))[key]) is type(value)
    before = list_settings(Example())
    before.pop(key)
    assert changed == before


def test_changes_are_checked_together():
    @dataclass(frozen=True, kw_only=True)
    class Range:
        low: int = 1
        high: int = 2

        def __post_init__(self):
            if self.low > self.high:
                raise ConfigError("low is above high")

    assert override(Range(), ["low=5", "high=9"]) == Range(low=5, high=9)
    with pytest.raises(ConfigError, match="low is above high"):
        override(Range(), ["low=5"])


def test_later_changes_win():
    assert override(Example(), ["size=1", "size=2"]).size == 2


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("optim.lrr=1", "unknown setting 'optim.lrr'; did you mean optim.lr?"),
        ("data.x=1", "unknown setting 'data.x'; known here are optim, run, name"),
        ("optim=1", "'optim': optim is a group of settings"),
        ("size.x=1", "'size.x': size is a single setting"),
        ("size", "settings are changed by key=value, such as optim.lr=1e-4; got 'size'"),
        ("size=2.5", "size must be a whole number or none; got '2.5'"),
        ("size=true", "size must be a whole number or none; got 'true'"),
        ("optim.lr=fast", "optim.lr must be a number; got 'fast'"),
        ("optim.lr=__import__('os')", "optim.lr must be a number"),
        ("optim.betas=0.9", "optim.betas must be numbers with commas between them; got '0.9'"),
        ("flag=maybe", "flag must be true or false; got 'maybe'"),
        ("kind=c", "kind must be 'a' or 'b'; got 'c'"),
        ("optim.lr=0", "lr must be more than 0; got 0"),
        ("optim.layer_decay=2", "layer_decay must be more than 0 and at most 1; got 2"),
        ("optim.average_decay=1", "average_decay must be between 0 and 1; got 1.0"),
        ("optim.betas=0.9,1", "betas must be at least 0 and less than 1; got (0.9, 1.0)"),
        ("optim.decay_factor=-1", "decay_factor must be at least 0; got -1"),
        ("run.steps=0", "steps must be at least 1; got 0"),
        ("run.seed=-1", "seed must be at least 0"),
        ("session.prompts.corrections=-1", "corrections must be at least 0; got -1"),
        ("session.prompts.box_probability=2", "box_probability must be at least 0 and at most 1"),
        ("session.loss.dice=-1", "dice must be at least 0; got -1.0"),
    ],
)
def test_anything_else_is_refused_in_one_line(assignment, message):
    with pytest.raises(ConfigError) as caught:
        override(Example(), [assignment])
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
