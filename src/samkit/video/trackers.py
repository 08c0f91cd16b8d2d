"""The tracker of each family of models."""

from samkit.errors import ConfigError
from samkit.models import Sam2
from samkit.predict import Predictor
from samkit.video.interface import Tracker
from samkit.video.sam2_memory import PLAIN, POLICIES, MemoryPolicy
from samkit.weights import load_model

# Models whose objects are followed by the decoder of another one, with the same image encoder.
FOLLOWED_BY = {"mobile_sam_tuned": "mobile_sam"}


def create_tracker(predictor: Predictor, policy: MemoryPolicy | str | None = None) -> Tracker:
    """Create a model's tracker: SAM 2's own, or the one on frozen features.

    Args:
        policy: rules of SAM 2's memory, or their name in `POLICIES`; default "plain".

    Raises:
        ConfigError: the policy is unknown, or the model has no memory that it could rule.
        WeightsError: a SAM 2 without networks for videos.
    """
    if isinstance(policy, str) and policy not in POLICIES:
        raise ConfigError(f"unknown memory policy {policy!r}; known are {', '.join(POLICIES)}")
    if isinstance(predictor.model, Sam2):
        from samkit.video.sam2_hypotheses import HypothesisTracker
        from samkit.video.sam2_tracker import Sam2Tracker

        chosen = (POLICIES[policy] if isinstance(policy, str) else policy) or PLAIN
        kind = HypothesisTracker if chosen.num_hypotheses > 1 else Sam2Tracker
        return kind(predictor, chosen)
    if policy is not None:
        raise ConfigError(
            f"memory policies are for SAM 2; {predictor.model_name} is followed by its features"
        )
    from samkit.video.feature_tracker import FeatureTracker

    return FeatureTracker(predictor, follower=follower_of(predictor))


def follower_of(predictor: Predictor) -> Predictor:
    """The predictor whose decoder follows what another one's answered.

    The tuned decoder answers clicks better, the published one follows better: docs/video.md.
    """
    other = FOLLOWED_BY.get(predictor.model_name)
    if other is None:
        return predictor
    return predictor.with_decoder(load_model(other).model, model_name=other)
