"""Motion between two frames: dense optical flow, by which a mask is carried along.

Source: arXiv:1603.03590 (dense inverse search), by OpenCV.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from samkit.arrays import Logits

Flow = npt.NDArray[np.float32]


def flow_back(
    grey: npt.NDArray[np.uint8], earlier: npt.NDArray[np.uint8], used_hw: tuple[int, int]
) -> Flow:
    """Where each cell of the logits space was in another frame: offsets (h, w, 2), x first.

    Args:
        grey: the frame, see `FrameFeatures`.
        earlier: the other frame.
        used_hw: cells of the logits space that the frame fills.
    """
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow = search.calc(grey, earlier, None)  # type: ignore[call-overload]
    height, width = used_hw
    scale = np.array([width / grey.shape[1], height / grey.shape[0]], np.float32)
    return np.asarray(cv2.resize(flow, (width, height), interpolation=cv2.INTER_AREA) * scale)


def carry(values: Logits, flow: Flow) -> Logits:
    """Carry values (S, S) along; outside of the frame they are those of its border."""
    height, width = flow.shape[:2]
    rows, cols = np.mgrid[:height, :width].astype(np.float32)
    carried = np.full_like(values, values.min())
    carried[:height, :width] = cv2.remap(
        np.ascontiguousarray(values[:height, :width]),
        cols + flow[..., 0],
        rows + flow[..., 1],
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return carried
