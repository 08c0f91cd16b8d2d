"""Images without masks, for what learns from images alone: MAE and distillation."""

import os
from pathlib import Path

from samkit.datasets.sa1b import IMAGE_SUFFIXES
from samkit.datasets.sample import Sample
from samkit.errors import DataError
from samkit.formats import read_image


class ImageFolder:
    """All images in a folder and in all folders in it, in the order of their names.

    Attributes:
        folder: as given.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """List the images.

        Raises:
            DataError: the folder is missing, or there are none.
        """
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise DataError(f"no such folder: {folder}")
        found = self.folder.rglob("*")
        self._images = sorted(path for path in found if path.suffix.lower() in IMAGE_SUFFIXES)
        if not self._images:
            raise DataError(f"no image in {folder}: expected {', '.join(IMAGE_SUFFIXES)}")

    def __len__(self) -> int:
        return len(self._images)

    def key(self, index: int) -> str:
        return self._images[index].relative_to(self.folder).as_posix()

    def __getitem__(self, index: int) -> Sample:
        return Sample(key=self.key(index), image=read_image(self._images[index]), rles=())
