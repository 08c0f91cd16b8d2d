"""Settings of the training data: data sets, filters, augmentation and workers."""

import math
from dataclasses import dataclass

from samkit.errors import ConfigError

MAX_SCALE = 10.0  # beyond, an image is a few blurred pixels


@dataclass(frozen=True, kw_only=True)
class DataRecipe:
    """Settings of the data of a training.

    Attributes:
        train: data set to train on, as `open_data` takes it; None must be replaced before a run.
        val: data set to evaluate on during training; None for no evaluation.
        images_per_batch: number of images in each batch of each process, never fewer.
        max_masks_per_image: limit; of an image with more masks, each epoch draws others.
        min_area_px: masks of fewer image pixels are left out, also if they are smaller only
            because the image was cropped.
        merge_probability: fraction of masks that are joined with one that touches them, if any,
            such as a rider with the horse: people often mean more than one annotated object.
        max_area_fraction: masks over a larger fraction of the image are left out; 90% in the
            paper.
        scale_jitter: range of a random factor: the image's longest side is resized to the side of
            the model space times this factor, then cropped or padded. The paper has (0.1, 2.0) for
            manual masks. None, as for SA-1B, always uses the full image, as in prediction.
        flip: mirror images with probability one half.
        workers: processes that read and prepare images for each training process; 0 for none.
            Batches do not depend on it, except for tar shards.
        prefetch: images that each worker prepares ahead.
    """

    train: str | None = None
    val: str | None = None
    images_per_batch: int = 4
    max_masks_per_image: int = 16
    min_area_px: int = 0
    merge_probability: float = 0.0
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
        if not _is_number(self.merge_probability) or not 0 <= self.merge_probability <= 1:
            raise ConfigError(
                f"merge_probability must be a number from 0 to 1; got {self.merge_probability!r}"
            )
        if not isinstance(self.flip, bool):
            raise ConfigError(f"flip must be True or False; got {self.flip!r}")
        if self.scale_jitter is not None:
            _check_jitter(self.scale_jitter)

    @property
    def augments(self) -> bool:
        """Whether images are augmented, so that they differ from those of prediction."""
        return self.flip or self.scale_jitter is not None


def _check_spec(name: str, value: object) -> None:
    if value is not None and (not isinstance(value, str) or not value):
        raise ConfigError(
            f"{name} must name a data set, such as scenes or coco:FILE; got {value!r}"
        )


def _check_int(name: str, value: object, minimum: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
        raise ConfigError(f"{name} must be a whole number of at least {minimum}; got {value!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _check_jitter(value: object) -> None:
    is_range = isinstance(value, tuple) and len(value) == 2 and all(map(_is_number, value))
    if not (is_range and isinstance(value, tuple) and 0 < value[0] <= value[1] <= MAX_SCALE):
        raise ConfigError(
            "scale_jitter must be two factors (low, high), over 0 and at most"
            f" {MAX_SCALE:g}, or None; got {value!r}"
        )
