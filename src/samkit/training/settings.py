"""Settings shared by all recipes, and `override`, which changes settings by name.

A recipe is a frozen dataclass of frozen dataclasses; `override(recipe, ["optim.lr=1e-4"])` returns
a changed copy. Values are parsed and checked by the types of the fields.
"""

import ast
import dataclasses
import difflib
import types
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from samkit.errors import ConfigError

R = TypeVar("R")
MAX_SEED = 2**63 - 1  # limit of torch's generators
FLAGS = {"true": True, "false": False, "1": True, "0": False}


@dataclass(frozen=True, kw_only=True)
class OptimRecipe:
    """Settings of the optimiser and its schedule.

    Attributes:
        method: "adamw"; or "muon", which is faster from random weights: Muon for the weights of
            linear layers, AdamW for the rest.
        lr: learning rate of the deepest layers after the warm-up.
        betas: AdamW's decay rates of the moments.
        weight_decay: weight decay; not applied to biases, norms, tokens and position embeddings.
        layer_decay: ratio of the learning rates of each block of the image encoder and the next; 1
            gives all of them the same rate.
        warmup_steps: steps in which the rate grows linearly from 0.
        schedule: "steps" multiplies the rate by `decay_factor` at each of `milestones`; "cosine"
            lowers it along half a cosine, which would reach 0 one step after the last.
        milestones: steps at which the "steps" schedule lowers the rate.
        decay_factor: factor of the rate at each milestone.
        clip_norm: gradients of a larger norm are scaled down to it; None does not clip.
        average_decay: decay per step of a moving average of the weights, which is evaluated and
            exported instead of the weights; None for no average.
    """

    method: Literal["adamw", "muon"] = "adamw"
    lr: float = 8e-4
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.1
    layer_decay: float = 1.0
    warmup_steps: int = 250
    schedule: Literal["steps", "cosine"] = "steps"
    milestones: tuple[int, ...] = ()
    decay_factor: float = 0.1
    clip_norm: float | None = 1.0
    average_decay: float | None = None

    def __post_init__(self) -> None:
        check_range("lr", self.lr, 0, exclusive=True)
        check_range("weight_decay", self.weight_decay, 0)
        check_range("layer_decay", self.layer_decay, 0, 1, exclusive=True)
        check_range("decay_factor", self.decay_factor, 0)
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"betas must be at least 0 and less than 1; got {self.betas!r}")
        check_range("warmup_steps", self.warmup_steps, 0)
        if self.clip_norm is not None:
            check_range("clip_norm", self.clip_norm, 0, exclusive=True)
        if self.average_decay is not None and not 0 < self.average_decay < 1:
            raise ConfigError(f"average_decay must be between 0 and 1; got {self.average_decay!r}")


@dataclass(frozen=True, kw_only=True)
class RunRecipe:
    """Settings of a run: length, precision and hardware.

    Attributes:
        steps: number of optimiser steps.
        accumulate: number of batches per step in each process.
        precision: "32-true", "bf16-mixed" or "16-mixed", as Lightning Fabric names them; "auto" is
            "bf16-mixed" where the processor or GPU computes in bfloat16, else "32-true".
        seed: seed of weights, data order, augmentation and prompts.
        log_every: steps between rows of the log.
        evaluate_every: steps between evaluations; 0 evaluates at the end only.
        evaluate_first: also evaluate the initial weights.
        save_every: steps between checkpoints.
        accelerator: "auto", "cpu" or "cuda".
        devices: number of devices of this machine; torchrun overrides it.
        strategy: "auto" is "ddp" if there are several processes; "fsdp" shards weights, gradients
            and optimiser state.
    """

    steps: int
    accumulate: int = 1
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "32-true"
    seed: int = 0
    log_every: int = 10
    evaluate_every: int = 0
    evaluate_first: bool = False
    save_every: int = 500
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    devices: int = 1
    strategy: Literal["auto", "ddp", "fsdp"] = "auto"

    def __post_init__(self) -> None:
        for name in ("steps", "accumulate", "log_every", "save_every", "devices"):
            check_range(name, getattr(self, name), 1)
        check_range("evaluate_every", self.evaluate_every, 0)
        check_range("seed", self.seed, 0, MAX_SEED)
        if self.strategy == "fsdp" and self.precision == "16-mixed":
            raise ConfigError("run.strategy=fsdp needs run.precision=bf16-mixed or 32-true")


def check_range(
    name: str,
    value: float,
    low: float,
    high: float = float("inf"),
    *,
    exclusive: bool = False,
) -> None:
    """Raise a ConfigError unless low <= value <= high; `exclusive` refuses `low` itself."""
    if low <= value <= high and not (exclusive and value == low):
        return
    limit = f"more than {low:g}" if exclusive else f"at least {low:g}"
    top = "" if high == float("inf") else f" and at most {high:g}"
    raise ConfigError(f"{name} must be {limit}{top}; got {value!r}")


