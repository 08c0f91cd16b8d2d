"""The tracker of each family of models."""

from samkit.predict import Predictor
from samkit.video.interface import Tracker


def create_tracker(predictor: Predictor) -> Tracker:
    """Create the tracker for a model: for SAM and MobileSAM that on frozen features."""
    from samkit.video.feature_tracker import FeatureTracker

    return FeatureTracker(predictor)
