"""Data sets of annotation files: images with masks in any format that can be read."""

import logging
import os
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from samkit.annotations import (
    AnnotatedImage,
    AnnotationSet,
    DrawnImage,
    ImageNames,
    draw_image,
    faults_of_nothing,
    find_suspicions,
    place_notes,
)
from samkit.datasets.sample import Sample
from samkit.errors import DataError
from samkit.formats import (
    UPRIGHT,
    RangeLike,
    ValueRange,
    find_image_files,
    has_image_suffix,
    notify,
    read_image,
    read_size_and_orientation,
)

logger = logging.getLogger(__name__)

IMAGES_TRIED = 32  # images looked for to find their folder; all but one may be missing
PREFIX = "instances_"  # as in COCO's own names: annotations/instances_val2017.json beside val2017/
IMAGES = "images"
JPEG_IMAGES = "JPEGImages"  # Pascal VOC's
IMAGE_FOLDERS = (IMAGES, JPEG_IMAGES)


class AnnotatedImages:
    """Images, and their masks in annotation files.

    The phrase of a mask is its class; of one without a class, it is empty.

    Attributes:
        annotations: what the files hold.
        path: file or folder that they were read from.
        folder: folder of the images.
    """

    def __init__(
        self,
        annotations: AnnotationSet,
        path: str | os.PathLike[str],
        *,
        images: str | os.PathLike[str] | None = None,
        value_range: RangeLike = "auto",
        allow_missing: bool = False,
    ) -> None:
        """Find the images.

        Args:
            annotations: the annotations.
            path: file or folder that they were read from.
            images: folder of the images; default: one beside or above the annotations, see
                `docs/training.md`.
            value_range: which values of the images become black and white.
            allow_missing: whether it may be that none of the images is found.

        Raises:
            DataError: there are no annotations, or none of their images are found.
        """
        if not len(annotations):
            raise DataError(f"{path} lists no images")
        for fault in annotations.faults:
            logger.warning("%s: %s", path, fault.text)
        self.annotations = annotations
        self.path = Path(path)
        self._warned: set[int] = set()
        self.value_range = ValueRange.of(value_range)
        given = None if images is None else Path(images)
        folders = _usual_folders(self.path) if given is None else [given]
        found = _find_images(annotations, self.path, folders)
        if found is None and not allow_missing:
            listed = ", ".join(str(folder) for folder in folders)
            raise DataError(
                f"none of the images of {path} are in {listed}: name their folder"
                f" ({annotations.format_name}:{path},images=...)"
            )
        self._names = found or _Folder(folders[0], with_subfolders=False)
        self.folder = self._names.folder
        if not annotations.is_listed:
            self._count_images_without_annotations()
        self._keys = _unique_keys([self._key(index) for index in range(len(annotations))])

    def __len__(self) -> int:
        return len(self.annotations)

    def key(self, index: int) -> str:
        return self._keys[index]

    def _key(self, index: int) -> str:
        """The image's path as far as it is known without reading an annotation file."""
        key = self.annotations.key(index)
        if self.annotations.is_listed:
            return key
        try:
            return self._names.find(os.path.splitext(key)[0], has_suffix=False)  # noqa: PTH122
        except DataError:
            return key

    def _warn(self, index: int, notes: Sequence[str], drawn: DrawnImage) -> None:
        """Say once of an image what was understood in an unusual way, or may not be meant."""
        if index in self._warned:
            return
        self._warned.add(index)
        names = [one.class_name for one in drawn.masks]
        found = (*notes, *drawn.notes, *find_suspicions(drawn.rles, names))
        if found:
            notify("unusual in their masks", self.key(index), "; ".join(found))

    def locate(self, image: AnnotatedImage) -> str:
        """Path of an image below the folder.

        Raises:
            DataError: it is not there, or several could be meant.
        """
        return self._names.find(image.name, folder=image.folder, has_suffix=image.has_suffix)

    def image_paths(self) -> list[str]:
        """Paths of all images in the folder, whether or not they have annotations."""
        return self._names.paths()

    def files(self) -> list[Path]:
        """The images' files, as far as they are known without reading annotation files."""
        every = (self.folder / key for key in dict.fromkeys(self._keys))
        return [path for path in every if path.is_file()]

    def _count_images_without_annotations(self) -> None:
        found = {self._key(index) for index in range(len(self.annotations))}
        paths = self.image_paths()
        if missing := len(set(paths) - found):
            text = "%d of %d images in %s have no annotation file of their name"
            logger.warning(text, missing, len(paths), self.folder)

    def __getitem__(self, index: int) -> Sample:
        image = self.annotations.read(index)
        if not image.name:
            raise DataError("; ".join(fault.text for fault in faults_of_nothing(image)))
        try:
            found = self.locate(image)
        except DataError as error:
            raise DataError(f"{image.name}: {error}") from error
        path = self.folder / found
        pixels = read_image(path, value_range=self.value_range)
        size_hw = (pixels.shape[0], pixels.shape[1])
        orientation = UPRIGHT
        if image.size_hw not in (None, size_hw):
            with path.open("rb") as file:
                _, orientation = read_size_and_orientation(file, str(path))
        try:
            drawn = draw_image(image, size_hw, orientation)
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
        names = tuple(one.class_name or "" for one in drawn.masks)
        self._warn(index, place_notes(image.name, found), drawn)
        return Sample(
            key=self.key(index),
            image=pixels,
            rles=drawn.rles,
            faults=tuple(fault.text for fault in drawn.faults),
            phrases=names if any(names) else (),
            void=drawn.void,
        )


