"""Models by the original's names of configurations, and of repositories on the hub."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any, TypeVar

import torch

from samkit.compat.sam2.errors import SettingError, UnknownModelError
from samkit.compat.sam2.modeling.sam2_base import SAM2Base
from samkit.models import CONFIGS, Sam, build_sam
from samkit.weights import CATALOG, load_model

logger = logging.getLogger(__name__)

Kind = TypeVar("Kind", bound=SAM2Base)
CONFIG_NAME = re.compile(r"(sam2(?:\.1)?)_hiera_(tiny|small|base_plus|large|t|s|b\+|l)(?![a-z])")
SIZES = {"t": "tiny", "s": "small", "b+": "base_plus", "l": "large"}
# The configuration and the file of each model on the hub, EdgeTAM's as in its own repository.
HF_MODEL_ID_TO_FILENAMES = {
    f"facebook/{version}-hiera-{size.replace('_', '-')}": (
        f"configs/{version}/{version}_hiera_{letter}.yaml",
        f"{version}_hiera_{size}.pt",
    )
    for version in ("sam2", "sam2.1")
    for letter, size in SIZES.items()
} | {"facebook/EdgeTAM": ("configs/edgetam.yaml", "edgetam.pt")}
EMBEDDED = "mobile_sam"
OVERRIDE = re.compile(r"\+*model\.([\w.]+)=(.*)", re.DOTALL)
NON_OVERLAPPING = "non_overlap_masks"
# Overrides that change nothing: so it always is here, or how it is computed.
ALWAYS = {
    "add_all_frames_to_correct_as_cond": True,
    "clear_non_cond_mem_around_input": True,
    "clear_non_cond_mem_for_multi_obj": True,
    "binarize_mask_from_pts_for_mem_enc": True,
    "sam_mask_decoder_extra_args.dynamic_multimask_via_stability": True,
    NON_OVERLAPPING: False,
}


def build_model(
    kind: type[Kind],
    config_file: str | os.PathLike[str],
    ckpt_path: str | os.PathLike[str] | None = None,
    *,
    device: str | torch.device = "cuda",
    mode: str = "eval",
    hydra_overrides_extra: Sequence[str] = (),
    apply_postprocessing: bool = True,
    **kwargs: Any,  # noqa: ARG001 - as in the original
) -> Kind:
    """Build a model of a kind; arguments and errors are those of `build_sam.build_sam2`."""
    overrides = read_overrides(hydra_overrides_extra)
    name = model_name(config_file)
    network = load_network(name, ckpt_path)
    model = kind(network, model_name=name, apply_postprocessing=apply_postprocessing)
    model.non_overlap_masks = overrides.get(NON_OVERLAPPING, False)
    return prepared(model, device, mode)


def build_from_hub(kind: type[Kind], model_id: str, **kwargs: Any) -> Kind:
    """Build a model that is on the hub, such as "facebook/sam2.1-hiera-tiny" or EdgeTAM."""
    name = hub_model(model_id)
    return build_model(kind, name, **{"ckpt_path": name, **kwargs})


def model_name(config_file: str | os.PathLike[str]) -> str:
    """The name in `samkit.models.CONFIGS` of an original configuration, or of a model itself.

    Raises:
        UnknownModelError: there is none.
    """
    text = os.fspath(config_file)
    if text in CATALOG or text in CONFIGS:
        return text
    file = PurePath(text.replace("\\", "/")).name
    if file.removesuffix(".yaml") in CATALOG:
        return file.removesuffix(".yaml")
    found = CONFIG_NAME.search(file)
    if found is None:
        raise UnknownModelError(
            f"unknown configuration {text!r}; known are configs/sam2.1/sam2.1_hiera_t.yaml and"
            f" those of s, b+ and l, of sam2 as well, and {', '.join(CATALOG)}"
        )
    return f"{found[1]}_hiera_{SIZES.get(found[2], found[2])}"


def hub_model(model_id: str) -> str:
    """The name in samkit's catalog of a repository on the hub, or the name itself.

    Raises:
        UnknownModelError: there is none.
    """
    config, _ = HF_MODEL_ID_TO_FILENAMES.get(model_id, (None, None))
    name = model_id if config is None else model_name(config)
    if name not in CATALOG:
        raise UnknownModelError(
            f"unknown model {model_id!r}; known are {', '.join(HF_MODEL_ID_TO_FILENAMES)} and"
            f" {EMBEDDED}"
        )
    return name


def load_network(name: str, ckpt_path: str | os.PathLike[str] | None) -> Sam:
    """Load a network, or build one with random weights if its own are not in the package."""
    kind = CATALOG[name].config if name in CATALOG else name
    if ckpt_path is not None:
        return load_model(ckpt_path, name=kind).model
    if name in CATALOG and CATALOG[name].embedded is not None:
        return load_model(name).model
    return build_sam(CONFIGS[kind])


def read_overrides(overrides: Sequence[str]) -> dict[str, bool]:
    """The overrides of a configuration that samkit knows.

    Raises:
        SettingError: one cannot be followed.
    """
    found: dict[str, bool] = {}
    for text in overrides:
        match = OVERRIDE.fullmatch(text)
        name, value = (match[1], match[2].strip().lower()) if match else ("", "")
        is_flag = name in ALWAYS and value in ("true", "false")
        if not is_flag or (name != NON_OVERLAPPING and (value == "true") != ALWAYS[name]):
            followed = ", ".join(f"{one}={str(ALWAYS[one]).lower()}" for one in ALWAYS)
            raise SettingError(
                f"the override {text!r} cannot be followed: remove it; samkit's models are as"
                f" published, with {followed}, and {NON_OVERLAPPING}=true for videos"
            )
        found[name] = value == "true"
    return found


def prepared(model: Kind, device: str | torch.device, mode: str) -> Kind:
    """Move a model, and put it into its mode.

    Raises:
        SettingError: there is no such mode.
    """
    if mode not in ("eval", "train"):
        raise SettingError(f'mode must be "eval" or "train"; got {mode!r}')
    chosen = torch.device(device)
    if chosen.type == "cuda" and not torch.cuda.is_available():
        logger.info("there is no GPU that PyTorch can use: the model runs on the CPU")
        chosen = torch.device("cpu")
    return model.to(chosen).train(mode == "train")
