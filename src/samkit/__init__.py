"""samkit: the complete Segment Anything system in one package.

Names are imported on first use, so that `import samkit` takes no time.
"""

from typing import TYPE_CHECKING

from samkit.lazy import lazy_names

if TYPE_CHECKING:
    from samkit.dataengine import Store
    from samkit.errors import (
        BackendError,
        ConfigError,
        ConflictError,
        DatabaseError,
        DataError,
        DownloadError,
        EmbeddingError,
        FormatError,
        ImageError,
        MissingError,
        OutputError,
        PromptError,
        RoleError,
        SamkitError,
        StoreError,
        TrainingError,
        VideoError,
        WeightsError,
    )
    from samkit.formats import read_image
    from samkit.predict import ImageSession, Predictor
    from samkit.proposals import AutoMaskConfig, AutoMasker, ClassMasker, select
    from samkit.training import train
    from samkit.types import ImageEmbedding, MaskPrediction, Masks, Prompts
    from samkit.video import VideoAnswer, VideoPredictor
    from samkit.weights import load_model

__version__ = "0.1.0"

_HOMES = {
    "AutoMaskConfig": "proposals",
    "AutoMasker": "proposals",
    "BackendError": "errors",
    "ClassMasker": "proposals",
    "ConfigError": "errors",
    "ConflictError": "errors",
    "DataError": "errors",
    "DatabaseError": "errors",
    "DownloadError": "errors",
    "EmbeddingError": "errors",
    "FormatError": "errors",
    "ImageEmbedding": "types",
    "ImageError": "errors",
    "ImageSession": "predict",
    "MaskPrediction": "types",
    "Masks": "types",
    "MissingError": "errors",
    "OutputError": "errors",
    "Predictor": "predict",
    "PromptError": "errors",
    "Prompts": "types",
    "RoleError": "errors",
    "SamkitError": "errors",
    "Store": "dataengine",
    "StoreError": "errors",
    "TrainingError": "errors",
    "VideoAnswer": "video",
    "VideoError": "errors",
    "VideoPredictor": "video",
    "WeightsError": "errors",
    "load_model": "weights",
    "read_image": "formats",
    "select": "proposals",
    "train": "training",
}

__all__ = [
    "AutoMaskConfig",
    "AutoMasker",
    "BackendError",
    "ClassMasker",
    "ConfigError",
    "ConflictError",
    "DataError",
    "DatabaseError",
    "DownloadError",
    "EmbeddingError",
    "FormatError",
    "ImageEmbedding",
    "ImageError",
    "ImageSession",
    "MaskPrediction",
    "Masks",
    "MissingError",
    "OutputError",
    "Predictor",
    "PromptError",
    "Prompts",
    "RoleError",
    "SamkitError",
    "Store",
    "StoreError",
    "TrainingError",
    "VideoAnswer",
    "VideoError",
    "VideoPredictor",
    "WeightsError",
    "load_model",
    "read_image",
    "select",
    "train",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
