"""A plugin for napari: points and boxes become masks of a Labels layer, slice by slice.

napari finds it by `napari.yaml`; everything but `SegmentWidget` works without Qt.
"""

from typing import TYPE_CHECKING

from samkit.integrations.napari.layers import BOXES, LABELS, NEGATIVE, POINTS, POSITIVE, PROMPT
from samkit.integrations.napari.planes import Plane, shown_plane
from samkit.integrations.napari.session import LayerSession
from samkit.lazy import lazy_names

if TYPE_CHECKING:  # needs Qt
    from samkit.integrations.napari.widget import SegmentWidget

__all__ = [
    "BOXES",
    "LABELS",
    "NEGATIVE",
    "POINTS",
    "POSITIVE",
    "PROMPT",
    "LayerSession",
    "Plane",
    "SegmentWidget",
    "shown_plane",
]

__getattr__, __dir__ = lazy_names(__name__, {"SegmentWidget": "widget"})
