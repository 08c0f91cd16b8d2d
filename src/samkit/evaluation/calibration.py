"""How well predicted IoUs agree with the true ones: reliability bins, expected calibration error.

Source: arXiv:1706.04599 (Guo et al., 2017), section 2, with predicted IoU in place of confidence
and IoU in place of accuracy.
"""

import numpy as np
import numpy.typing as npt

from samkit.arrays import FloatArray

NUM_BINS = 10


def reliability_bins(
    iou_pred: npt.ArrayLike, ious: npt.ArrayLike, num_bins: int = NUM_BINS
) -> FloatArray:
    """Sum predicted and true IoUs in bins of equally wide ranges of the predicted IoU.

    Args:
        iou_pred: of N masks; the network's output is not bounded, and is clipped to 0..1.
        ious: of the same masks.
        num_bins: each bin contains its lower edge, the last one also 1.

    Returns:
        (num_bins, 3): number of masks, sum of predicted IoUs, sum of true IoUs. Bins of several
        images may be added.
    """
    predicted = np.clip(np.asarray(iou_pred, np.float64).ravel(), 0, 1)
    numbers = np.minimum((predicted * num_bins).astype(np.int64), num_bins - 1)
    sums: FloatArray = np.zeros((num_bins, 3))
    columns = np.stack([np.ones_like(predicted), predicted, np.asarray(ious).ravel()], axis=1)
    np.add.at(sums, numbers, columns)
    return sums


def calibration_error(bins: FloatArray) -> FloatArray:
    """Expected calibration error (...) of bins (..., num_bins, 3); NaN without masks.

    It is the mean over masks of the distance between their bin's mean predicted and true IoU.
    """
    distances = np.abs(bins[..., 1] - bins[..., 2]).sum(axis=-1)
    counts = bins[..., 0].sum(axis=-1)
    error: FloatArray = np.divide(
        distances, counts, out=np.full_like(distances, np.nan), where=counts > 0
    )
    return error
