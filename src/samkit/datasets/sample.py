"""Samples, and the interfaces of data sets that yield them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from samkit.arrays import RgbImage
from samkit.errors import ConfigError, DataError
from samkit.geometry import Rle, subtract_rle
from samkit.types import GivenPrompts

UNLIMITED = 2**63  # upper limit of settings that have none


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """One image and its masks.

    Attributes:
        key: identifies the image within its data set, the same in every run.
        image: uint8 RGB (H, W, 3).
        rles: masks of the image's size; may be empty.
        faults: one line about each annotation that is broken and left out.
        phrases: name of each mask, such as its class; empty if the data set has no names.
        crop_embeds: CLIP embeddings (M, V, D) of V crops of each mask, if cached; NaN for masks
            that are too small.
        void: mask of the pixels without ground truth, such as the unlabelled band around an object:
            neither evaluated nor trained. Masks may reach into it. None without such pixels.
        given: prompts that people gave to get each mask; empty if nobody knows of any.
        rejected: masks of the image's size that people deleted, or changed into others: what nobody
            wants is known where they were and no mask is. Empty if nobody knows of any.
        embedding_key: key of its embedding in a cache that others share; None for that of its
            pixels, `pixels_sha256`.
    """

    key: str
    image: RgbImage
    rles: tuple[Rle, ...]
    faults: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()
    crop_embeds: npt.NDArray[np.float16] | None = None
    void: Rle | None = None
    given: tuple[GivenPrompts, ...] = ()
    embedding_key: str | None = None
    rejected: tuple[Rle, ...] = ()

    def __post_init__(self) -> None:
        if self.image.dtype != np.uint8 or self.image.ndim != 3 or self.image.shape[2] != 3:
            raise DataError(
                f"{self.key}: an image must be uint8 (H, W, 3);"
                f" got {self.image.dtype} {self.image.shape}"
            )
        void = () if self.void is None else (self.void,)
        for rle in (*self.rles, *self.rejected, *void):
            if tuple(rle["size"]) != self.image.shape[:2]:
                raise DataError(
                    f"{self.key}: masks must have the image's size {self.image.shape[:2]};"
                    f" got {tuple(rle['size'])}"
                )
        columns = (
            ("phrases", self.phrases or None),
            ("crop_embeds", self.crop_embeds),
            ("given", self.given or None),
        )
        for name, value in columns:
            if value is not None and len(value) != len(self.rles):
                raise DataError(
                    f"{self.key}: {name} must be one for each of {len(self.rles)} masks;"
                    f" got {len(value)}"
                )

    def without_void(self, rles: Sequence[Rle]) -> tuple[Rle, ...]:
        """Masks of the image's size without void pixels; they may become empty."""
        if self.void is None:
            return tuple(rles)
        return tuple(subtract_rle(rle, self.void) for rle in rles)


@runtime_checkable
class SampleSource(Protocol):
    """A data set of numbered samples, which can be read in any order."""

    def __len__(self) -> int:
        """Number of images."""
        ...

    def key(self, index: int) -> str:
        """Key of a sample, without reading it."""
        ...

    def __getitem__(self, index: int) -> Sample:
        """Read a sample.

        Raises:
            DataError: this sample is broken; the others are not affected.
            ImageError: the image cannot be read.
        """
        ...


@runtime_checkable
class SampleStream(Protocol):
    """A data set that can only be read from front to back, such as tar shards."""

    def read(
        self, epoch: int, rank: int, world: int, *, start: int = 0
    ) -> Iterator[Sample | DataError]:
        """Read one reader's samples of an epoch, in the same order in every run.

        Args:
            epoch: from 0; each epoch has another order.
            rank: index of this reader among `world`; no two readers read the same sample.
            world: number of readers: processes times workers.
            start: number of samples to skip without decoding.

        Yields:
            samples; in place of a broken one, an error that says why.
        """
        ...


def require_indexed(source: SampleSource | SampleStream, what: str) -> SampleSource:
    """Return the data set if its samples can be read in any order.

    Args:
        source: the data set.
        what: purpose, as a plural noun for the error.

    Raises:
        ConfigError: it can only be read from front to back.
    """
    if isinstance(source, SampleStream):
        raise ConfigError(f"{what} need numbered data sets: unpack tar shards into a folder first")
    return source


def check_settings(
    kind: str, values: Mapping[str, object], limits: Mapping[str, tuple[int, int]]
) -> None:
    """Check that settings of generated images are whole numbers within limits.

    Args:
        kind: name of the data set in the error.
        values: by setting.
        limits: lowest and highest value by setting.

    Raises:
        ConfigError: a value is of another type, or outside its limits.
    """
    for name, (low, high) in limits.items():
        value = values[name]
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            top = "" if high == UNLIMITED else f" and at most {high}"
            raise ConfigError(
                f"{name} of {kind} must be a whole number of at least {low}{top}; got {value!r}"
            )
