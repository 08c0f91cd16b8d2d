"""Prompts of images answered by their masks in a file, without a model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from samkit.batch.prompt_results import prompt_record
from samkit.batch.segment import PromptedImage
from samkit.errors import DataError, ImageError, PromptError, SamkitError
from samkit.files import make_folder, write_bytes

if TYPE_CHECKING:
    from samkit.annotations import AnnotationSet
    from samkit.arrays import RgbImage
    from samkit.types import Masks

SELECT_FORMATS = ("overlay", "png", "json", "coco")


@dataclass(frozen=True, kw_only=True)
class SelectOutput:
    """One image and the masks that were selected."""

    pixels: RgbImage
    masks: Masks


@dataclass(frozen=True, kw_only=True)
class SelectWork:
    """Answers the prompts of images by `samkit.select` and writes the results.

    Attributes:
        masks_file: annotations in any known format, such as those of `samkit auto`.
        formats: formats to write, from `SELECT_FORMATS`.
        text_model: a CLIP's folder or name; None for the default.
    """

    masks_file: Path
    annotations: AnnotationSet
    output: Path
    formats: frozenset[str]
    text_model: str | None = None
    value_range: str = "auto"

    @classmethod
    def open(cls, masks_file: Path, **settings: Any) -> SelectWork:
        """Open a file of masks.

        Raises:
            DataError: it is missing or damaged, or in no known format.
        """
        from samkit.annotations import open_annotations

        return cls(masks_file=masks_file, annotations=open_annotations(masks_file), **settings)

    def claim(self, image: PromptedImage) -> PromptedImage:
        """Claim an image; none is ever left out."""
        return image

    def generate(self, claim: PromptedImage) -> SelectOutput:
        """Read an image and its masks, and select among them.

        Raises:
            ImageError: the image cannot be read.
            DataError: the file has no masks of it.
            PromptError: the prompt does not fit.
        """
        from samkit.formats import read_image
        from samkit.proposals import select

        prompts, text = claim.prompt.prompts, claim.prompt.text
        pixels = read_image(claim.image, value_range=self.value_range)
        masks = self._masks(claim.image.name, pixels)
        if text and prompts is not None:
            raise PromptError("masks are selected by points, boxes or text, not by several")
        if text:
            found = select(masks, text=text, image=pixels, text_model=self.text_model)
            return SelectOutput(pixels=pixels, masks=found)
        assert prompts is not None
        if prompts.mask_logits is not None:
            raise PromptError("masks are selected by points, boxes or text, not by a mask")
        points, labels = prompts.points_xy, prompts.labels
        found = select(
            masks,
            points=None if points is None else points[0],
            labels=None if labels is None else labels[0],
            boxes=prompts.boxes_xyxy,
        )
        return SelectOutput(pixels=pixels, masks=found)

    def commit(self, claim: PromptedImage, output: SelectOutput) -> dict[str, Any]:
        """Write an image's results; return its record for the JSON file.

        Raises:
            OutputError: results cannot be written.
        """
        from samkit.formats import write_mask_png, write_png

        make_folder(self.output)
        height, width = output.masks.size_hw
        files: dict[str, str | list[str]] = {}
        base = self.output / claim.stem
        if "png" in self.formats:
            names = [""] if len(output.masks) == 1 else [f"_{i}" for i in range(len(output.masks))]
            files["masks"] = [
                str(write_mask_png(f"{base}_mask{name}.png", mask))
                for name, mask in zip(names, output.masks, strict=True)
            ]
        if "overlay" in self.formats:
            picture = output.masks.overlay(output.pixels)
            files["overlay"] = str(write_png(f"{base}_overlay.png", picture))
        if "json" in self.formats:
            files["json"] = f"{base}.json"
        record = {
            "image": str(claim.image),
            "width": width,
            "height": height,
            "from": str(self.masks_file),
            "prompts": prompt_record(claim.prompt),
            "masks": output.masks.to_coco(),
            "files": files,
        }
        if "json" in self.formats:
            write_bytes(f"{base}.json", json.dumps(record, indent=2).encode())
        return record

    def is_fault(self, error: SamkitError) -> bool:
        """Whether an error concerns one image only."""
        return isinstance(error, ImageError | PromptError | DataError)

    def _masks(self, name: str, pixels: RgbImage) -> Masks:
        """The masks of an image."""
        from samkit.annotations import draw_image
        from samkit.formats import UPRIGHT

        size_hw = (pixels.shape[0], pixels.shape[1])
        for index in range(len(self.annotations)):
            image = self.annotations.read(index)
            if Path(image.name).name in (name, Path(name).stem):
                return masks_of(draw_image(image, size_hw, UPRIGHT).rles, size_hw)
        raise DataError(f"{self.masks_file} has no masks of {name}")


def masks_of(rles: Sequence[Any], size_hw: tuple[int, int]) -> Masks:
    """Masks of an image whose scores are unknown, and count as 1."""
    from samkit.geometry import rle_area, rle_box_xyxy
    from samkit.types import Masks

    filled = [rle for rle in rles if rle_area(rle)]
    return Masks(
        rles=tuple(filled),
        boxes_xyxy=np.array([rle_box_xyxy(rle) for rle in filled], np.int64).reshape(-1, 4),
        areas=np.array([rle_area(rle) for rle in filled], np.int64),
        scores=np.ones(len(filled), np.float32),
        size_hw=size_hw,
    )


def selection_summary(record: dict[str, Any]) -> str:
    """Describe one image's selected masks and files in lines of text."""
    masks = record["masks"]
    lines = [f"{record['image']}: {len(masks)} mask{'' if len(masks) == 1 else 's'}"]
    for mask in masks:
        phrase = f"{mask['phrase']}: " if "phrase" in mask else ""
        lines.append(f"  {phrase}area {mask['area']} px, score {mask['score']:.3f}")
    for paths in record["files"].values():
        lines += [f"  {path}" for path in ([paths] if isinstance(paths, str) else paths)]
    return "\n".join(lines)
