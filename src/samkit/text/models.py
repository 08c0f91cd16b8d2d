"""Loading text models of either kind, CLIP or a detector."""

import os
from typing import TypeAlias

from samkit.text.clip import MODEL_TYPE, Clip
from samkit.text.detectors import Detector, load_detector
from samkit.text.loading import find_text_model, read_config
from samkit.text.prompter import TextPrompter

# How a predictor turns words into prompts: as text embeddings, or as detected boxes.
TextModel: TypeAlias = TextPrompter | Detector


def load_text_model(source: str | os.PathLike[str], *, device: str = "cpu") -> TextModel:
    """Load a CLIP or a detector from a folder or the hub, according to its configuration.

    Raises:
        ConfigError: the packages for text are not installed.
        WeightsError: the model is of another kind, or its files are damaged.
        DownloadError: the model could not be downloaded.
    """
    if read_config(find_text_model(source)).get("model_type") == MODEL_TYPE:
        return TextPrompter(Clip.load(source, device=device))
    return load_detector(source, device=device)
