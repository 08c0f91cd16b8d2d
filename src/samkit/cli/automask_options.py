"""The options of automatic masks, for all verbs that make them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from samkit.proposals import AutoMaskConfig, TileConfig

Command = TypeVar("Command", bound=Callable[..., Any])

# Not read from samkit.proposals, which takes long to import.
PRESET_NAMES = ("fast", "paper", "thorough")
OVERLAPS_PER_TILE = 4  # tiles share a quarter of their side, as 256 of 1024

# Options of settings: name of the setting, option, type and help.
SETTINGS: tuple[tuple[str, str, Any, str], ...] = (
    ("points_per_side", "--points-per-side", int, "Points along each side of the grid."),
    ("crop_layers", "--crop-layers", int, "Look again at 2x2, 4x4, ... crops: so many layers."),
    (
        "crop_points_downscale",
        "--crop-points-downscale",
        int,
        "In each layer of crops, the grid has so many times fewer points a side.",
    ),
    ("iou_thresh", "--iou-thresh", float, "Least predicted IoU of a mask."),
    ("stability_thresh", "--stability-thresh", float, "Least stability of a mask."),
    ("stability_offset", "--stability-offset", float, "Offset of logits that stability is for."),
    (
        "box_nms_thresh",
        "--box-nms-thresh",
        float,
        "Masks whose boxes have a larger IoU are of the same thing.",
    ),
    ("crop_nms_thresh", "--crop-nms-thresh", float, "The same for masks of different crops."),
    ("min_area_px", "--min-area", int, "Drop islands and fill holes of fewer pixels."),
    ("max_area_fraction", "--max-area", float, "Drop masks over a larger part of the image, 0-1."),
)


def automask_options(command: Command) -> Command:
    """Give a verb --preset, an option for each setting, and --tile; see `config_from_options`."""
    options = [
        click.option(
            "--preset",
            type=click.Choice(PRESET_NAMES),
            help="Settings to begin with, which the options below change. By default a grid of"
            " 32 x 32 points, no crops.",
        ),
        *(
            click.option(option, name, type=kind, metavar="N", help=text)
            for name, option, kind, text in SETTINGS
        ),
        click.option(
            "--adaptive/--all-points",
            default=None,
            help="Leave out points in small masks that were found before; faster.",
        ),
        click.option(
            "--tile",
            "tile_px",
            type=int,
            metavar="SIZE",
            help="For huge images: see tiles of SIZE pixels each on its own, and join the masks.",
        ),
    ]
    decorated: Any = command
    for option in reversed(options):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


def config_from_options(preset: str | None, settings: dict[str, Any]) -> AutoMaskConfig:
    """A preset, or the plain settings, with those changed that were given.

    Raises:
        ConfigError: a number out of its range.
    """
    from samkit.proposals import PRESETS, AutoMaskConfig

    base = AutoMaskConfig() if preset is None else PRESETS[preset]
    return replace(base, **{name: value for name, value in settings.items() if value is not None})


def tiling_from_option(tile_px: int | None) -> TileConfig | None:
    """How to cut images into tiles of a side, or None.

    Raises:
        ConfigError: a side that is too small or large.
    """
    from samkit.proposals import TileConfig

    if tile_px is None:
        return None
    return TileConfig(tile_px=tile_px, overlap_px=max(0, tile_px // OVERLAPS_PER_TILE))
