"""Evaluation protocols of the paper (1-click mIoU, NoC, AR, AP from boxes, edges) and reports."""

from samkit.datasets import VosSequence, find_vos_sequences
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
from samkit.evaluation.video_while_training import (
    held_out_clips,
    score_clips,
    score_copies,
    video_scores,
)
from samkit.evaluation.vos import (
    FIRST_PROMPTS,
    FirstPrompt,
    ObjectScore,
    follow,
    outline_accuracy,
    prompt_objects,
    region_similarity,
    score_sequence,
)
from samkit.evaluation.vos_runner import VosResult, evaluate_vos, vos_json, vos_markdown
from samkit.evaluation.while_training import validation_scores

__all__ = [
    "CONFIDENCE",
    "FIRST_PROMPTS",
    "MIN_GROUPS",
    "ONE_ANNOTATOR",
    "Annotators",
    "BoxPrompts",
    "Click",
    "ClickedMask",
    "DetectedBoxes",
    "Edges",
    "EvaluationProtocol",
    "FirstPrompt",
    "GroupSums",
    "Interactive",
    "IouLines",
    "MaskChoice",
    "ModelReport",
    "ObjectScore",
    "OneClick",
    "OneClickResult",
    "Recall",
    "Report",
    "SkippedImage",
    "TextToMask",
    "VosResult",
    "VosSequence",
    "click_masks",
    "clicks_to_reach",
    "compare",
    "draw_groups",
    "evaluate_model",
    "evaluate_vos",
    "expanded_interval",
    "find_edges",
    "find_vos_sequences",
    "first_click",
    "fit_predicted_iou",
    "follow",
    "held_out_clips",
    "mask_iou",
    "model_identity",
    "next_click",
    "one_click_miou",
    "outline_accuracy",
    "prompt_objects",
    "read_annotators",
    "read_detections",
    "read_image_names",
    "region_similarity",
    "report_model",
    "score_clips",
    "score_copies",
    "score_sequence",
    "validation_scores",
    "video_scores",
    "vos_json",
    "vos_markdown",
    "write_plots",
]
