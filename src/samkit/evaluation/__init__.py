"""Evaluation protocols of the paper (1-click mIoU, NoC, AR, AP from boxes, edges) and reports."""

from samkit.evaluation.annotators import (
    ONE_ANNOTATOR,
    Annotators,
    read_annotators,
    read_image_names,
)
from samkit.evaluation.boxes import BoxPrompts, DetectedBoxes, read_detections
from samkit.evaluation.edges import Edges, find_edges
from samkit.evaluation.fit_iou import IouLines, fit_predicted_iou
from samkit.evaluation.interactive import (
    ClickedMask,
    Interactive,
    click_masks,
    clicks_to_reach,
)
from samkit.evaluation.one_click import OneClick, OneClickResult, one_click_miou
from samkit.evaluation.paired import (
    CONFIDENCE,
    MIN_GROUPS,
    GroupSums,
    compare,
    draw_groups,
    expanded_interval,
)
from samkit.evaluation.plots import write_plots
from samkit.evaluation.protocol import EvaluationProtocol
from samkit.evaluation.recall import Recall
from samkit.evaluation.report import ModelReport, Report, report_model
from samkit.evaluation.robot import Click, first_click, next_click
from samkit.evaluation.runner import SkippedImage, evaluate_model, model_identity
from samkit.evaluation.text import TextToMask
from samkit.evaluation.truth import MaskChoice, mask_iou
from samkit.evaluation.while_training import validation_scores

__all__ = [
    "CONFIDENCE",
    "MIN_GROUPS",
    "ONE_ANNOTATOR",
    "Annotators",
    "BoxPrompts",
    "Click",
    "ClickedMask",
    "DetectedBoxes",
    "Edges",
    "EvaluationProtocol",
    "GroupSums",
    "Interactive",
    "IouLines",
    "MaskChoice",
    "ModelReport",
    "OneClick",
    "OneClickResult",
    "Recall",
    "Report",
    "SkippedImage",
    "TextToMask",
    "click_masks",
    "clicks_to_reach",
    "compare",
    "draw_groups",
    "evaluate_model",
    "expanded_interval",
    "find_edges",
    "first_click",
    "fit_predicted_iou",
    "mask_iou",
    "model_identity",
    "next_click",
    "one_click_miou",
    "read_annotators",
    "read_detections",
    "read_image_names",
    "report_model",
    "validation_scores",
    "write_plots",
]
