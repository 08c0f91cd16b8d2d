"""Automatic masks of many images into a folder: each image is done once, with all of its files."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samkit.batch.executor import Finished
from samkit.batch.generator import MaskGenerator
from samkit.batch.inputs import InputImage
from samkit.batch.mask_files import COCO_NAME, SUFFIXES, remove_stale_masks, write_mask_files
from samkit.batch.run_folder import STATE_NAME, Record, RunFolder, file_identity
from samkit.errors import FormatError, ImageError, OutputError, SamkitError

if TYPE_CHECKING:
    from samkit.arrays import RgbImage
    from samkit.proposals import TileSource
    from samkit.types import Masks


@dataclass(frozen=True, kw_only=True)
class AutoClaim:
    """One image to be done.

    Attributes:
        identity: its file when it was claimed.
        earlier: the record of results of the same file and settings, of which some files are
            missing; None for an image that is new.
        formats: what to write, if the earlier masks can still be read.
    """

    image: InputImage
    identity: dict[str, Any]
    earlier: Record | None
    formats: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class AutoOutput:
    """The masks of one image.

    Attributes:
        pixels: for the overlay; None where it is not needed, or where they are too many.
        seconds: that the masks took; None for masks of an earlier run.
    """

    masks: Masks
    pixels: RgbImage | None
    seconds: float | None


@dataclass(frozen=True, kw_only=True)
class AutoResult:
    """One image with all of its results.

    Attributes:
        is_new: whether its masks were made now.
    """

    record: Record
    is_new: bool


@dataclass(frozen=True, kw_only=True)
class AutoWork:
    """Makes and writes the masks of images.

    Attributes:
        formats: what to write, of `FORMATS`.
        on_progress: called with the points or tiles of an image that are done, and all of them.
    """

    generator: MaskGenerator
    output: Path
    formats: frozenset[str]
    on_progress: Callable[[int, int], None] | None = None

    @cached_property
    def run(self) -> RunFolder:
        """The folder for results; reads the model's file to tell it from others."""
        return RunFolder(self.output, self.generator.settings())

    def claim(self, image: InputImage) -> AutoClaim | Finished[AutoResult]:
        """Find out what is missing of an image's results.

        Raises:
            ImageError: its file cannot be read.
        """
        earlier = self.run.finished(image)
        missing = self.formats if earlier is None else self._missing(image, earlier)
        if earlier is not None and not missing:
            return Finished(AutoResult(record=earlier, is_new=False))
        return AutoClaim(
            image=image, identity=file_identity(image.path), earlier=earlier, formats=missing
        )

    def generate(self, claim: AutoClaim) -> AutoOutput:
        """Make an image's masks, or take those that an earlier run has written.

        Raises:
            ImageError: the image cannot be read, or memory is too small for it.
        """
        started_s = time.monotonic()
        path = claim.image.path
        with self.generator.limited_memory(path):
            masks = self._earlier_masks(claim)
            if masks is not None:
                pixels = self._read_pixels(path) if "overlay" in claim.formats else None
                return AutoOutput(masks=masks, pixels=pixels, seconds=None)
            masks, pixels = self._new_masks(path)
        seconds = round(time.monotonic() - started_s, 3)
        return AutoOutput(masks=masks, pixels=pixels, seconds=seconds)

    def commit(self, claim: AutoClaim, output: AutoOutput) -> AutoResult:
        """Bring an image's files to their places, then record that it is done.

        Raises:
            FormatError: masks do not fit a format.
            OutputError: results cannot be written.
        """
        from samkit.formats import write_sa1b

        image, masks = claim.image, output.masks
        is_new = output.seconds is not None
        formats = self.formats if is_new else claim.formats
        files: dict[str, list[str]] = {}
        seconds = output.seconds
        if claim.earlier is not None and not is_new:
            files |= claim.earlier["files"]
            seconds = claim.earlier["seconds"]
        with self.generator.limited_memory(image.path), self.run.publishing(image) as staging:
            files |= write_mask_files(
                staging, image, output.pixels, masks, formats, classes=self._classes
            )
            if "sa1b" not in files:  # for formats asked for later, and the data set of all images
                (staging / _hidden_masks(image)).parent.mkdir(parents=True)
                write_sa1b(staging / _hidden_masks(image), masks, file_name=image.name)
        if "png" in formats:
            remove_stale_masks(self.output, image, files["png"])
        height, width = masks.size_hw
        facts = {"width": width, "height": height, "masks": len(masks), "seconds": seconds}
        record = self.run.record(image, claim.identity, facts | {"files": files})
        return AutoResult(record=record, is_new=is_new)

    def is_fault(self, error: SamkitError) -> bool:
        """Whether only one image is concerned, and not all, as by a full disk."""
        if isinstance(error, OutputError):  # only one image's name can be too long
            return getattr(error.__cause__, "errno", None) == errno.ENAMETOOLONG
        return isinstance(error, ImageError | FormatError)

    def write_coco(self, done: Iterable[tuple[InputImage, Record]]) -> Path:
        """Write one COCO data set of all images that are done, from their masks on disk."""
        from samkit.formats import read_sa1b, write_coco

        def images() -> Iterator[tuple[str, Masks]]:
            for image, record in done:
                yield image.name, read_sa1b(self._masks_path(image, record))

        with self.run.publishing() as staging:
            write_coco(staging / COCO_NAME, images(), classes=self._classes)
        return self.output / COCO_NAME

    @property
    def _classes(self) -> tuple[str, ...]:
        choice = self.generator.classes
        return () if choice is None else choice.classes

    def _missing(self, image: InputImage, record: Record) -> frozenset[str]:
        """The chosen formats that are not there yet; coco needs the image's masks to be there."""
        missing = self.run.lacks(record, self.formats - {"coco"})
        if "coco" in self.formats and not self._masks_path(image, record).is_file():
            missing |= {"coco"}
        return missing

    def _masks_path(self, image: InputImage, record: Record) -> Path:
        """Where an image's masks are on disk: among its results, or beside its record."""
        if "sa1b" in record["files"]:
            return self.output / f"{image.base}{SUFFIXES['sa1b']}"
        return self.output / _hidden_masks(image)

    def _earlier_masks(self, claim: AutoClaim) -> Masks | None:
        """Masks that an earlier run has made with the same settings, if they can be read."""
        from samkit.formats import read_sa1b

        if claim.earlier is None:
            return None
        try:
            return read_sa1b(self._masks_path(claim.image, claim.earlier))
        except FormatError:  # removed or changed by somebody: made anew
            return None

    def _new_masks(self, path: Path) -> tuple[Masks, RgbImage | None]:
        """Make an image's masks; return also its pixels, or None if they are too many."""
        from samkit.formats import read_image
        from samkit.proposals import open_source

        if self.generator.tiling is None:
            pixels = read_image(path)
            return self.generator.generate(pixels, on_progress=self.on_progress), pixels
        source = open_source(path)
        masks = self.generator.generate(source, on_progress=self.on_progress)
        return masks, _all_pixels(source)

    def _read_pixels(self, path: Path) -> RgbImage | None:
        """An image's pixels, or None if they are too many."""
        from samkit.formats import read_image
        from samkit.proposals import open_source

        if self.generator.tiling is None:
            return read_image(path)
        return _all_pixels(open_source(path))


def _hidden_masks(image: InputImage) -> Path:
    return Path(STATE_NAME, "masks", f"{image.base}.json")


def _all_pixels(source: TileSource) -> RgbImage | None:
    from samkit.formats import MAX_PIXELS, read_image

    height, width = source.size_hw
    if height * width > MAX_PIXELS:
        return None
    return read_image(source.read((0, 0, width, height)))
