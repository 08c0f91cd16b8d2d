"""Frames of a camera, by OpenCV."""

from collections.abc import Iterator

import cv2
import numpy as np

from samkit.arrays import RgbImage
from samkit.errors import VideoError


class Camera:
    """A camera of this machine, by its number; frames are read for as long as it gives any."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._capture = cv2.VideoCapture(number) if number >= 0 else None
        if self._capture is None or not self._capture.isOpened():
            raise VideoError(f"no camera {number} can be opened on this machine")
        self.rate: float | None = float(self._capture.get(cv2.CAP_PROP_FPS)) or None

    def __iter__(self) -> Iterator[RgbImage]:
        """Iterate over the frames."""
        assert self._capture is not None
        while True:
            is_there, frame = self._capture.read()
            if not is_there:
                return
            yield np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), np.uint8)

    def close(self) -> None:
        """Give the camera back."""
        if self._capture is not None:
            self._capture.release()
