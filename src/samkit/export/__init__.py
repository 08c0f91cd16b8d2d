"""Models for other programs and runtimes: an image encoder and a decoder that takes prompts.

export_model("mobile_sam", "exported", format="onnx")
predictor = samkit.Predictor.load("exported")
"""

from samkit.export.browser import BROWSER_PARTS, check_for_browser, write_for_browser
from samkit.export.graphs import at_image_size, inner_size
from samkit.export.transformers_folder import save_for_transformers
from samkit.export.writing import FORMATS, PARTS, PRECISIONS, Exported, export_model

__all__ = [
    "BROWSER_PARTS",
    "FORMATS",
    "PARTS",
    "PRECISIONS",
    "Exported",
    "at_image_size",
    "check_for_browser",
    "export_model",
    "inner_size",
    "save_for_transformers",
    "write_for_browser",
]
