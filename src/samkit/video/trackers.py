"""The tracker of each family of models."""

from samkit.models import Sam2
from samkit.predict import Predictor
from samkit.video.interface import Tracker


def create_tracker(predictor: Predictor) -> Tracker:
    """Create a model's tracker: SAM 2's own, or the one on frozen features."""
    if isinstance(predictor.model, Sam2):
        from samkit.video.sam2_tracker import Sam2Tracker

        return Sam2Tracker(predictor)
    from samkit.video.feature_tracker import FeatureTracker

    return FeatureTracker(predictor)
