"""Motion of an object's box: a Kalman filter of constant velocity.

Source: SAMURAI, arXiv:2411.11922, section 4; noise as in DeepSORT, arXiv:1703.07402.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from samkit.arrays import FloatArray

# Std relative to the box's height, and those of its aspect ratio.
POSITION, SPEED = 1 / 20, 1 / 160
ASPECT, ASPECT_SPEED, MEASURED_ASPECT = 1e-2, 1e-5, 1e-1
# Of the first box, in multiples of these.
FIRST_POSITION, FIRST_SPEED = 2, 10
MIN_HEIGHT = 1e-3  # of a box that shrinks away

# State: x and y of the centre, width / height, height; then the speeds of the four.
STEP = np.eye(8) + np.eye(8, k=4)
MEASURE = np.eye(4, 8)


@dataclass(frozen=True, kw_only=True, eq=False)
class BoxMotion:
    """What is known of a box's place and speed.

    Attributes:
        mean: (8,).
        covariance: (8, 8).
        stable: number of frames that it was right for, one after another.
    """

    mean: FloatArray
    covariance: FloatArray
    stable: int = 1

    @classmethod
    def start(cls, box_xyxy: FloatArray) -> BoxMotion:
        """The motion of a box (4,) that is seen for the first time."""
        place = _place_of(box_xyxy)
        std = _std(place[3], FIRST_POSITION, FIRST_SPEED)
        return cls(mean=np.concatenate([place, np.zeros(4)]), covariance=np.diag(std**2))

    @property
    def box_xyxy(self) -> FloatArray:
        """The box (4,)."""
        x, y, aspect, height = self.mean[:4]
        height = max(height, MIN_HEIGHT)
        width = max(aspect, MIN_HEIGHT) * height
        return np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2])

    def predicted(self) -> BoxMotion:
        """The motion one frame later."""
        std = _std(max(self.mean[3], MIN_HEIGHT), 1, 1)
        covariance = STEP @ self.covariance @ STEP.T + np.diag(std**2)
        return BoxMotion(mean=STEP @ self.mean, covariance=covariance, stable=self.stable)

    def updated(self, box_xyxy: FloatArray) -> BoxMotion:
        """The motion after a box (4,) was seen."""
        height = max(self.mean[3], MIN_HEIGHT)
        std = np.array([POSITION * height, POSITION * height, MEASURED_ASPECT, POSITION * height])
        expected = MEASURE @ self.covariance @ MEASURE.T + np.diag(std**2)
        gain = np.linalg.solve(expected, MEASURE @ self.covariance).T
        mean = self.mean + gain @ (_place_of(box_xyxy) - self.mean[:4])
        covariance = self.covariance - gain @ expected @ gain.T
        return BoxMotion(mean=mean, covariance=covariance, stable=self.stable + 1)


def _place_of(box_xyxy: FloatArray) -> FloatArray:
    """Centre, width / height and height (4,) of a box that is not empty."""
    x0, y0, x1, y1 = np.asarray(box_xyxy, np.float64)
    return np.array([(x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0) / (y1 - y0), y1 - y0])


def _std(height: float, position: float, speed: float) -> FloatArray:
    """Std (8,) of the state."""
    places = np.array([POSITION * height, POSITION * height, ASPECT, POSITION * height])
    speeds = np.array([SPEED * height, SPEED * height, ASPECT_SPEED, SPEED * height])
    return np.concatenate([position * places, speed * speeds])
