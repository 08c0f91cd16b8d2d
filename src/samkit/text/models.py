"""Text models of either kind, by what their configuration says they are."""

import os
from typing import TypeAlias

from samkit.text.clip import MODEL_TYPE, Clip
from samkit.text.detectors import Detector, load_detector
from samkit.text.loading import find_text_model, read_config
from samkit.text.prompter import TextPrompter

# What a predictor reads text with: words to prompt tokens, or words to boxes.
TextModel: TypeAlias = TextPrompter | Detector


def load_text_model(source: str | os.PathLike[str], *, device: str = "cpu") -> TextModel:
    """Load a CLIP or a detector, from a folder or from the hub.

    Raises:
        ConfigError: what text needs is not installed.
        WeightsError: another kind of model, or damaged files.
        DownloadError: it could not be fetched.
    """
    if read_config(find_text_model(source)).get("model_type") == MODEL_TYPE:
        return TextPrompter(Clip.load(source, device=device))
    return load_detector(source, device=device)
