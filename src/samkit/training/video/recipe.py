"""Recipes of `samkit train` for SAM 2 on videos."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from samkit.errors import ConfigError
from samkit.models import CONFIGS, Sam2Config
from samkit.training.sam.trainable import ModelRecipe
from samkit.training.settings import OptimRecipe, RunRecipe, check_range
from samkit.training.video.losses import VideoLossRecipe
from samkit.training.video.prompts import VideoPromptRecipe


@dataclass(frozen=True, kw_only=True)
class VideoDataRecipe:
    """Settings of the clips of a training.

    Attributes:
        train: data set to train on, as `open_videos` takes it; None must be replaced before a run.
        val: data set to evaluate on during training; None for no evaluation.
        clips_per_batch: number of clips in each batch of each process.
        frames: length of a clip.
        max_objects: most objects of a clip, drawn among those of its first frame.
        reverse_probability: fraction of clips that run backwards.
        flip: mirror clips with probability one half.
        workers: processes that draw clips for each training process; 0 for none. Batches do not
            depend on it.
        prefetch: clips that each worker draws ahead.
    """

    train: str | None = None
    val: str | None = None
    clips_per_batch: int = 1
    frames: int = 8
    max_objects: int = 3
    reverse_probability: float = 0.5
    flip: bool = True
    workers: int = 0
    prefetch: int = 2

    def __post_init__(self) -> None:
        check_range("clips_per_batch", self.clips_per_batch, 1)
        check_range("frames", self.frames, 2)
        check_range("max_objects", self.max_objects, 1)
        check_range("reverse_probability", self.reverse_probability, 0, 1)
        check_range("workers", self.workers, 0)
        check_range("prefetch", self.prefetch, 1)


@dataclass(frozen=True, kw_only=True)
class VideoSessionRecipe:
    """Settings of what happens in a clip, and of its loss.

    Attributes:
        prompts: simulated prompts.
        loss: weights of the losses.
    """

    prompts: VideoPromptRecipe = field(default_factory=VideoPromptRecipe)
    loss: VideoLossRecipe = field(default_factory=VideoLossRecipe)


@dataclass(frozen=True, kw_only=True)
class VideoEvaluationRecipe:
    """Evaluation during training, on `data.val`.

    Attributes:
        clips: number of clips, one of each of the first videos; the same in each evaluation.
        frames: length of a clip.
        first: how objects are shown in the first frame.
    """

    clips: int = 20
    frames: int = 16
    first: Literal["mask", "box", "click"] = "mask"

    def __post_init__(self) -> None:
        check_range("evaluation.clips", self.clips, 1)
        check_range("evaluation.frames", self.frames, 2)


@dataclass(frozen=True, kw_only=True)
class VideoRecipe:
    """All settings of a training of SAM 2 on videos.

    Attributes:
        model: network, initial weights and trainable parts; the memory always learns.
        data: clips.
        truth_size: side of the target space, in which masks are compared with the ground truth.
        session: simulated prompts and losses.
        optim: optimiser and schedule.
        run: length, precision and hardware.
        evaluation: evaluation during training.
    """

    model: ModelRecipe
    data: VideoDataRecipe
    truth_size: int = 256
    session: VideoSessionRecipe = field(default_factory=VideoSessionRecipe)
    optim: OptimRecipe = field(default_factory=OptimRecipe)
    run: RunRecipe
    evaluation: VideoEvaluationRecipe = field(default_factory=VideoEvaluationRecipe)

    def __post_init__(self) -> None:
        config = CONFIGS[self.model.config]
        if not isinstance(config, Sam2Config) or config.memory is None:
            known = ", ".join(name for name, one in CONFIGS.items() if isinstance(one, Sam2Config))
            raise ConfigError(
                f"only SAM 2 has a memory to train: model.config must be one of {known}; got"
                f" {self.model.config!r}"
            )
        check_range("truth_size", self.truth_size, 1, config.image_size)
        # At least one frame must be tracked.
        most = self.data.frames - 1
        check_range("session.prompts.first_frames", self.session.prompts.first_frames, 1, most)


def video() -> VideoRecipe:
    """SAM 2.1's smallest model on your own videos, as its authors fine-tune it.

    `data.train=...` must name the videos, such as davis:FOLDER. Learning rate and regularisation
    are those of the authors' fine-tuning on MOSE; the number of steps depends on the data.
    """
    return VideoRecipe(
        model=ModelRecipe(
            config="sam2.1_hiera_tiny",
            weights="sam2.1_hiera_tiny",
            learns="all",
            drop_path=0.1,
            checkpoint_encoder=True,
        ),
        data=VideoDataRecipe(workers=2),
        truth_size=1024,
        optim=OptimRecipe(
            lr=5e-6,
            weight_decay=0.1,
            layer_decay=0.9,
            warmup_steps=50,
            schedule="cosine",
            clip_norm=0.1,
        ),
        run=RunRecipe(steps=5000, precision="auto", evaluate_every=500, save_every=250),
    )


def video_scenes() -> VideoRecipe:
    """A tiny SAM 2 from random weights on clips of synthetic scenes: some minutes on a CPU."""
    return VideoRecipe(
        model=ModelRecipe(config="nano_sam2", weights=None, learns="all"),
        data=VideoDataRecipe(
            train="moving:named:count=20000,size=128,seed=0,things=4",
            val="moving:named:count=100,size=128,seed=1,things=4",
            clips_per_batch=5,
            frames=5,
            max_objects=2,
        ),
        truth_size=32,
        session=VideoSessionRecipe(
            prompts=VideoPromptRecipe(mask_probability=1.0, first_frames=1),
            # Small objects in few cells: with the paper's 0.25 the background outweighs them.
            loss=VideoLossRecipe(focal_alpha=0.75, others=1.0),
        ),
        optim=OptimRecipe(
            lr=1e-3,  # with 2e-3 attention forgets likeness before it is of use
            weight_decay=0.05,
            warmup_steps=20,
            schedule="cosine",
            clip_norm=1.0,
            average_decay=0.99,
        ),
        run=RunRecipe(steps=1000, evaluate_every=500, save_every=200),
        evaluation=VideoEvaluationRecipe(clips=20, frames=8),
    )


VIDEO_RECIPES: Mapping[str, Callable[[], VideoRecipe]] = MappingProxyType(
    {"video": video, "video_scenes": video_scenes}
)
