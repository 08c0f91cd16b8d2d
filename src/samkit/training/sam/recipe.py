"""Recipes of `samkit train`: settings of a training of SAM."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from samkit.errors import ConfigError
from samkit.models import CONFIGS
from samkit.training.data.crop_embeds import CropRecipe
from samkit.training.data.data_recipe import DataRecipe
from samkit.training.losses import LossRecipe
from samkit.training.sam.prompts import PromptRecipe
from samkit.training.sam.task import InteractiveRecipe
from samkit.training.sam.teacher import TeacherRecipe
from samkit.training.sam.trainable import ModelRecipe
from samkit.training.settings import OptimRecipe, RunRecipe, check_range


@dataclass(frozen=True, kw_only=True)
class EvaluationRecipe:
    """Evaluation during training, on `data.val`.

    Attributes:
        prompt: "click" measures 1-click mIoU, "text" the mIoU of masks prompted by their names.
        images: number of images, the first ones of the data set.
        masks_per_image: number of masks of each image, the same ones in each evaluation.
    """

    prompt: Literal["click", "text"] = "click"
    images: int = 20
    masks_per_image: int = 10

    def __post_init__(self) -> None:
        check_range("evaluation.images", self.images, 1)
        check_range("evaluation.masks_per_image", self.masks_per_image, 1)


@dataclass(frozen=True, kw_only=True)
class SamRecipe:
    """All settings of a training of SAM.

    Attributes:
        model: network, initial weights and trainable parts.
        data: images and masks.
        truth_size: side of the target space, in which masks are compared with the ground truth. The
            side of the logits is fastest; the paper uses that of the model space.
        embeddings: folder for cached embeddings, so that the image encoder runs once for each
            image; only if `model.learns` is "decoder" and images are not augmented. None runs the
            encoder in each step.
        crops: mask crops for text prompts; used if `session.prompts.text_probability` is over 0.
        session: simulated prompts and losses.
        teacher: automatic masks of a frozen model beside the ground truth.
        optim: optimiser and schedule.
        run: length, precision and hardware.
        evaluation: evaluation during training.
    """

    model: ModelRecipe = field(default_factory=ModelRecipe)
    data: DataRecipe
    truth_size: int = 256
    embeddings: str | None = None
    crops: CropRecipe = field(default_factory=CropRecipe)
    session: InteractiveRecipe = field(default_factory=InteractiveRecipe)
    teacher: TeacherRecipe = field(default_factory=TeacherRecipe)
    optim: OptimRecipe = field(default_factory=OptimRecipe)
    run: RunRecipe
    evaluation: EvaluationRecipe = field(default_factory=EvaluationRecipe)

    def __post_init__(self) -> None:
        check_range("truth_size", self.truth_size, 1, CONFIGS[self.model.config].image_size)
        if self.embeddings is not None and self.model.learns != "decoder":
            raise ConfigError(
                "cached embeddings cannot train the image encoder:"
                f" embeddings=none or model.learns=decoder; got {self.model.learns!r}"
            )
        if self.teacher.weights is not None:
            if self.model.learns != "decoder":
                raise ConfigError(
                    "a teacher shares the image embeddings, which must not change:"
                    f" teacher.weights=none or model.learns=decoder; got {self.model.learns!r}"
                )
            if self.session.prompts.text_probability > 0:
                raise ConfigError("a teacher's masks have no text: teacher.weights=none")
        if self.data.merge_probability > 0 and self.session.prompts.text_probability > 0:
            raise ConfigError("masks that are joined have no name: data.merge_probability=0")
        asks_text = self.session.prompts.text_probability > 0 or self.evaluation.prompt == "text"
        if asks_text and self.model.text_encoder is None:
            raise ConfigError("text prompts need a CLIP: model.text_encoder=FOLDER or NAME")


# From random weights, in a few thousand steps.
FROM_NOTHING = OptimRecipe(
    method="muon",
    lr=4e-3,
    weight_decay=0.05,
    warmup_steps=100,
    schedule="cosine",
    average_decay=0.99,
)


def scenes() -> SamRecipe:
    """A tiny model from random weights on synthetic scenes: two minutes on a CPU."""
    return SamRecipe(
        model=ModelRecipe(config="tiny", weights=None, learns="all"),
        data=DataRecipe(
            train="scenes:count=4000,size=128,seed=0",
            val="scenes:count=40,size=128,seed=1",
            images_per_batch=8,
            max_masks_per_image=6,
            min_area_px=60,
        ),
        truth_size=32,
        session=InteractiveRecipe(
            prompts=PromptRecipe(corrections=1, mask_only_between=False, mask_only_last=False),
            checkpoint_iterations=False,
        ),
        optim=OptimRecipe(lr=2e-3, weight_decay=0.05, warmup_steps=100, schedule="cosine"),
        run=RunRecipe(steps=1000, evaluate_every=250, save_every=250),
        evaluation=EvaluationRecipe(images=40, masks_per_image=6),
    )


def scenes_long() -> SamRecipe:
    """A small model from random weights on synthetic scenes: 15 minutes on two cores."""
    return SamRecipe(
        model=ModelRecipe(config="small", weights=None, learns="all"),
        data=DataRecipe(
            train="scenes:count=40000,size=64,seed=0,things=4",
            val="scenes:count=100,size=64,seed=1,things=4",
            images_per_batch=6,
            max_masks_per_image=8,
            min_area_px=40,
        ),
        truth_size=64,
        session=InteractiveRecipe(
            prompts=PromptRecipe(
                box_probability=0.2,
                corrections=1,
                mask_only_between=False,
                mask_only_last=False,
            ),
            checkpoint_iterations=False,
        ),
        optim=FROM_NOTHING,
        run=RunRecipe(steps=3500, evaluate_every=350, save_every=350),
        evaluation=EvaluationRecipe(images=100, masks_per_image=6),
    )


def named_text() -> SamRecipe:
    """A small model with text prompts from random weights, on synthetic scenes of named objects.

    `model.text_encoder` is the CLIP of `samkit pretrain clip_named`.
    """
    return SamRecipe(
        model=ModelRecipe(
            config="small",
            weights=None,
            learns="all",
            text_encoder="samkit-pretraining/clip",
        ),
        data=DataRecipe(
            train="named:count=6000,size=128,seed=0",
            val="named:count=60,size=128,seed=1",
            images_per_batch=8,
            max_masks_per_image=5,
        ),
        truth_size=64,
        crops=CropRecipe(min_area_px=100),
        session=InteractiveRecipe(
            prompts=PromptRecipe(
                text_probability=0.8,
                box_probability=0.2,
                corrections=1,
                mask_only_between=False,
                mask_only_last=False,
            ),
            checkpoint_iterations=False,
        ),
        optim=FROM_NOTHING,
        run=RunRecipe(steps=2600, evaluate_every=520, save_every=260),
        evaluation=EvaluationRecipe(prompt="text", images=60),
    )


def text() -> SamRecipe:
    """Text prompts for MobileSAM: its decoder and the projection of CLIP embeddings.

    As in the paper, masks over 100 x 100 pixels and CLIP ViT-L/14 at 336 pixels. `data.train=...`
    must name the images. Source: arXiv:2304.02643, appendix D.5. Deviations: the image encoder
    stays frozen.
    """
    return SamRecipe(
        model=ModelRecipe(learns="decoder", text_encoder="openai/clip-vit-large-patch14-336"),
        data=DataRecipe(images_per_batch=4, max_masks_per_image=4),
        embeddings="embeddings",
        session=InteractiveRecipe(
            prompts=PromptRecipe(
                text_probability=0.8,
                corrections=2,
                mask_only_between=False,
                mask_only_last=False,
            ),
            checkpoint_iterations=False,
        ),
        optim=OptimRecipe(
            lr=2e-4, weight_decay=0.01, warmup_steps=100, schedule="cosine", average_decay=0.99
        ),
        run=RunRecipe(
            steps=2000,
            precision="auto",
            evaluate_every=250,
            evaluate_first=True,
            save_every=100,
        ),
        evaluation=EvaluationRecipe(prompt="text"),
    )


def finetune() -> SamRecipe:
    """MobileSAM's decoder on your own images, from cached embeddings; an hour on two cores.

    `data.train=...` must name the images. Sessions are short, since the first click matters most.
    """
    return SamRecipe(
        model=ModelRecipe(learns="decoder"),
        data=DataRecipe(images_per_batch=4, max_masks_per_image=2),
        embeddings="embeddings",
        session=InteractiveRecipe(
            prompts=PromptRecipe(corrections=1, mask_only_between=False, mask_only_last=False),
            checkpoint_iterations=False,
        ),
        optim=OptimRecipe(
            lr=1e-4, weight_decay=0.01, warmup_steps=50, schedule="cosine", average_decay=0.99
        ),
        run=RunRecipe(
            steps=500,
            precision="auto",
            evaluate_every=125,
            evaluate_first=True,
            save_every=100,
        ),
    )


def tuned() -> SamRecipe:
    """MobileSAM's decoder for fewer clicks on anything, in long sessions; an hour on one core.

    `data.train=...` must name the images, of as many kinds as possible. What each setting gains is
    in docs/quality.md.
    """
    return SamRecipe(
        model=ModelRecipe(learns="decoder"),
        data=DataRecipe(
            images_per_batch=8, max_masks_per_image=1, min_area_px=100, merge_probability=0.1
        ),
        truth_size=512,
        embeddings="embeddings",
        session=InteractiveRecipe(
            prompts=PromptRecipe(
                box_probability=0.4,
                single_box_probability=0.7,
                box_noise=0.04,
                center_probability=0.6,
                corrections=6,
                min_corrections=1,
                mask_only_between=False,
                mask_only_last=False,
            ),
            # The paper's focal alpha, 0.25, weights background three times as much: masks came out
            # too small.
            loss=LossRecipe(focal_alpha=0.5, iou=2.0, click=0.1),
            checkpoint_iterations=False,
            compile=True,
        ),
        teacher=TeacherRecipe(weights="mobile_sam", outline_probability=0.5),
        optim=OptimRecipe(
            lr=1.5e-4, weight_decay=0.01, warmup_steps=50, schedule="cosine", average_decay=0.99
        ),
        run=RunRecipe(
            steps=600,
            precision="auto",
            evaluate_every=200,
            evaluate_first=True,
            save_every=50,
        ),
    )


def lora() -> SamRecipe:
    """MobileSAM's decoder, and its image encoder by LoRA; `data.train=...` must name the images."""
    return SamRecipe(
        model=ModelRecipe(learns="lora"),
        data=DataRecipe(images_per_batch=2, max_masks_per_image=8, flip=True),
        session=InteractiveRecipe(
            prompts=PromptRecipe(corrections=2, mask_only_between=False, mask_only_last=False)
        ),
        optim=OptimRecipe(lr=1e-4, weight_decay=0.01, warmup_steps=50, schedule="cosine"),
        run=RunRecipe(
            steps=1000,
            precision="auto",
            evaluate_every=200,
            evaluate_first=True,
            save_every=100,
        ),
    )


