"""Results of one prompted image: JSON record, files, and text summary."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from samkit.batch.prompts import ImagePrompt
    from samkit.types import MaskPrediction, Prompts


def prompt_record(prompt: ImagePrompt) -> dict[str, Any]:
    """Make a prompt's JSON record; of mask logits it only states that there were any."""
    record: dict[str, Any] = {}
    if prompt.text:
        record["text"] = list(prompt.text)
    prompts = prompt.prompts
    if prompts is None:
        return record
    if prompts.points_xy is not None and prompts.labels is not None:
        record |= {
            name: [
                row[:count].tolist() for row, count in zip(rows, prompts.num_points, strict=True)
            ]
            for name, rows in (("points", prompts.points_xy), ("labels", prompts.labels))
        }
    if prompts.boxes_xyxy is not None:
        record["boxes"] = prompts.boxes_xyxy.tolist()
    if prompts.mask_logits is not None:
        record["mask"] = True
    return record


def masks_record(answer: MaskPrediction) -> list[dict[str, Any]]:
    """Make COCO fields of each mask, with numbers of its prompt and candidate, and its phrase."""
    candidates = answer.iou_pred.shape[-1]
    return [
        {"prompt": index // candidates, "candidate": index % candidates}
        | {"predicted_iou" if key == "score" else key: value for key, value in fields.items()}
        for index, fields in enumerate(answer.to_masks().to_coco())
    ]


def make_record(
    image: Path, answer: MaskPrediction, prompt: ImagePrompt, model_name: str
) -> dict[str, Any]:
    """Make the JSON record of one image's prompt and masks; `write_results` adds the files."""
    height, width = answer.coords.original_hw
    return {
        "image": str(image),
        "width": width,
        "height": height,
        "model": model_name,
        "prompts": prompt_record(prompt),
        "masks": masks_record(answer),
        "files": {},
    }


def write_results(
    base: Path,
    image: npt.NDArray[np.uint8],
    answer: MaskPrediction,
    *,
    prompts: Prompts | None,
    formats: frozenset[str],
    record: dict[str, Any],
) -> None:
    """Write one image's files, whose paths begin with `base`, and add their paths to its record."""
    from samkit.files import replacing, write_bytes
    from samkit.formats import write_mask_png, write_png

    files: dict[str, str | list[str]] = record["files"]
    masks = answer.masks.reshape(-1, *image.shape[:2])
    names = [""] if len(masks) == 1 else [f"_{index}" for index in range(len(masks))]
    if "png" in formats:
        files["masks"] = [
            str(write_mask_png(f"{base}_mask{name}.png", mask))
            for name, mask in zip(names, masks, strict=True)
        ]
    if "logits" in formats:
        paths = [f"{base}_logits{name}.npy" for name in names]
        logits = answer.logits.reshape(-1, *answer.logits.shape[-2:])
        for path, one in zip(paths, logits, strict=True):
            with replacing(path) as temporary, temporary.open("wb") as file:
                np.save(file, one)
        files["logits"] = paths
    if "overlay" in formats:
        picture = overlay_picture(image, answer, prompts)
        files["overlay"] = str(write_png(f"{base}_overlay.png", picture))
    if "json" in formats:
        path = f"{base}.json"
        files["json"] = path
        write_bytes(path, json.dumps(record, indent=2).encode())


def overlay_picture(
    image: npt.NDArray[np.uint8], answer: MaskPrediction, prompts: Prompts | None
) -> npt.NDArray[np.uint8]:
    """Draw masks, phrases and prompts on the image, in one panel per candidate."""
    from samkit.drawing import draw_boxes, draw_caption, draw_points
    from samkit.types import Masks

    is_batch = answer.iou_pred.ndim == 2
    by_candidate = answer.masks if is_batch else answer.masks[None]
    scores = answer.iou_pred if is_batch else answer.iou_pred[None]
    panels = []
    for candidate in range(by_candidate.shape[1]):
        masks = Masks.from_arrays(by_candidate[:, candidate], scores[:, candidate])
        panel = replace(masks, phrases=answer.phrases, phrase_scores=answer.phrase_scores).overlay(
            image
        )
        if prompts is not None and prompts.boxes_xyxy is not None:
            panel = draw_boxes(panel, prompts.boxes_xyxy)
        if prompts is not None and prompts.points_xy is not None and prompts.labels is not None:
            is_point = prompts.labels >= 0
            panel = draw_points(panel, prompts.points_xy[is_point], prompts.labels[is_point])
        if by_candidate.shape[1] > 1 and len(scores) == 1:
            panel = draw_caption(panel, f"IoU {scores[0, candidate]:.2f}")
        panels.append(panel)
    return np.concatenate(panels, axis=1)


def summary(record: Mapping[str, Any]) -> str:
    """Describe one image's masks and files in lines of text."""
    masks = cast("list[dict[str, Any]]", record["masks"])
    lines = [f"{record['image']}: {len(masks)} mask{'' if len(masks) == 1 else 's'}"]
    lines += [f"  {mask_summary(mask)}" for mask in masks]
    for paths in record["files"].values():
        lines += [f"  {path}" for path in ([paths] if isinstance(paths, str) else paths)]
    return "\n".join(lines)


def mask_summary(mask: Mapping[str, Any]) -> str:
    """Describe one mask in a few words."""
    size = f"area {mask['area']} px, predicted IoU {mask['predicted_iou']:.3f}"
    if "phrase" not in mask:
        return size
    return f"{mask['phrase']} (score {mask['phrase_score']:.2f}): {size}"
