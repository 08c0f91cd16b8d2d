"""Recipes of `samkit train` for a proposal head."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from samkit.models import ProposalHeadConfig
from samkit.training.settings import OptimRecipe, RunRecipe, check_range


@dataclass(frozen=True, kw_only=True)
class ProposalDataRecipe:
    """Settings of the data of a proposal head.

    Attributes:
        train: data set to train on, as `open_data` takes it; None must be replaced before a run.
        val: data set to evaluate on during training; None for no evaluation.
        automatic: data set of automatic masks of some of the images of `train`, such as those of
            `samkit auto --format coco`: what no mask of `train` shows is learned from them.
        automatic_weight: how good a box of an automatic mask is to be called, compared with one of
            a mask of `train`.
        images_per_batch: number of images in each batch of each process.
        min_area_px: masks of fewer image pixels are left out.
        held_out_images: number of images of `val` in an evaluation.
    """

    train: str | None = None
    val: str | None = None
    automatic: str | None = None
    automatic_weight: float = 0.5
    images_per_batch: int = 8
    min_area_px: int = 16
    held_out_images: int = 64

    def __post_init__(self) -> None:
        check_range("data.automatic_weight", self.automatic_weight, 0, 1, exclusive=True)
        check_range("data.images_per_batch", self.images_per_batch, 1)
        check_range("data.min_area_px", self.min_area_px, 0)
        check_range("data.held_out_images", self.held_out_images, 1)


@dataclass(frozen=True, kw_only=True)
class ProposalLossRecipe:
    """Settings of the assignment of positions to objects, and of the losses.

    Attributes:
        positions: positions that each object is assigned to, those that fit it best.
        iou_power: of the IoU of a position's box with the object, in how well it fits; its
            objectness has the power 1 (arXiv:2108.07755).
        focus: power of the error of an objectness in its weight (arXiv:2006.04388).
        box_weight: weight of the boxes' loss.
    """

    positions: int = 10
    iou_power: float = 4.0
    focus: float = 2.0
    box_weight: float = 2.0

    def __post_init__(self) -> None:
        check_range("loss.positions", self.positions, 1)
        for name in ("iou_power", "focus", "box_weight"):
            check_range(f"loss.{name}", getattr(self, name), 0)


@dataclass(frozen=True, kw_only=True)
class ProposalRecipe:
    """All settings of a training of a proposal head.

    Attributes:
        model: name or checkpoint of the SAM whose image encoder is used; it does not change.
        weights: initial weights: a file of a head, "embedded" for the one in the package, or None
            for random ones.
        embeddings: folder for cached image embeddings, so that the encoder runs once for each
            image.
        data: images and masks.
        loss: assignment and losses.
        optim: optimiser and schedule.
        run: length, precision and hardware.
    """

    model: str = "mobile_sam"
    weights: str | None = None
    embeddings: str = "embeddings"
    head: ProposalHeadConfig = field(default_factory=ProposalHeadConfig)
    data: ProposalDataRecipe = field(default_factory=ProposalDataRecipe)
    loss: ProposalLossRecipe = field(default_factory=ProposalLossRecipe)
    optim: OptimRecipe
    run: RunRecipe


def proposals() -> ProposalRecipe:
    """A proposal head for MobileSAM from random weights.

    `data.train=...` must name the images and masks.
    """
    return ProposalRecipe(
        optim=OptimRecipe(
            lr=1.5e-3,
            weight_decay=0.05,
            warmup_steps=50,
            schedule="cosine",
            clip_norm=5.0,
            average_decay=0.99,
        ),
        run=RunRecipe(steps=1000, evaluate_every=250, save_every=250),
    )


PROPOSAL_RECIPES: Mapping[str, Callable[[], ProposalRecipe]] = MappingProxyType(
    {"proposals": proposals}
)
