"""Data sets in folders: images without masks, or with label images as PNG files."""

import os
from pathlib import Path

from samkit.datasets.sample import Sample
from samkit.errors import DataError
from samkit.formats import IMAGE_SUFFIXES, find_image_files, label_rles, read_image, read_labels

IMAGES, MASKS = "images", "masks"


class ImageFolder:
    """All images in a folder and its subfolders, without masks: for MAE and distillation.

    Attributes:
        folder: the folder.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """List the images.

        Raises:
            DataError: the folder is missing, or has no images.
        """
        self.folder = Path(folder)
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
        return Sample(key=self.key(index), image=read_image(self._paths[index]), rles=())


class InstancePng:
    """Images in `images/`, and in `masks/` a PNG of the same name whose pixels number instances.

    0 is background, every other number a mask.

    Attributes:
        folder: the folder with `images/` and `masks/`.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """List the images.

        Raises:
            DataError: there are none, or none has a PNG of its masks.
        """
        self.folder = Path(folder)
        self._paths = find_image_files(self.folder / IMAGES)
        if not any(self._mask_path(index).is_file() for index in range(len(self._paths))):
            raise DataError(
                f"no image in {self.folder / IMAGES} has a PNG of the same name"
                f" in {self.folder / MASKS}"
            )

    def __len__(self) -> int:
        return len(self._paths)

    def key(self, index: int) -> str:
        return self._paths[index].relative_to(self.folder / IMAGES).as_posix()

    def __getitem__(self, index: int) -> Sample:
        image = read_image(self._paths[index])
        labels = read_labels(self._mask_path(index)).labels
        if labels.shape != image.shape[:2]:
            raise DataError(
                f"{self._mask_path(index)} must have its image's size {image.shape[:2]};"
                f" got {labels.shape}"
            )
        return Sample(key=self.key(index), image=image, rles=label_rles(labels))

    def _mask_path(self, index: int) -> Path:
        relative = self._paths[index].relative_to(self.folder / IMAGES)
        return (self.folder / MASKS / relative).with_suffix(".png")
