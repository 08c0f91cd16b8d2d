"""Generated data sets: synthetic scenes with their true masks."""

from samkit.datasets.synthetic.named_scenes import NamedScenes, all_names
from samkit.datasets.synthetic.scenes import Scenes

__all__ = ["NamedScenes", "Scenes", "all_names"]
