"""Several data sets as one."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

from samkit.datasets.sample import Sample, SampleSource


class JoinedData:
    """The samples of several data sets, one data set after the other.

    A key that an earlier data set has too is followed by the number of its data set, counted from
    1: `0001.jpg#2`.

    Attributes:
        parts: the data sets.
    """

    def __init__(self, parts: Sequence[SampleSource]) -> None:
        self.parts = tuple(parts)
        self._ends = list(accumulate(len(part) for part in self.parts))
        self._known: list[set[str]] = []  # keys of the data sets before each one
        known: set[str] = set()
        for part in self.parts:
            self._known.append(set(known))
            known |= {part.key(index) for index in range(len(part))}

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def key(self, index: int) -> str:
        number, own = self._find(index)
        return self._unique(number, self.parts[number].key(own))

    def __getitem__(self, index: int) -> Sample:
        """Read a sample.

        Raises:
            DataError: this sample is broken; the others are not affected.
            ImageError: the image cannot be read.
        """
        number, own = self._find(index)
        sample = self.parts[number][own]
        return replace(sample, key=self._unique(number, sample.key))

    def _find(self, index: int) -> tuple[int, int]:
        """Number of a sample's data set, and the sample's index in it."""
        if not 0 <= index < len(self):
            raise IndexError(f"there are {len(self)} samples; got index {index}")
        number = bisect_right(self._ends, index)
        return number, index - (self._ends[number - 1] if number else 0)

    def _unique(self, number: int, key: str) -> str:
        return f"{key}#{number + 1}" if key in self._known[number] else key
