"""What all protocols have in common: a photo in, a record out; records in, a summary out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from samkit.training.data.sample import Sample
from samkit.types import ImageEmbedding

if TYPE_CHECKING:  # torch takes seconds to import
    from samkit.predict import Predictor

# What was measured on one photo, as JSON.
Result = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Points of a plot: as many x as y."""

    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a protocol says of a model over all photos.

    Attributes:
        metrics: by name; those that are undefined, such as means of nothing, are left out.
        curves: by name.
    """

    metrics: Mapping[str, float]
    curves: Mapping[str, Curve] = field(default_factory=dict)


class EvaluationProtocol(Protocol):
    """A way to measure a model, with its settings."""

    @property
    def name(self) -> str:
        """As on the command line."""
        ...

    def settings(self) -> dict[str, Any]:
        """All that results of a photo depend on, besides the model and the photo; as JSON."""
        ...

    def measure(self, predictor: Predictor, embedding: ImageEmbedding, sample: Sample) -> Result:
        """Measure one photo: the same for the same, whatever was measured before."""
        ...

    def summarise(self, results: Sequence[Result]) -> Summary:
        """Put the results of all photos together, in any order."""
        ...


def both_means(name: str, values: Sequence[Sequence[float]]) -> dict[str, float]:
    """The mean over masks, and the mean of photos' means, of values for each mask of each photo.

    Photos without masks are left out of both.
    """
    photos = [photo for photo in values if len(photo)]
    if not photos:
        return {}
    pooled = [value for photo in photos for value in photo]
    return {
        name: sum(pooled) / len(pooled),
        f"{name}_photos": sum(sum(photo) / len(photo) for photo in photos) / len(photos),
    }
