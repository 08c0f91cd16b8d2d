"""What all protocols have in common: an image in, a record out; records in, a summary out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from samkit.datasets.sample import Sample
from samkit.types import ImageEmbedding

if TYPE_CHECKING:  # torch takes seconds to import
    from samkit.predict import Predictor

# What was measured on one image, as JSON.
Result = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Points of a plot: as many x as y."""

    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a protocol says of a model over all images.

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
        """All that results of an image depend on, besides the model and the image; as JSON."""
        ...

    def measure(self, predictor: Predictor, embedding: ImageEmbedding, sample: Sample) -> Result:
        """Measure one image: the same for the same, whatever was measured before."""
        ...

    def summarise(self, results: Sequence[Result]) -> Summary:
        """Put the results of all images together, in any order."""
        ...


def both_means(name: str, values: Sequence[Sequence[float]]) -> dict[str, float]:
    """The mean over masks, and the mean of images' means, of values for each mask of each image.

    Images without masks are left out of both.
    """
    images = [image for image in values if len(image)]
    if not images:
        return {}
    pooled = [value for image in images for value in image]
    return {
        name: sum(pooled) / len(pooled),
        f"{name}_images": sum(sum(image) / len(image) for image in images) / len(images),
    }
