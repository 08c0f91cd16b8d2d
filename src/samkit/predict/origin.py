"""Where a predictor was loaded from, so that another process can load it again."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol, TypeAlias, TypeVar

from samkit.backends import Backend, BackendChoice
from samkit.errors import WeightsError
from samkit.models import Sam
from samkit.weights import CATALOG, weights_sha256


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Source of a model and of its text model.

    Attributes:
        source: a name in the catalog, or the absolute path of a file.
        text_model: a name on the hub, or the absolute path of a folder; None for the default.
    """

    source: str
    text_model: str | None = None

    @classmethod
    def of(
        cls, source: str | os.PathLike[str], text_model: str | os.PathLike[str] | None
    ) -> Origin:
        """The origin of a model that was just loaded; another process may run elsewhere."""
        return cls(
            source=str(source) if source in CATALOG else _absolute(source),
            text_model=None if text_model is None else _absolute(text_model),
        )


# Origin, backend, and checksum of the weights.
Description: TypeAlias = tuple[Origin, BackendChoice, str]


class HasModel(Protocol):
    """A predictor, as far as it is checked."""

    model: Sam


Made = TypeVar("Made", bound=HasModel)


def described(origin: Origin | None, backend: Backend, model: Sam) -> Description:
    """What `load_again` needs to make a predictor again.

    Raises:
        WeightsError: it has no origin, since it was made of objects in memory.
    """
    if origin is None:
        raise WeightsError(
            "a predictor that was made of objects in memory cannot be pickled: save the network,"
            " and load it in each process, as samkit.Predictor.load(FILE)"
        )
    return origin, backend_choice(backend), checksum_of(model)


def load_again(load: Callable[..., Made], description: Description) -> Made:
    """Load a predictor in another process, by `Predictor.load`.

    Raises:
        WeightsError: its source is missing, or has other weights than the predictor had.
        BackendError: its backend or device is not available here.
    """
    origin, choice, checksum = description
    predictor = load(origin.source, text_model=origin.text_model, **choice.options())
    if checksum_of(predictor.model) != checksum:
        raise WeightsError(
            f"{origin.source} has other weights than the predictor that was pickled: the file or"
            " the network was changed after loading; save the network, and load that file"
        )
    return predictor


def checksum_of(model: Sam) -> str:
    """Checksum of a network's weights; "" for that of an exported folder, which has none."""
    is_meta = next(model.parameters()).is_meta
    return "" if is_meta else weights_sha256(model)


def backend_choice(backend: Backend) -> BackendChoice:
    """The choice that creates a backend like this one."""
    info = asdict(backend.info)
    return BackendChoice(**info | {"threads": info["threads"] or None})


def _absolute(given: str | os.PathLike[str]) -> str:
    """The absolute path of what is on this disk, else the name unchanged."""
    return str(Path(given).absolute()) if Path(given).exists() else os.fspath(given)