class _Folder:
    """Images of a folder, listed when the first is not where its name says."""

    def __init__(self, folder: Path, *, with_subfolders: bool = True) -> None:
        self.folder = folder
        self._with_subfolders = with_subfolders

    def paths(self) -> list[str]:
        """Paths of all images below the folder."""
        if not self.folder.is_dir():
            return []
        if not self._with_subfolders:
            names = (path.name for path in self.folder.iterdir() if has_image_suffix(path))
            return sorted(names)
        paths = find_image_files(self.folder)
        return [path.relative_to(self.folder).as_posix() for path in paths]

    def find(self, name: str, *, folder: str | None = None, has_suffix: bool = True) -> str:
        if has_suffix and not folder and _is_inside(self.folder, name):
            return name
        return self._names.find(name, folder=folder, has_suffix=has_suffix)

    @cached_property
    def _names(self) -> ImageNames:
        return ImageNames(self.paths(), owner=str(self.folder))


def _is_inside(folder: Path, name: str) -> bool:
    """Whether a name is that of a file in a folder, and does not lead out of it."""
    if name.startswith("/") or ".." in name.split("/"):
        return False
    try:
        return (folder / name).is_file()
    except (OSError, ValueError):  # too long, or with NUL
        return False


def _find_images(annotations: AnnotationSet, path: Path, folders: Sequence[Path]) -> _Folder | None:
    """The first folder that contains any of the first images, by their whole names if possible."""
    first = [annotations.read(index) for index in range(min(IMAGES_TRIED, len(annotations)))]
    named = [image for image in first if image.name]
    if not named:
        fault = next((fault.text for image in first for fault in image.faults), "no names")
        raise DataError(f"{path} has no annotations that can be read: {fault}")
    for folder in folders:
        if any(_is_inside(folder, image.name) for image in named):
            return _Folder(folder)
    for folder in filter(Path.is_dir, folders):
        # A file may lie anywhere, such as in the home folder, which is not to be searched.
        names = _Folder(folder, with_subfolders=len(folders) == 1 or folder != path.parent)
        if any(_is_found(names, image) for image in named):
            return names
    return None


def _is_found(names: _Folder, image: AnnotatedImage) -> bool:
    try:
        names.find(image.name, folder=image.folder, has_suffix=image.has_suffix)
    except DataError:
        return False
    return True


def _usual_folders(path: Path) -> list[Path]:
    """Folders in which programs leave the images of annotations."""
    if path.is_dir():
        beside = [parent / name for parent in (path, path.parent) for name in IMAGE_FOLDERS]
        # VOC's pictures of masks are beside its images' folder, and have their names.
        return [path / JPEG_IMAGES, path, *beside]
    folder, stem = path.parent, path.stem.removeprefix(PREFIX)
    usual = [folder / path.stem, folder / stem, folder.parent / stem]
    usual += [parent / IMAGES / stem for parent in (folder, folder.parent)]
    return list(dict.fromkeys([*usual, folder / IMAGES, folder.parent / IMAGES, folder]))


def _unique_keys(names: Sequence[str]) -> list[str]:
    """Names, made unique by indices if images share one."""
    counts = Counter(names)
    return [f"{name}#{i}" if counts[name] > 1 else name for i, name in enumerate(names)]
