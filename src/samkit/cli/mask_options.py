"""Options of automatic masks, shared by commands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from samkit.proposals import AutoMaskConfig, TileConfig

Command = TypeVar("Command", bound=Callable[..., Any])

# Not read from samkit.proposals, which is slow to import.
PRESET_NAMES = ("instant", "fast", "paper", "thorough")
OVERLAPS_PER_TILE = 4  # neighbouring tiles overlap by a quarter of their side, such as 256 of 1024

# Options for settings: name of the setting, option, type and help.
SETTINGS: tuple[tuple[str, str, Any, str], ...] = (
    ("points_per_side", "--points-per-side", int, "Points along each side of the grid of prompts."),
    (
        "crop_layers",
        "--crop-layers",
        int,
        "Layers of crops: 1 adds 2x2 crops, 2 adds 4x4, ...",
    ),
    (
        "crop_points_downscale",
        "--crop-points-downscale",
        int,
        "Factor by which each layer of crops has fewer points per side.",
    ),
    ("iou_thresh", "--iou-thresh", float, "Minimum predicted IoU of a mask."),
    ("stability_thresh", "--stability-thresh", float, "Minimum stability of a mask."),
    (
        "stability_offset",
        "--stability-offset",
        float,
        "Offset of logits to measure stability.",
    ),
    (
        "box_nms_thresh",
        "--box-nms-thresh",
        float,
        "Maximum IoU of two masks' boxes; above it they are duplicates.",
    ),
    ("crop_nms_thresh", "--crop-nms-thresh", float, "The same for masks from different crops."),
    (
        "max_proposals",
        "--max-proposals",
        int,
        "Maximum number of boxes of a learned proposer, in each crop.",
    ),
    (
        "objectness_thresh",
        "--objectness-thresh",
        float,
        "Minimum objectness of a learned proposer's boxes.",
    ),
    (
        "min_area_px",
        "--min-area",
        int,
        "Remove islands and fill holes of fewer pixels.",
    ),
    (
        "max_area_fraction",
        "--max-area",
        float,
        "Maximum fraction of the image that a mask covers, 0 to 1.",
    ),
)


def mask_options(command: Command) -> Command:
    """Add --preset, an option for each setting, and --tile; see `config_from_options`."""
    options = [
        click.option(
            "--preset",
            type=click.Choice(PRESET_NAMES),
            help="Preset, which the options below change. The default is a grid of 32 x 32 points"
            " without crops.",
        ),
        *(
            click.option(option, name, type=kind, metavar="N", help=text)
            for name, option, kind, text in SETTINGS
        ),
        click.option(
            "--adaptive/--all-points",
            default=None,
            help="Skip points inside small masks already found (faster), or use all points.",
        ),
        click.option(
            "--proposer",
            metavar="grid|learned|FILE",
            help="What to prompt by: a grid of points; the boxes of the proposal head in this"
            " package; or those of a head's file by `samkit train proposals`.",
        ),
        click.option(
            "--tile",
            "tile_px",
            type=int,
            metavar="SIZE",
            help="For huge images: segment tiles of SIZE pixels one by one, and join the masks.",
        ),
    ]
    decorated: Any = command
    for option in reversed(options):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


def config_from_options(preset: str | None, settings: dict[str, Any]) -> AutoMaskConfig:
    """Make the configuration from a preset, or the defaults, and the options given.

    A learned proposer's defaults are those of the preset "instant".

    Raises:
        ConfigError: a number is out of range.
    """
    from samkit.proposals import PRESETS, with_proposer

    given = {name: value for name, value in settings.items() if value is not None}
    base = None if preset is None else PRESETS[preset]
    return replace(with_proposer(base, given.pop("proposer", None)), **given)


def tiling_from_option(tile_px: int | None) -> TileConfig | None:
    """Make the tile configuration of --tile; None without it.

    Raises:
        ConfigError: the side is too small or too large.
    """
    from samkit.proposals import TileConfig

    if tile_px is None:
        return None
    return TileConfig(tile_px=tile_px, overlap_px=max(0, tile_px // OVERLAPS_PER_TILE))