def override(recipe: R, assignments: Sequence[str]) -> R:
    """Return a recipe with some settings changed.

    Args:
        recipe: a frozen dataclass that contains others.
        assignments: changes, such as "optim.lr=1e-4", "data.flip=false" or
            "optim.milestones=100,200".

    Raises:
        ConfigError: unknown setting or invalid value.
    """
    changes: dict[str, Any] = {}
    for assignment in assignments:
        key, sign, text = (part.strip() for part in assignment.partition("="))
        if not sign:
            raise ConfigError(
                f"settings are changed by key=value, such as optim.lr=1e-4; got {assignment!r}"
            )
        group: Any = recipe
        branch = changes
        *groups, name = key.split(".")
        for part in groups:
            group = _setting(group, part, key, is_group=True)
            branch = branch.setdefault(part, {})
        _setting(group, name, key, is_group=False)
        branch[name] = _parsed(key, text, get_type_hints(type(group))[name])
    changed: R = _changed(recipe, changes)
    return changed


def list_settings(recipe: Any, prefix: str = "") -> dict[str, Any]:
    """Return all settings of a recipe by full name, in order."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(recipe):
        value = getattr(recipe, field.name)
        if dataclasses.is_dataclass(value):
            found |= list_settings(value, f"{prefix}{field.name}.")
        else:
            found[prefix + field.name] = value
    return found


def _setting(group: Any, name: str, key: str, *, is_group: bool) -> Any:
    """Return the value of a group's field; check whether it is a group or a single setting."""
    names = [field.name for field in dataclasses.fields(group)]
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"; known here are {', '.join(names)}"
        if near:
            meant = ".".join(near[0] if part == name else part for part in key.split("."))
            hint = f"; did you mean {meant}?"
        raise ConfigError(f"unknown setting {key!r}{hint}")
    value = getattr(group, name)
    if dataclasses.is_dataclass(value) != is_group:
        kind = "a single setting" if is_group else "a group of settings"
        raise ConfigError(f"{key!r}: {name} is {kind}")
    return value


def _changed(group: Any, changes: Mapping[str, Any]) -> Any:
    """Copy a group with all changes at once, since its fields are checked together."""
    values = {
        name: _changed(getattr(group, name), change) if isinstance(change, dict) else change
        for name, change in changes.items()
    }
    return dataclasses.replace(group, **values)


def _parsed(key: str, text: str, kind: Any) -> Any:
    """Parse a setting's value by its type."""
    try:
        return _as_type(text, kind)
    except (ValueError, SyntaxError) as error:
        raise ConfigError(f"{key} must be {_type_name(kind)}; got {text!r}") from error


def _as_type(text: str, kind: Any) -> Any:
    origin, members = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _as_either(text, members)
    if origin is Literal:
        return {str(member): member for member in members}.get(text) or _refuse(text)
    if origin is tuple:
        return _as_tuple(text, members)
    if kind is bool:
        return FLAGS[text.lower()] if text.lower() in FLAGS else _refuse(text)
    return _as_number(text, kind) if kind in (int, float) else text


def _as_either(text: str, kinds: tuple[Any, ...]) -> Any:
    if types.NoneType in kinds and text.lower() == "none":
        return None
    for kind in kinds:
        if kind is not types.NoneType:
            with suppress(ValueError):
                return _as_type(text, kind)
    return _refuse(text)


def _as_tuple(text: str, kinds: tuple[Any, ...]) -> tuple[Any, ...]:
    parts = [part.strip() for part in text.strip("()[] ").split(",") if part.strip()]
    item_kinds = [kinds[0]] * len(parts) if kinds[-1] is Ellipsis else list(kinds)
    if len(parts) != len(item_kinds):
        raise ValueError(text)
    return tuple(_as_type(part, kind) for part, kind in zip(parts, item_kinds, strict=True))


def _as_number(text: str, kind: type) -> Any:
    number = ast.literal_eval(text)
    fits = isinstance(number, (int, kind)) and not isinstance(number, bool)
    return kind(number) if fits else _refuse(text)


def _refuse(text: str) -> Any:
    raise ValueError(text)


def _type_name(kind: Any) -> str:
    members = get_args(kind)
    if get_origin(kind) is Literal:
        return " or ".join(repr(member) for member in members)
    if get_origin(kind) is tuple:
        return "numbers with commas between them"
    if members:
        return " or ".join(_type_name(member) for member in members)
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    return names.get(kind, "none")
