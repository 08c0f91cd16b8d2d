"""The package `segment_anything` by samkit, for programs that were written for the original.

Change `segment_anything` to `samkit.compat.segment_anything` in their imports, or call
`samkit.compat.install()` before them. docs/compat.md has the differences.
"""

from samkit.compat.segment_anything.automatic_mask_generator import SamAutomaticMaskGenerator
from samkit.compat.segment_anything.build_sam import (
    build_sam,
    build_sam_vit_b,
    build_sam_vit_h,
    build_sam_vit_l,
    build_sam_vit_t,
    sam_model_registry,
)
from samkit.compat.segment_anything.modeling import Sam
from samkit.compat.segment_anything.predictor import SamPredictor
from samkit.compat.segment_anything.utils.transforms import ResizeLongestSide

__all__ = [
    "ResizeLongestSide",
    "Sam",
    "SamAutomaticMaskGenerator",
    "SamPredictor",
    "build_sam",
    "build_sam_vit_b",
    "build_sam_vit_h",
    "build_sam_vit_l",
    "build_sam_vit_t",
    "sam_model_registry",
]
