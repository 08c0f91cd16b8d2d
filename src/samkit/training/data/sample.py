"""What every data set gives: a photo and the masks in it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from samkit.errors import DataError
from samkit.geometry import Rle


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """One photo and its masks.

    Attributes:
        key: names the photo within its data set, the same in every run.
        photo: uint8 RGB (H, W, 3).
        rles: masks of the photo's size, as run-length codes; there may be none.
        faults: of the annotations that are broken and left out, one line each.
    """

    key: str
    photo: npt.NDArray[np.uint8]
    rles: tuple[Rle, ...]
    faults: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.photo.dtype != np.uint8 or self.photo.ndim != 3 or self.photo.shape[2] != 3:
            raise DataError(
                f"{self.key}: a photo must be uint8 (H, W, 3);"
                f" got {self.photo.dtype} {self.photo.shape}"
            )
        for rle in self.rles:
            if tuple(rle["size"]) != self.photo.shape[:2]:
                raise DataError(
                    f"{self.key}: masks must have the photo's size {self.photo.shape[:2]};"
                    f" got {tuple(rle['size'])}"
                )


@runtime_checkable
class SampleSource(Protocol):
    """A data set with an order of its own: samples by number."""

    def __len__(self) -> int:
        """Number of photos."""
        ...

    def key(self, index: int) -> str:
        """The key of a sample, without reading it."""
        ...

    def __getitem__(self, index: int) -> Sample:
        """One sample.

        Raises:
            DataError: this photo or its masks are broken; the others are not affected.
            ImageError: the photo cannot be read.
        """
        ...


@runtime_checkable
class SampleStream(Protocol):
    """A data set that can only be read from front to back, such as tar shards."""

    def read(
        self, epoch: int, rank: int, world: int, *, start: int = 0
    ) -> Iterator[Sample | DataError]:
        """The samples of one reader in an epoch, in the same order in every run.

        Args:
            epoch: from 0; each has another order.
            rank: which of `world` readers this is; each reads a part that no other reads.
            world: number of readers: processes times workers.
            start: leave out so many of what would be yielded first, and do not decode those.

        Yields:
            samples, and for each that is broken the error that says why.
        """
        ...
