"""samkit: the complete Segment Anything system in one package.

Names are imported on first use, so that `import samkit` takes no time.
"""

from typing import TYPE_CHECKING

from samkit.lazy import lazy_names

if TYPE_CHECKING:
    from samkit.errors import SamkitError
    from samkit.formats import read_image
    from samkit.predict import Predictor
    from samkit.proposals import AutoMaskConfig, AutoMasker, ClassMasker
    from samkit.types import ImageEmbedding, MaskPrediction, Masks, Prompts

__version__ = "0.1.0"

_HOMES = {
    "AutoMaskConfig": "samkit.proposals",
    "AutoMasker": "samkit.proposals",
    "ClassMasker": "samkit.proposals",
    "ImageEmbedding": "samkit.types",
    "MaskPrediction": "samkit.types",
    "Masks": "samkit.types",
    "Predictor": "samkit.predict",
    "Prompts": "samkit.types",
    "SamkitError": "samkit.errors",
    "read_image": "samkit.formats",
}

__all__ = [
    "AutoMaskConfig",
    "AutoMasker",
    "ClassMasker",
    "ImageEmbedding",
    "MaskPrediction",
    "Masks",
    "Predictor",
    "Prompts",
    "SamkitError",
    "read_image",
]


__getattr__ = lazy_names(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
