"""Some samples of a data set."""

from collections.abc import Sequence
from dataclasses import dataclass

from samkit.datasets.sample import Sample, SampleSource


@dataclass(frozen=True)
class PickedData:
    """Some samples of a data set, in the order of their indices; they may repeat."""

    source: SampleSource
    indices: Sequence[int]

    def __len__(self) -> int:
        return len(self.indices)

    def key(self, index: int) -> str:
        return self.source.key(self.indices[index])

    def __getitem__(self, index: int) -> Sample:
        return self.source[self.indices[index]]
