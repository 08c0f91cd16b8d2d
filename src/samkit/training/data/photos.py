"""Photos without masks, for what learns from photos alone: MAE and distillation."""

import os
from pathlib import Path

from samkit.errors import DataError
from samkit.formats import read_image
from samkit.training.data.sa1b import PHOTO_SUFFIXES
from samkit.training.data.sample import Sample


class PhotoFolder:
    """All photos in a folder and in all folders in it, in the order of their names.

    Attributes:
        folder: as given.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """List the photos.

        Raises:
            DataError: the folder is missing, or there are none.
        """
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise DataError(f"no such folder: {folder}")
        found = self.folder.rglob("*")
        self._photos = sorted(path for path in found if path.suffix.lower() in PHOTO_SUFFIXES)
        if not self._photos:
            raise DataError(f"no photo in {folder}: expected {', '.join(PHOTO_SUFFIXES)}")

    def __len__(self) -> int:
        return len(self._photos)

    def key(self, index: int) -> str:
        return self._photos[index].relative_to(self.folder).as_posix()

    def __getitem__(self, index: int) -> Sample:
        return Sample(key=self.key(index), photo=read_image(self._photos[index]), rles=())
