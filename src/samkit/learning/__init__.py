"""Models that learn while people annotate: examples, judge, learner, prefilled masks, simulation.

learner = Learner(store, Predictor.load(), cache, Path("learning"), max_pixels=MAX_PIXELS)
learned = learner.learn(project.id)
"""

from samkit.learning.confidence import Confidence, fit_confidence
from samkit.learning.decoders import pack_decoder, unpack_decoder
from samkit.learning.judge import Costs, Judgement, judge_costs, measure_costs, paired_interval
from samkit.learning.learner import GENERAL, Learner, LearnRecipe
from samkit.learning.plots import plot_rounds
from samkit.learning.prefill import learn_confidence, prefill_images, unstarted_images
from samkit.learning.simulate import HeldOut, Round, Simulation

__all__ = [
    "GENERAL",
    "Confidence",
    "Costs",
    "HeldOut",
    "Judgement",
    "LearnRecipe",
    "Learner",
    "Round",
    "Simulation",
    "fit_confidence",
    "judge_costs",
    "learn_confidence",
    "measure_costs",
    "pack_decoder",
    "paired_interval",
    "plot_rounds",
    "prefill_images",
    "unpack_decoder",
    "unstarted_images",
]
