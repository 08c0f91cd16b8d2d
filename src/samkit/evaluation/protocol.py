"""The interface of evaluation protocols: an image in, a record out; records in, a summary out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from samkit.datasets import Sample
from samkit.types import ImageEmbedding

if TYPE_CHECKING:  # torch takes seconds to import
    from samkit.predict import Predictor

# Measurements of one image, as JSON.
Result = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Points of a plot; x and y are equally long."""

    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Results of a protocol over all images.

    Attributes:
        metrics: values by name; undefined ones, such as means over nothing, are left out.
        curves: curves by name.
    """

    metrics: Mapping[str, float]
    curves: Mapping[str, Curve] = field(default_factory=dict)


class EvaluationProtocol(Protocol):
    """A way to measure a model, with its settings."""

    @property
    def name(self) -> str:
        """Name on the command line."""
        ...

    def settings(self) -> dict[str, Any]:
        """Everything besides model and image that results depend on, as JSON."""
        ...

    def differences(self) -> tuple[str, ...]:
        """How the settings differ from the published protocol, for the report.

        Without any, results may be compared with published ones on the same data.
        """
        ...

    def measure(self, predictor: Predictor, embedding: ImageEmbedding, sample: Sample) -> Result:
        """Measure one image; the result does not depend on earlier images."""
        ...

    def summarise(self, results: Sequence[Result]) -> Summary:
        """Summarise the results of all images, given in any order."""
        ...


def both_means(name: str, values: Sequence[Sequence[float]]) -> dict[str, float]:
    """Mean over masks, and mean of the images' means, of per-mask values of each image.

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
