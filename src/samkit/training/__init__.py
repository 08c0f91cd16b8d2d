"""Training: interactive training of SAM, MAE pre-training, distillation, and a small CLIP.

    recipe = override(finetune(), ["data.train=coco:train.json"])
    trained = train(recipe, Path("mine"))

Names are loaded when first used: torch takes seconds to import.
"""

from typing import TYPE_CHECKING

from samkit.lazy import lazy_names

if TYPE_CHECKING:  # torch takes seconds to import
    from samkit.training.data.data_recipe import DataRecipe
    from samkit.training.distill.agreement import TeacherAgreement
    from samkit.training.distill.recipe import DISTILL_RECIPES, DistillRecipe
    from samkit.training.distill.setup import Distilled
    from samkit.training.distributed import launch, world_layout
    from samkit.training.log import SCORES, STEPS
    from samkit.training.loop import Progress, Trained, fit
    from samkit.training.losses import LossRecipe
    from samkit.training.mae.recipe import MAE_RECIPES, MaeRecipe
    from samkit.training.mae.setup import PICTURES
    from samkit.training.proposals.recipe import (
        PROPOSAL_RECIPES,
        ProposalDataRecipe,
        ProposalRecipe,
    )
    from samkit.training.run import train
    from samkit.training.sam.lora import takes_lora
    from samkit.training.sam.prompts import PromptRecipe
    from samkit.training.sam.recipe import SAM_RECIPES, SamRecipe, finetune, lora, scenes
    from samkit.training.sam.setup import task_predictor
    from samkit.training.sam.task import InteractiveRecipe, InteractiveTask
    from samkit.training.sam.trainable import (
        ModelRecipe,
        Parts,
        build_trainable,
        corrections_file,
    )
    from samkit.training.settings import OptimRecipe, RunRecipe, list_settings, override
    from samkit.training.setup import open_training_data
    from samkit.training.state import CHECKPOINT
    from samkit.training.task import Batch, Evaluate, Loader, StepResult, Task
    from samkit.training.text.recipe import CLIP_RECIPES, ClipRecipe
    from samkit.training.text.setup import CLIP_FOLDER
    from samkit.training.trainer import Trainer
    from samkit.training.video.recipe import VIDEO_RECIPES, VideoRecipe
    from samkit.training.video.setup import open_training_videos
    from samkit.training.video.task import VideoTask

__all__ = [
    "CHECKPOINT",
    "CLIP_FOLDER",
    "CLIP_RECIPES",
    "DISTILL_RECIPES",
    "MAE_RECIPES",
    "PICTURES",
    "PROPOSAL_RECIPES",
    "SAM_RECIPES",
    "SCORES",
    "STEPS",
    "VIDEO_RECIPES",
    "Batch",
    "ClipRecipe",
    "DataRecipe",
    "DistillRecipe",
    "Distilled",
    "Evaluate",
    "InteractiveRecipe",
    "InteractiveTask",
    "Loader",
    "LossRecipe",
    "MaeRecipe",
    "ModelRecipe",
    "OptimRecipe",
    "Parts",
    "Progress",
    "PromptRecipe",
    "ProposalDataRecipe",
    "ProposalRecipe",
    "RunRecipe",
    "SamRecipe",
    "StepResult",
    "Task",
    "TeacherAgreement",
    "Trained",
    "Trainer",
    "VideoRecipe",
    "VideoTask",
    "build_trainable",
    "corrections_file",
    "finetune",
    "fit",
    "launch",
    "list_settings",
    "lora",
    "open_training_data",
    "open_training_videos",
    "override",
    "scenes",
    "takes_lora",
    "task_predictor",
    "train",
    "world_layout",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "CHECKPOINT": "state",
        "CLIP_FOLDER": "text.setup",
        "CLIP_RECIPES": "text.recipe",
        "DISTILL_RECIPES": "distill.recipe",
        "MAE_RECIPES": "mae.recipe",
        "PICTURES": "mae.setup",
        "PROPOSAL_RECIPES": "proposals.recipe",
        "SAM_RECIPES": "sam.recipe",
        "SCORES": "log",
        "STEPS": "log",
        "VIDEO_RECIPES": "video.recipe",
        "TeacherAgreement": "distill.agreement",
        "Batch": "task",
        "ClipRecipe": "text.recipe",
        "DataRecipe": "data.data_recipe",
        "DistillRecipe": "distill.recipe",
        "Distilled": "distill.setup",
        "Evaluate": "task",
        "InteractiveRecipe": "sam.task",
        "InteractiveTask": "sam.task",
        "LossRecipe": "losses",
        "Loader": "task",
        "MaeRecipe": "mae.recipe",
        "ModelRecipe": "sam.trainable",
        "OptimRecipe": "settings",
        "Parts": "sam.trainable",
        "Progress": "loop",
        "PromptRecipe": "sam.prompts",
        "ProposalDataRecipe": "proposals.recipe",
        "ProposalRecipe": "proposals.recipe",
        "RunRecipe": "settings",
        "SamRecipe": "sam.recipe",
        "StepResult": "task",
        "Task": "task",
        "Trained": "loop",
        "Trainer": "trainer",
        "VideoRecipe": "video.recipe",
        "VideoTask": "video.task",
        "build_trainable": "sam.trainable",
        "corrections_file": "sam.trainable",
        "finetune": "sam.recipe",
        "fit": "loop",
        "launch": "distributed",
        "list_settings": "settings",
        "lora": "sam.recipe",
        "open_training_data": "setup",
        "open_training_videos": "video.setup",
        "override": "settings",
        "scenes": "sam.recipe",
        "takes_lora": "sam.lora",
        "task_predictor": "sam.setup",
        "train": "run",
        "world_layout": "distributed",
    },
)
