"""Text models: CLIP's embeddings of words, and detectors that find what is named. No SAM here."""

from samkit.text.clip import DEFAULT_CLIP, PROCESSOR_FILE, Clip, ClipPixels, check_texts
from samkit.text.crops import cut_crop, draw_crop, mask_patch
from samkit.text.detections import Detections
from samkit.text.detectors import DEFAULT_DETECTOR, Detector, GroundingDino, Owlv2, load_detector
from samkit.text.grounding import ground, per_class_nms
from samkit.text.loading import check_text_installed, fetch_text_model, find_text_model
from samkit.text.models import TextModel, load_text_model
from samkit.text.prompter import PLAIN, TextPrompter
from samkit.text.ranking import Calibration, MaskRanker, fit_calibration

__all__ = [
    "DEFAULT_CLIP",
    "DEFAULT_DETECTOR",
    "PLAIN",
    "PROCESSOR_FILE",
    "Calibration",
    "Clip",
    "ClipPixels",
    "Detections",
    "Detector",
    "GroundingDino",
    "MaskRanker",
    "Owlv2",
    "TextModel",
    "TextPrompter",
    "check_text_installed",
    "check_texts",
    "cut_crop",
    "draw_crop",
    "fetch_text_model",
    "find_text_model",
    "fit_calibration",
    "ground",
    "load_detector",
    "load_text_model",
    "mask_patch",
    "per_class_nms",
]
