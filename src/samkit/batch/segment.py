"""Prompted segmentation of many images, written to a folder."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samkit.batch.inputs import Skipped
from samkit.batch.mask_files import COCO_NAME
from samkit.batch.prompt_results import make_record, write_results
from samkit.batch.prompts import ImagePrompt, prompt_from_entry, read_prompts_file
from samkit.errors import ImageError, PromptError, SamkitError
from samkit.files import make_folder, write_bytes

if TYPE_CHECKING:
    from samkit.arrays import RgbImage
    from samkit.predict import Predictor, Refine
    from samkit.types import MaskPrediction

SEGMENT_FORMATS = ("overlay", "png", "json", "coco", "logits")
DEFAULT_SEGMENT_FORMATS = ("overlay", "png", "json")
# File in the output folder that lists the mask pictures written for each image.
SEGMENT_STATE_NAME = ".samkit-segment"


@dataclass(frozen=True, kw_only=True)
class PromptedImage:
    """An image, or a page of one as `stack.tif#page=2`, and its prompt."""

    image: Path
    prompt: ImagePrompt

    @property
    def stem(self) -> str:
        """Beginning of the names of its results."""
        from samkit.formats import base_name

        return base_name(self.image.name)


@dataclass(frozen=True, kw_only=True)
class SegmentOptions:
    """Settings for answering prompts, the same for all images.

    Attributes:
        multimask: whether prompts get three candidates; None gives them to ambiguous prompts only.
        every_candidate: write all candidates, not only the best.
        text_thresh: minimum score of a text match; None for the model's default.
        value_range: which values become black and white; see `samkit.formats.ValueRange`.
        refine: see `samkit.Predictor.predict`; not for text.
        fine: likewise, also for text.
    """

    multimask: bool | None = None
    every_candidate: bool = False
    text_thresh: float | None = None
    value_range: str = "auto"
    refine: Refine = "none"
    fine: bool = False


@dataclass(frozen=True, kw_only=True)
class SegmentOutput:
    """One image and the masks that answer its prompt."""

    pixels: RgbImage
    answer: MaskPrediction


def read_prompted_images(
    path: Path, images: Sequence[Path]
) -> tuple[list[PromptedImage], list[Skipped]]:
    """Read prompts from a JSON file, for the given images or for all images that it names.

    Returns:
        images with their prompts, and images without a valid one.

    Raises:
        PromptError: the file is missing or damaged.
    """
    by_image = read_prompts_file(path)
    read = [
        _read_prompt(path, by_image, name, image)
        for name, image in _named_images(path, by_image, images)
    ]
    found = [one for one in read if isinstance(one, PromptedImage)]
    return found, [one for one in read if isinstance(one, Skipped)]


def _read_prompt(
    path: Path, by_image: Mapping[str, Any], name: str, image: Path
) -> PromptedImage | Skipped:
    """The prompt of an image in a file of prompts, or the reason why it has none."""
    if name not in by_image:
        return Skipped(image=str(image), error=f"{path} has no prompt for it")
    try:
        return PromptedImage(image=image, prompt=prompt_from_entry(by_image[name], path))
    except PromptError as error:
        return Skipped(image=str(image), error=str(error))


def _named_images(
    path: Path, by_image: Collection[str], images: Sequence[Path]
) -> list[tuple[str, Path]]:
    """Images with their names in a file of prompts, which are paths or file names."""
    if not images:
        return [(name, _beside(path, name)) for name in by_image]
    written = {name.replace("\\", "/").removeprefix("./"): name for name in by_image}
    found = []
    for one in images:
        name = str(one) if str(one) in by_image else one.name
        if name not in by_image:  # backslashes, as Windows writes them
            name = written.get(one.as_posix(), written.get(one.name, name))
        found.append((name, one))
    return found


def _beside(path: Path, name: str) -> Path:
    """The image of a name beside a file of prompts; backslashes are Windows's, if no file's."""
    beside = path.parent / name
    if "\\" in name and not beside.exists():
        return path.parent / name.replace("\\", "/")
    return beside


def check_result_names(images: Sequence[PromptedImage], formats: Collection[str]) -> None:
    """Check that results of all images have different names.

    Raises:
        PromptError: two images would write the same files.
    """
    seen: dict[str, Path] = {}
    if {"json", "coco"} <= set(formats):
        seen["coco"] = Path(COCO_NAME)
    for one in images:
        stem = one.stem
        if stem in seen:
            raise PromptError(
                f"{seen[stem]} and {one.image} would write the same files:"
                " run them with different --output"
            )
        seen[stem] = one.image


def check_models(
    images: Sequence[PromptedImage], *, model: str, text_model: str | None = None
) -> None:
    """Check what can be checked without loading a model; download a missing text model.

    The CLIP of a checkpoint that takes text prompts is known only when the checkpoint is loaded.

    Raises:
        WeightsError: no such model or text model.
        ConfigError: text needs packages that are not installed.
        DownloadError: the text model is not on this disk and cannot be downloaded.
    """
    from samkit.weights import CATALOG, check_source

    check_source(model)
    if not any(one.prompt.text for one in images):
        return
    from samkit.text import DEFAULT_DETECTOR, check_text_installed, find_text_model

    check_text_installed()
    if text_model is not None or model in CATALOG:  # models of the catalog take no text
        find_text_model(text_model or DEFAULT_DETECTOR)


@dataclass(frozen=True, kw_only=True)
class SegmentWork:
    """Answers the prompts of images and writes their results.

    Attributes:
        formats: formats to write, from `SEGMENT_FORMATS`.
    """

    predictor: Predictor
    output: Path
    formats: frozenset[str]
    options: SegmentOptions

    def claim(self, image: PromptedImage) -> PromptedImage:
        """Claim an image; none is ever left out."""
        return image

    def generate(self, claim: PromptedImage) -> SegmentOutput:
        """Read an image, embed it and answer its prompt.

        Raises:
            ImageError: the image cannot be read.
            PromptError: the prompt lies outside of the image, or does not fit the model.
        """
        from samkit.formats import read_image

        pixels = read_image(claim.image, value_range=self.options.value_range)
        prompts = claim.prompt.prompts
        if prompts is not None:
            prompts.check_fits(self.predictor.coord_map(pixels))  # before the expensive step
        answer = self._answer(pixels, claim.prompt)
        if not self.options.every_candidate:
            answer = answer.best()
        return SegmentOutput(pixels=pixels, answer=answer)

    def commit(self, claim: PromptedImage, output: SegmentOutput) -> dict[str, Any]:
        """Write an image's results; return its record for the JSON file.

        Mask pictures that an earlier run wrote for the same image but this one does not are
        removed, unless somebody has changed them.

        Raises:
            OutputError: results cannot be written.
        """
        model_name = self.predictor.model_name
        record = make_record(claim.image, output.answer, claim.prompt, model_name)
        make_folder(self.output)
        write_results(
            self.output / claim.stem,
            output.pixels,
            output.answer,
            prompts=claim.prompt.prompts,
            formats=self.formats,
            record=record,
        )
        if "png" in self.formats:
            self._replace_written(claim, record["files"]["masks"])
        return record

    def is_fault(self, error: SamkitError) -> bool:
        """Whether an error concerns one image only."""
        return isinstance(error, ImageError | PromptError)

    def _answer(self, image: RgbImage, prompt: ImagePrompt) -> MaskPrediction:
        multimask, predictor = self.options.multimask, self.predictor
        if not prompt.text:
            assert prompt.prompts is not None
            if multimask is None:
                multimask = prompt.prompts.are_clicks
            return predictor.decode(
                predictor.embed(image),
                prompt.prompts,
                multimask=multimask,
                refine=self.options.refine,
                fine=self.options.fine,
                image=image,
            )
        if self.options.refine != "none":
            raise PromptError(f"refine={self.options.refine} is for clicks and boxes, not for text")
        if multimask is None:  # text alone is ambiguous; a detector's boxes are not
            multimask = prompt.prompts is None and predictor.reads_as_tokens
        return predictor.predict_text(
            predictor.embed(image),
            prompt.text[0] if len(prompt.text) == 1 else list(prompt.text),
            image=image,
            text_thresh=self.options.text_thresh,
            multimask=multimask,
            fine=self.options.fine,
            **prompt.parts(),
        )

    def _replace_written(self, prompted: PromptedImage, masks: Sequence[str]) -> None:
        """Remove an image's mask pictures of earlier runs, and record those of this one."""
        state = self.output / SEGMENT_STATE_NAME
        image, path = prompted.image, state / f"{prompted.stem}.json"
        names = [Path(mask).name for mask in masks]
        for name, stamp in _written(path, image).items():
            file = self.output / name
            with suppress(OSError):
                if name not in names and _stamp(file) == stamp:
                    file.unlink()
        stamps = {name: _stamp(self.output / name) for name in names}
        make_folder(state)
        record = {"image": str(image.resolve()), "masks": stamps}
        write_bytes(path, json.dumps(record).encode())


def _written(path: Path, image: Path) -> Mapping[str, list[int]]:
    """Return the mask pictures that earlier runs wrote for an image, with size and time of each."""
    try:
        record = json.loads(path.read_bytes())
        if record["image"] != str(image.resolve()):
            return {}
        return {Path(name).name: list(stamp) for name, stamp in record["masks"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # missing, or not written by samkit


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]
