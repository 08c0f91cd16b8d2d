"""Settings of the data: which images and masks make a batch, and how they are prepared."""

import math
from dataclasses import dataclass

from samkit.errors import ConfigError

LARGEST_SCALE = 10.0  # beyond, an image is a few blurred pixels


@dataclass(frozen=True, kw_only=True)
class DataRecipe:
    """Which images and masks make a batch, and how.

    Attributes:
        train: data set to train on, as `open_data` takes it; None must be replaced before a run.
        val: data set to evaluate on during training; None for no evaluation.
        images_per_batch: of each process; batches are never smaller.
        max_masks_per_image: of an image with more, this many are drawn anew in each epoch.
        min_area_px: masks of fewer pixels of the image are left out, also if cropping makes them
            smaller.
        max_area_fraction: masks over a larger share of the image are left out. The paper's 90%.
        scale_jitter: the image's longest side becomes that of the model space times a factor
            between these, then it is cropped or padded. The paper has (0.1, 2.0) for manual masks;
            None, as for SA-1B: always the full image, as in prediction.
        flip: exchange left and right half of the time.
        workers: processes that read and prepare images for each training process; 0 for none.
            Batches do not depend on it, except for tar shards.
        prefetch: images that each worker prepares ahead.
    """

    train: str | None = None
    val: str | None = None
    images_per_batch: int = 4
    max_masks_per_image: int = 16
    min_area_px: int = 0
    max_area_fraction: float = 0.9
    scale_jitter: tuple[float, float] | None = None
    flip: bool = False
    workers: int = 0
    prefetch: int = 4

    def __post_init__(self) -> None:
        for name in ("train", "val"):
            _check_spec(name, getattr(self, name))
        _check_int("images_per_batch", self.images_per_batch, 1)
        _check_int("max_masks_per_image", self.max_masks_per_image, 1)
        _check_int("min_area_px", self.min_area_px, 0)
        _check_int("workers", self.workers, 0)
        _check_int("prefetch", self.prefetch, 1)
        if not _is_number(self.max_area_fraction) or not 0 < self.max_area_fraction <= 1:
            raise ConfigError(
                "max_area_fraction must be a number over 0 and at most 1;"
                f" got {self.max_area_fraction!r}"
            )
        if not isinstance(self.flip, bool):
            raise ConfigError(f"flip must be True or False; got {self.flip!r}")
        if self.scale_jitter is not None:
            _check_jitter(self.scale_jitter)

    @property
    def augments(self) -> bool:
        """Whether images differ from those of prediction."""
        return self.flip or self.scale_jitter is not None


def _check_spec(name: str, value: object) -> None:
    if value is not None and (not isinstance(value, str) or not value):
        raise ConfigError(
            f"{name} must name a data set, such as scenes or coco:FILE; got {value!r}"
        )


def _check_int(name: str, value: object, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigError(f"{name} must be a whole number of at least {least}; got {value!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _check_jitter(value: object) -> None:
    is_range = isinstance(value, tuple) and len(value) == 2 and all(map(_is_number, value))
    if not (is_range and isinstance(value, tuple) and 0 < value[0] <= value[1] <= LARGEST_SCALE):
        raise ConfigError(
            "scale_jitter must be two factors (low, high), over 0 and at most"
            f" {LARGEST_SCALE:g}, or None; got {value!r}"
        )
