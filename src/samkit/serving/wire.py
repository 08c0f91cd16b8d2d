"""Masks and arrays as JSON, on both sides of the network."""

from __future__ import annotations

import base64
import binascii
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from samkit.errors import PromptError
from samkit.geometry import Rle, decode_rle
from samkit.serving.jobs import MaskFormat
from samkit.types import MaskPrediction, Masks

# Of a problem's `type`, before the name of the error.
TYPE_PREFIX = "urn:samkit:error:"


class PackedArray(TypedDict):
    """An array of float32: its shape, and its values in base64, little-endian, row by row."""

    shape: list[int]
    data: str


def pack_array(array: npt.NDArray[np.float32]) -> PackedArray:
    """Pack an array for JSON, exactly."""
    values = np.ascontiguousarray(array, "<f4").tobytes()
    return {"shape": list(array.shape), "data": base64.b64encode(values).decode()}


def unpack_array(packed: Mapping[str, Any]) -> npt.NDArray[np.float32]:
    """Read an array from JSON.

    Raises:
        PromptError: the values are no base64, or of another number than the shape says.
    """
    shape = [int(side) for side in packed["shape"]]
    try:
        content = base64.b64decode(packed["data"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise PromptError(f"the data of an array must be base64: {error}") from error
    expected = 4 * math.prod(shape)
    if min(shape, default=1) < 0 or len(content) != expected:
        raise PromptError(
            f"an array of shape {shape} has {expected:,} bytes of float32; got {len(content):,}"
        )
    return np.frombuffer(content, "<f4").reshape(shape)


def prediction_json(
    prediction: MaskPrediction,
    *,
    image: str,
    mask_format: MaskFormat = "rle",
    with_logits: bool = False,
) -> bytes:
    """The answer to prompts: for each prompt its candidate masks."""
    fields = mask_fields(prediction.to_masks(), mask_format)
    count = prediction.iou_pred.shape[-1]
    found: dict[str, Any] = {
        "image": image,
        "size_hw": list(prediction.coords.original_hw),
        "batched": prediction.iou_pred.ndim == 2,
        "answers": [{"masks": fields[at : at + count]} for at in range(0, len(fields), count)],
    }
    if with_logits:
        found["logits"] = pack_array(prediction.logits)
    return to_json(found)


def mask_fields(masks: Masks, mask_format: MaskFormat = "rle") -> list[dict[str, Any]]:
    """COCO's fields of each mask, the mask itself in the format asked for."""
    found = masks.to_coco()
    if mask_format == "png":
        for fields in found:
            fields["png"] = base64.b64encode(png_of(fields.pop("segmentation"))).decode()
    return found


def png_of(rle: Rle) -> bytes:
    """A mask as a PNG of one bit a pixel: white is inside."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(decode_rle(rle)).save(file, "PNG")
    return file.getvalue()


def masks_from_fields(fields: Sequence[Mapping[str, Any]], size_hw: tuple[int, int]) -> Masks:
    """Read masks that `mask_fields` wrote, with RLEs."""
    boxes = np.array([one["bbox"] for one in fields], np.int64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    masks = Masks(
        rles=tuple(one["segmentation"] for one in fields),
        boxes_xyxy=boxes,
        areas=np.array([one["area"] for one in fields], np.int64),
        scores=np.array([one["score"] for one in fields], np.float32),
        size_hw=size_hw,
    )
    if not fields or "phrase" not in fields[0]:
        return masks
    return masks.with_columns(
        phrases=tuple(one["phrase"] for one in fields),
        phrase_scores=np.array([one["phrase_score"] for one in fields], np.float32),
    )


def object_fields(
    object_ids: Iterable[int], results: Iterable[Any], mask_format: MaskFormat = "rle"
) -> list[dict[str, Any]]:
    """The objects of a frame: number, mask, score, state."""
    found: list[dict[str, Any]] = []
    for object_id, result in zip(object_ids, results, strict=True):
        fields: dict[str, Any] = {
            "object_id": object_id,
            "score": result.score,
            "state": result.state,
            "confirmed": result.confirmed,
        }
        if mask_format == "png":
            fields["png"] = base64.b64encode(png_of(result.rle)).decode()
        else:
            fields["segmentation"] = result.rle
        found.append(fields)
    return found


def to_json(value: Any) -> bytes:
    """JSON in its shortest form."""
    return json.dumps(value, separators=(",", ":")).encode()
