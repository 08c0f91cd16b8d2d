"""Models that learn while people annotate: examples, learner, judge, prefilled masks, audit.

learner = Learner(store, Predictor.load(), cache, Path("learning"), max_pixels=MAX_PIXELS)
learned = learner.learn(project.id)
"""

from samkit.learning.audit import (
    AuditFigures,
    CorrectedImage,
    Estimate,
    MaskPair,
    measure_audit,
)
from samkit.learning.audit_plots import write_audit_plots
from samkit.learning.confidence import Confidence, fit_confidence
from samkit.learning.decoders import open_decoder, pack_decoder, unpack_decoder
from samkit.learning.embedding import EmbedReport, embed_waiting
from samkit.learning.general import GENERAL
from samkit.learning.judge import Costs, Judgement, judge_costs, measure_costs, paired_interval
from samkit.learning.learn_recipe import LearnRecipe
from samkit.learning.learner import Learner
from samkit.learning.mask_shape import MaskShape, concavity, shape_of
from samkit.learning.next_images import Choice, ImageSigns, choose_images
from samkit.learning.plots import plot_reliability, plot_rounds
from samkit.learning.prefill import known_confidence, learn_to_prefill, prefill_images
from samkit.learning.simulate import HeldOut, Order, Round, Simulation
from samkit.learning.tile_masks import TileFolder

__all__ = [
    "GENERAL",
    "AuditFigures",
    "Choice",
    "Confidence",
    "CorrectedImage",
    "Costs",
    "EmbedReport",
    "Estimate",
    "HeldOut",
    "ImageSigns",
    "Judgement",
    "LearnRecipe",
    "Learner",
    "MaskPair",
    "MaskShape",
    "Order",
    "Round",
    "Simulation",
    "TileFolder",
    "choose_images",
    "concavity",
    "embed_waiting",
    "fit_confidence",
    "judge_costs",
    "known_confidence",
    "learn_to_prefill",
    "measure_audit",
    "measure_costs",
    "open_decoder",
    "pack_decoder",
    "paired_interval",
    "plot_reliability",
    "plot_rounds",
    "prefill_images",
    "shape_of",
    "unpack_decoder",
    "write_audit_plots",
]
