"""One image of `samkit auto`: its masks found or taken from before, and its results written."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from samkit.cli.inputs import InputImage
from samkit.cli.mask_files import SUFFIXES, remove_stale_masks, write_mask_files
from samkit.cli.options import BackendChoice
from samkit.cli.runs import STATE_NAME, Record, RunFolder, file_identity
from samkit.errors import FormatError

if TYPE_CHECKING:
    from samkit.formats.image import RgbImage
    from samkit.proposals import AutoMaskConfig, AutoMasker, ClassMasker, TileConfig
    from samkit.proposals.sources import TileSource
    from samkit.text import Calibration
    from samkit.types import Masks


@dataclass(frozen=True, kw_only=True)
class ClassChoice:
    """Which classes are looked for, and by what; see `ClassMasker`."""

    classes: tuple[str, ...]
    text_model: str
    thresh: float | None
    others: bool
    calibration: Calibration | None


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What to compute and what to write, the same for all images of a run."""

    model: str
    backend: BackendChoice
    config: AutoMaskConfig
    tiling: TileConfig | None
    output: Path
    formats: frozenset[str]
    classes: ClassChoice | None = None

    def settings(self) -> dict[str, Any]:
        """What masks depend on, for the run's records.

        Not how the model is run: backends and devices differ by rounding, and a run may go on on
        another machine.
        """
        tiling = None if self.tiling is None else asdict(self.tiling)
        found = {"model": _identify(self.model), "config": asdict(self.config), "tiling": tiling}
        if self.classes is None:  # not named, so that runs from before there were classes go on
            return found
        weights = {"text_weights": _identify_folder(Path(self.classes.text_model))}
        return found | {"classes": asdict(self.classes) | weights}

    @cached_property
    def masker(self) -> AutoMasker | ClassMasker:
        """What makes the masks; loads the models when first asked for."""
        from samkit.predict import Predictor
        from samkit.proposals import AutoMasker, ClassMasker

        predictor, choice = Predictor.load(self.model, **self.backend), self.classes
        everything = AutoMasker(predictor, self.config)
        if choice is None:
            return everything
        from samkit.text import load_text_model

        return ClassMasker(
            everything,
            choice.classes,
            load_text_model(choice.text_model, device=predictor.backend.info.device),
            thresh=choice.thresh,
            keep_others=choice.others,
            calibration=choice.calibration,
        )


def _identify(model: str) -> str:
    """A model's name, or the checksum of its file."""
    from samkit.files import file_sha256
    from samkit.weights.catalog import CATALOG

    if model in CATALOG:
        return model
    try:
        return f"sha256:{file_sha256(model)}"
    except (OSError, ValueError):  # told when the model is loaded
        return model


def _identify_folder(folder: Path) -> list[str]:
    """Checksums of the weights in a text model's folder; none of a name on the hub."""
    from samkit.files import file_sha256

    files = sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin")])
    return [file_sha256(path) for path in files]


@dataclass(frozen=True, kw_only=True)
class ImageJob:
    """What is to be done for one image.

    Attributes:
        image: the image.
        run: the folder for its results.
        choices: the settings.
        earlier: the record of results that there are already, of the same settings.
    """

    image: InputImage
    run: RunFolder
    choices: Choices
    earlier: Record | None

    @cached_property
    def missing(self) -> frozenset[str]:
        """The chosen formats that are not there yet; coco needs the image's masks to be there."""
        if self.earlier is None:
            return self.choices.formats
        missing = self.run.lacks(self.earlier, self.choices.formats - {"coco"})
        if "coco" in self.choices.formats and not self.masks_path(self.earlier).is_file():
            missing |= {"coco"}
        return missing

    def masks_path(self, record: Record) -> Path:
        """Where an image's masks are kept: among its results, or beside its record."""
        if "sa1b" in record["files"]:
            return self.run.output / f"{self.image.base}{SUFFIXES['sa1b']}"
        return self.run.output / self._hidden_masks

    @property
    def _hidden_masks(self) -> Path:
        return Path(STATE_NAME, "masks", f"{self.image.base}.json")

    def kept_masks(self) -> Masks | None:
        """Masks that an earlier run found with the same settings, if they can be read."""
        from samkit.formats import read_sa1b

        if self.earlier is None:
            return None
        try:
            return read_sa1b(self.masks_path(self.earlier))
        except FormatError:  # removed or changed by somebody: found anew
            return None

    def do(self, on_progress: Callable[[int, int], None]) -> tuple[Record, bool]:
        """Write what is missing.

        Returns:
            the image's new record, and whether its masks were found now and not taken from before.

        Raises:
            ImageError: the image cannot be read.
            FormatError: its masks do not fit a format.
            OutputError: results cannot be written.
        """
        from samkit.formats import write_sa1b

        identity = file_identity(self.image.path)
        started_s = time.monotonic()
        masks = self.kept_masks()
        files: dict[str, list[str]] = {}
        is_new = self.earlier is None or masks is None
        if self.earlier is None or masks is None:
            formats = self.choices.formats
            masks, pixels = self.find_masks(on_progress)
            seconds = round(time.monotonic() - started_s, 3)
        else:
            formats = self.missing
            pixels = self.read_pixels() if "overlay" in formats else None
            files |= self.earlier["files"]
            seconds = self.earlier["seconds"]
        with self.run.publishing(self.image) as staging:
            choice = self.choices.classes
            classes = () if choice is None else choice.classes
            files |= write_mask_files(staging, self.image, pixels, masks, formats, classes=classes)
            if "sa1b" not in files:  # for formats asked for later, and the data set of all images
                (staging / self._hidden_masks).parent.mkdir(parents=True)
                write_sa1b(staging / self._hidden_masks, masks, file_name=self.image.name)
        if "png" in formats:
            remove_stale_masks(self.run.output, self.image, files["png"])
        height, width = masks.size_hw
        facts = {"width": width, "height": height, "masks": len(masks), "seconds": seconds}
        return self.run.record(self.image, identity, facts | {"files": files}), is_new

    def find_masks(self, on_progress: Callable[[int, int], None]) -> tuple[Masks, RgbImage | None]:
        """Make the image's masks; return also its pixels, or None if they are too many."""
        from samkit.formats import read_image
        from samkit.proposals.sources import open_source

        masker, tiling = self.choices.masker, self.choices.tiling
        if tiling is None:
            pixels = read_image(self.image.path)
            return masker.generate(pixels, on_progress=on_progress), pixels
        source = open_source(self.image.path)
        # Tiles do not go with classes.
        masks = cast("AutoMasker", masker).generate_tiled(source, tiling, on_progress=on_progress)
        return masks, _all_pixels(source)

    def read_pixels(self) -> RgbImage | None:
        """The image's pixels, or None if they are too many."""
        from samkit.formats import read_image
        from samkit.proposals.sources import open_source

        if self.choices.tiling is None:
            return read_image(self.image.path)
        return _all_pixels(open_source(self.image.path))


def _all_pixels(source: TileSource) -> RgbImage | None:
    from samkit.formats import MAX_PIXELS, read_image

    height, width = source.size_hw
    if height * width > MAX_PIXELS:
        return None
    return read_image(source.read((0, 0, width, height)))
