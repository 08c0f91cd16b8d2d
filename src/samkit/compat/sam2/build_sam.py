"""Builders of models and predictors, by the original's names of configurations."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch

from samkit.compat.sam2.loading import HF_MODEL_ID_TO_FILENAMES, build_from_hub, build_model
from samkit.compat.sam2.modeling.sam2_base import SAM2Base
from samkit.compat.sam2.sam2_video_predictor import SAM2VideoPredictor

__all__ = [
    "HF_MODEL_ID_TO_FILENAMES",
    "build_sam2",
    "build_sam2_hf",
    "build_sam2_video_predictor",
    "build_sam2_video_predictor_hf",
]


def build_sam2(
    config_file: str | os.PathLike[str],
    ckpt_path: str | os.PathLike[str] | None = None,
    device: str | torch.device = "cuda",
    mode: str = "eval",
    hydra_overrides_extra: Sequence[str] = (),
    apply_postprocessing: bool = True,  # noqa: FBT001, FBT002
    **kwargs: Any,
) -> SAM2Base:
    """Build a model for images.

    Args:
        config_file: "configs/sam2.1/sam2.1_hiera_t.yaml", "sam2_hiera_l.yaml", ...; or the name of
            any model of samkit, such as "mobile_sam".
        ckpt_path: any file that samkit reads, also the published `.pt`. Without one, "mobile_sam"
            has its weights, and others are random.
        device: without a GPU, "cuda" is the CPU.
        mode: "eval" or "train".
        hydra_overrides_extra: overrides of the configuration; those that cannot be followed are
            refused.
        apply_postprocessing: whether single masks that are unstable are replaced by the best of the
            others.
        kwargs: no effect.

    Raises:
        UnknownModelError: there is no such configuration.
        WeightsError: the checkpoint cannot be read or does not fit.
        SettingError: an override cannot be followed.
    """
    return build_model(
        SAM2Base,
        config_file,
        ckpt_path,
        device=device,
        mode=mode,
        hydra_overrides_extra=hydra_overrides_extra,
        apply_postprocessing=apply_postprocessing,
        **kwargs,
    )


def build_sam2_video_predictor(
    config_file: str | os.PathLike[str],
    ckpt_path: str | os.PathLike[str] | None = None,
    device: str | torch.device = "cuda",
    mode: str = "eval",
    hydra_overrides_extra: Sequence[str] = (),
    apply_postprocessing: bool = True,  # noqa: FBT001, FBT002
    vos_optimized: bool = False,  # noqa: FBT001, FBT002, ARG001 - the backend is chosen anyway
    **kwargs: Any,
) -> SAM2VideoPredictor:
    """Build a predictor for videos; arguments and errors are those of `build_sam2`.

    `vos_optimized` has no effect. Of overrides, "++model.non_overlap_masks=true" gives each pixel
    to one object at most.
    """
    return build_model(
        SAM2VideoPredictor,
        config_file,
        ckpt_path,
        device=device,
        mode=mode,
        hydra_overrides_extra=hydra_overrides_extra,
        apply_postprocessing=apply_postprocessing,
        **kwargs,
    )


def build_sam2_hf(model_id: str, **kwargs: Any) -> SAM2Base:
    """Build a model on the hub: "facebook/sam2.1-hiera-tiny", "facebook/EdgeTAM", ...

    Arguments and errors are those of `build_sam2`.
    """
    return build_from_hub(SAM2Base, model_id, **kwargs)


def build_sam2_video_predictor_hf(model_id: str, **kwargs: Any) -> SAM2VideoPredictor:
    """Build a predictor for videos of a model on the hub; see `build_sam2_video_predictor`."""
    return build_from_hub(SAM2VideoPredictor, model_id, **kwargs)
