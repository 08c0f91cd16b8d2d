"""Data sets of images without masks, in folders."""

import os
from pathlib import Path

from samkit.datasets.sample import Sample
from samkit.errors import DataError
from samkit.formats import IMAGE_SUFFIXES, RangeLike, ValueRange, find_image_files, read_image


class ImageFolder:
    """All images in a folder and its subfolders, without masks: for MAE and distillation.

    Attributes:
        folder: the folder.
    """

    def __init__(self, folder: str | os.PathLike[str], *, value_range: RangeLike = "auto") -> None:
        """List the images.

        Args:
            folder: the folder.
            value_range: which values become black and white.

        Raises:
            DataError: the folder is missing, or has no images.
        """
        self.folder = Path(folder)
        self.value_range = ValueRange.of(value_range)
        if not self.folder.is_dir():
            raise DataError(f"no such folder: {folder}")
        self._paths = find_image_files(self.folder)
        if not self._paths:
            raise DataError(f"no image in {folder}: expected {', '.join(IMAGE_SUFFIXES)}")

    def __len__(self) -> int:
        return len(self._paths)

    def key(self, index: int) -> str:
        return self._paths[index].relative_to(self.folder).as_posix()

    def __getitem__(self, index: int) -> Sample:
        image = read_image(self._paths[index], value_range=self.value_range)
        return Sample(key=self.key(index), image=image, rles=())
