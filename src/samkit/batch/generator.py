"""Generator of automatic masks from settings; models are loaded when first needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from samkit.errors import ConfigError, ImageError, WeightsError

if TYPE_CHECKING:
    from samkit.backends import BackendChoice
    from samkit.formats import ImageLike
    from samkit.predict import Predictor
    from samkit.proposals import AutoMaskConfig, AutoMasker, ClassMasker, SourceLike, TileConfig
    from samkit.text import Calibration
    from samkit.types import Masks

OnProgress = Callable[[int, int], None]
NAMED_PROPOSERS = ("grid", "learned")  # others are files


@dataclass(frozen=True, kw_only=True)
class ClassChoice:
    """Classes to segment, and the text model that finds or names them; see `ClassMasker`."""

    classes: tuple[str, ...]
    text_model: str
    thresh: float | None
    others: bool
    calibration: Calibration | None


@dataclass(frozen=True, kw_only=True)
class MaskGenerator:
    """Generates the masks of images.

    Attributes:
        model: name or checkpoint file.
        tiling: tiles for images that are too large to process at once; not with classes.
        classes: classes to segment; None for masks of everything.
        value_range: which values of images become black and white; see `samkit.formats.ValueRange`.
    """

    model: str
    backend: BackendChoice
    config: AutoMaskConfig
    tiling: TileConfig | None = None
    classes: ClassChoice | None = None
    value_range: str = "auto"

    def __post_init__(self) -> None:
        if self.tiling is not None and self.classes is not None:
            raise ConfigError("classes cannot be combined with tiles")

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the settings alone: each process loads the models itself."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def settings(self) -> dict[str, Any]:
        """Return the settings that masks depend on, for the records of a run.

        Backend and device are not among them: they differ by rounding only, and a run may be
        resumed on another machine.
        """
        from samkit.weights import PUBLISHED_IOU_THRESH, own_iou_thresh

        tiling = None if self.tiling is None else asdict(self.tiling)
        try:
            iou_thresh = own_iou_thresh(self.model)
        except WeightsError:  # will be reported when the model is loaded
            iou_thresh = PUBLISHED_IOU_THRESH
        config = asdict(self.config.for_model(iou_thresh))
        config.pop("iou_slack")  # is in `iou_thresh` now
        config |= self._proposer_identity()
        if self.config.proposer == "grid":  # so that older runs can be resumed
            for name in ("proposer", "max_proposals", "objectness_thresh"):
                config.pop(name)
        found = {
            "model": _model_identity(self.model),
            "config": config,
            "tiling": tiling,
        }
        # What is not chosen is left out, so that runs older than a setting can be resumed.
        if self.value_range != "auto":
            found["value_range"] = self.value_range
        if self.classes is None:
            return found
        weights = {"text_weights": _folder_identity(Path(self.classes.text_model))}
        return found | {"classes": asdict(self.classes) | weights}

    def _proposer_identity(self) -> dict[str, str]:
        """A learned proposer by the checksum of its file; nothing for others."""
        if self.config.proposer in NAMED_PROPOSERS:
            return {}
        return {"proposer": _model_identity(self.config.proposer)}

    def check(self) -> None:
        """Check what can be checked without loading a model; download a missing text model.

        Raises:
            WeightsError: no such model, text model or proposal head.
            ConfigError: text needs packages that are not installed.
            DownloadError: a text model is not on this disk and cannot be downloaded.
        """
        from samkit.weights import check_source

        check_source(self.model)
        proposer = self.config.proposer
        if proposer not in NAMED_PROPOSERS and not Path(proposer).is_file():
            raise WeightsError(f"--proposer is grid, learned or a file; no such file: {proposer}")
        if self.classes is not None:
            from samkit.text import find_text_model

            find_text_model(self.classes.text_model)

    @cached_property
    def predictor(self) -> Predictor:
        """The predictor; loads the model."""
        from samkit.predict import Predictor

        return Predictor.load(self.model, **self.backend.options())

    @cached_property
    def everything(self) -> AutoMasker:
        """The masker for everything; loads the model."""
        from samkit.proposals import AutoMasker

        return AutoMasker(self.predictor, self.config)

    @cached_property
    def masker(self) -> AutoMasker | ClassMasker:
        """The masker for images without tiles; loads the models."""
        from samkit.proposals import ClassMasker

        choice = self.classes
        if choice is None:
            return self.everything
        from samkit.text import load_text_model

        device = self.predictor.backend.info.device
        return ClassMasker(
            self.everything,
            choice.classes,
            load_text_model(choice.text_model, device=device),
            thresh=choice.thresh,
            keep_others=choice.others,
            calibration=choice.calibration,
        )

    def generate(self, image: SourceLike, *, on_progress: OnProgress | None = None) -> Masks:
        """Generate the masks of an image.

        Args:
            image: path or array; with tiles, also a `TileSource`.
            on_progress: called with the number of points or tiles done, and their total.

        Raises:
            ImageError: the image cannot be read.
        """
        from samkit.formats import read_image
        from samkit.proposals import open_source

        if self.tiling is not None:
            if getattr(image, "dtype", None) != "uint8":
                image = open_source(image, value_range=self.value_range)
            return self.everything.generate_tiled(image, self.tiling, on_progress=on_progress)
        pixels = read_image(cast("ImageLike", image), value_range=self.value_range)
        return self.masker.generate(pixels, on_progress=on_progress)

    def generate_within_memory(self, image: SourceLike) -> Masks:
        """Generate the masks of an image; a lack of memory is an error of this image.

        Raises:
            ImageError: the image cannot be read, or memory is too small for it.
        """
        with self.limited_memory("it"):
            return self.generate(image)

    @contextmanager
    def limited_memory(self, what: object) -> Iterator[None]:
        """Convert a lack of memory to an error of one image, called `what`, with advice.

        Raises:
            ImageError: memory is too small.
        """
        try:
            yield
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            advice = "try --tile 1024" if self.classes is None else "make it smaller"
            raise ImageError(f"not enough memory for {what}: {advice}") from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means a lack of memory, for which PyTorch raises a RuntimeError."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and "memory" in str(error).lower()


def _model_identity(model: str) -> str:
    """Return a model's name, or the checksum of its file."""
    from samkit.files import file_sha256
    from samkit.weights import CATALOG

    if model in CATALOG:
        return model
    try:
        return f"sha256:{file_sha256(model)}"
    except (OSError, ValueError):  # will be reported when the model is loaded
        return model


def _folder_identity(folder: Path) -> list[str]:
    """Return checksums of the weights in a text model's folder; none for a name on the hub."""
    from samkit.files import file_sha256

    files = sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin")])
    return [file_sha256(path) for path in files]
