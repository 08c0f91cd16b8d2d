"""Array types by element; shape, unit and coordinate space are documented where they are used."""

import numpy as np
import numpy.typing as npt

BoolArray = npt.NDArray[np.bool_]  # masks (H, W), among others
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Logits = npt.NDArray[np.float32]  # of masks: above 0 is inside
RgbImage = npt.NDArray[np.uint8]  # (H, W, 3)
FloatImage = npt.NDArray[np.float32]  # (H, W, 3) from 0 to 255, or (H, W) from 0 to 1