def vit_h() -> SamRecipe:
    """The paper's training of ViT-H on SA-1B, for 256 processes with one image each.

    Source: arXiv:2304.02643, appendix A. `model.encoder_weights` names the MAE pre-training.
    """
    return _paper("sam_vit_h", lr=8e-4, layer_decay=0.8, drop_path=0.4, steps=90_000)


def vit_l() -> SamRecipe:
    """The paper's training of ViT-L on SA-1B, for 128 processes with one image each."""
    return _paper("sam_vit_l", lr=4e-4, layer_decay=0.8, drop_path=0.4, steps=180_000)


def vit_b() -> SamRecipe:
    """The paper's training of ViT-B on SA-1B, for 128 processes with one image each."""
    return _paper("sam_vit_b", lr=8e-4, layer_decay=0.6, drop_path=0.6, steps=180_000)


# Where the paper's learning rate falls in the 90k steps of ViT-H; other models use the same
# fractions.
PAPER_STEPS, PAPER_MILESTONES = 90_000, (60_000, 86_666)


def _paper(
    config: str, *, lr: float, layer_decay: float, drop_path: float, steps: int
) -> SamRecipe:
    return SamRecipe(
        model=ModelRecipe(
            config=config,
            weights=None,
            learns="all",
            drop_path=drop_path,
            checkpoint_encoder=True,
        ),
        data=DataRecipe(images_per_batch=1, max_masks_per_image=64, workers=4),
        truth_size=1024,
        optim=OptimRecipe(
            lr=lr,
            weight_decay=0.1,
            layer_decay=layer_decay,
            warmup_steps=250,
            milestones=tuple(step * steps // PAPER_STEPS for step in PAPER_MILESTONES),
            clip_norm=None,
        ),
        run=RunRecipe(steps=steps, precision="auto", save_every=1000, log_every=50),
    )


SAM_RECIPES: Mapping[str, Callable[[], SamRecipe]] = MappingProxyType(
    {
        "scenes": scenes,
        "scenes_long": scenes_long,
        "named_text": named_text,
        "text": text,
        "finetune": finetune,
        "tuned": tuned,
        "lora": lora,
        "vit_b": vit_b,
        "vit_l": vit_l,
        "vit_h": vit_h,
    }
)
