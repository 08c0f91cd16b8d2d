"""samkit's results in other packages' own types, and back; the packages are imported when used."""

from typing import TYPE_CHECKING

from samkit.integrations.supervision import from_detections, to_detections
from samkit.lazy import lazy_names

if TYPE_CHECKING:  # torch takes seconds to import
    from samkit.integrations.mask_generation import MaskGenerationPipeline

__all__ = ["MaskGenerationPipeline", "from_detections", "to_detections"]

__getattr__, __dir__ = lazy_names(__name__, {"MaskGenerationPipeline": "mask_generation"})
