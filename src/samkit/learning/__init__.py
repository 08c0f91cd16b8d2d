"""The model that learns while people annotate: examples, judge, promotion, prefill, audit."""

from samkit.learning.audit import (
    AuditFigures,
    CorrectedImage,
    Estimate,
    MaskPair,
    measure_audit,
)
from samkit.learning.audit_plots import write_audit_plots
from samkit.learning.mask_shape import MaskShape, concavity, shape_of

__all__ = [
    "AuditFigures",
    "CorrectedImage",
    "Estimate",
    "MaskPair",
    "MaskShape",
    "concavity",
    "measure_audit",
    "shape_of",
    "write_audit_plots",
]
