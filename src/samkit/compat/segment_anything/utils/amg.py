"""Building blocks of automatic mask generation, under the original's names.

Boxes follow the original: the far edges are the last pixels that belong to a mask.
Shape legend: K masks, P points.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterator
from copy import deepcopy
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pycocotools import mask as coco_mask
from torch import Tensor, nn

from samkit.compat.segment_anything.errors import SettingError
from samkit.geometry import drop_small_islands, fill_small_holes, rle_counts
from samkit.proposals import crop_boxes, grid_points

Rle = dict[str, Any]  # "size" [H, W] and "counts", a list
Rows = list[Any] | npt.NDArray[Any] | Tensor


class MaskData:
    """Columns of equal length, one row per mask: lists, arrays or tensors."""

    def __init__(self, **kwargs: Rows) -> None:
        self._stats: dict[str, Rows] = {}
        for name, rows in kwargs.items():
            self[name] = rows

    def __setitem__(self, key: str, item: Rows) -> None:
        if not isinstance(item, (list, np.ndarray, Tensor)):
            raise SettingError(
                f"{key} must be a list, an array or a tensor; got {type(item).__name__}"
            )
        self._stats[key] = item

    def __delitem__(self, key: str) -> None:
        del self._stats[key]

    def __getitem__(self, key: str) -> Any:
        return self._stats[key]

    def items(self) -> ItemsView[str, Any]:
        """Names and columns."""
        return self._stats.items()

    def filter(self, keep: Tensor) -> None:
        """Keep some rows, by flags (K,) or by indices, in place."""
        chosen = keep.detach().cpu().numpy()
        numbers = np.flatnonzero(chosen) if keep.dtype == torch.bool else chosen
        for name, rows in self._stats.items():
            if isinstance(rows, Tensor):
                self._stats[name] = rows[torch.as_tensor(numbers, device=rows.device)]
            elif isinstance(rows, np.ndarray):
                self._stats[name] = rows[numbers]
            else:
                self._stats[name] = [rows[number] for number in numbers.tolist()]

    def cat(self, new_stats: MaskData) -> None:
        """Append the rows of another instance, in place; missing columns are copied."""
        for name, rows in new_stats.items():
            own = self._stats.get(name)
            if own is None:
                self._stats[name] = deepcopy(rows)
            elif isinstance(own, Tensor):
                self._stats[name] = torch.cat([own, rows])
            elif isinstance(own, np.ndarray):
                self._stats[name] = np.concatenate([own, rows])
            else:
                self._stats[name] = own + deepcopy(rows)

    def to_numpy(self) -> None:
        """Convert tensors to arrays, in place; floats of lower precision become float32."""
        for name, rows in self._stats.items():
            if isinstance(rows, Tensor):
                low = rows.is_floating_point() and rows.dtype != torch.float64
                self._stats[name] = (rows.float() if low else rows).detach().cpu().numpy()


def batch_iterator(batch_size: int, *args: Any) -> Iterator[list[Any]]:
    """Iterate over sequences of equal length together, in batches.

    Raises:
        SettingError: the lengths differ, or there is no sequence.
    """
    lengths = {len(arg) for arg in args}
    if len(lengths) != 1:
        raise SettingError(f"sequences must be of one length; got {sorted(lengths)}")
    for start in range(0, lengths.pop(), batch_size):
        yield [arg[start : start + batch_size] for arg in args]


def box_xyxy_to_xywh(box_xyxy: Tensor) -> Tensor:
    """Convert corners (..., 4) to corner and size."""
    return torch.cat([box_xyxy[..., :2], box_xyxy[..., 2:] - box_xyxy[..., :2]], dim=-1)


def batched_mask_to_box(masks: Tensor) -> Tensor:
    """Tight boxes (..., 4) of masks (..., H, W), the last pixels included; zeros if empty."""
    corners = []
    for flags in (masks.any(dim=-2), masks.any(dim=-1)):  # (..., W) columns, then (..., H) rows
        places = torch.arange(flags.shape[-1], device=masks.device)
        first = torch.where(flags, places, flags.shape[-1]).amin(dim=-1)
        last = torch.where(flags, places, -1).amax(dim=-1)
        corners.append((first, last))
    (left, right), (top, bottom) = corners
    boxes = torch.stack([left, top, right, bottom], dim=-1)
    return boxes * (right >= 0)[..., None]


def calculate_stability_score(
    masks: Tensor, mask_threshold: float, threshold_offset: float
) -> Tensor:
    """IoU (...,) of the masks cut at threshold + offset and at threshold - offset."""
    strict = (masks > mask_threshold + threshold_offset).sum(dim=(-1, -2))
    loose = (masks > mask_threshold - threshold_offset).sum(dim=(-1, -2))
    return strict / loose


def is_box_near_crop_edge(
    boxes: Tensor, crop_box: list[int], orig_box: list[int], atol: float = 20.0
) -> Tensor:
    """Whether boxes come near an edge of their crop that is not near one of the image.

    Args:
        boxes: (K, 4) in pixels of the crop.
        crop_box: x0, y0, x1, y1 of the crop.
        orig_box: x0, y0, x1, y1 of the image.
        atol: distance in pixels that counts as near.

    Returns:
        flags (K,).
    """
    placed = uncrop_boxes_xyxy(boxes, crop_box).float()
    near_crop, near_image = (
        (placed - torch.as_tensor(box, dtype=torch.float, device=boxes.device)).abs() <= atol
        for box in (crop_box, orig_box)
    )
    return (near_crop & ~near_image).any(dim=1)


def uncrop_boxes_xyxy(boxes: Tensor, crop_box: list[int]) -> Tensor:
    """Convert boxes (K, 4) of a crop to pixels of the image."""
    x0, y0 = crop_box[:2]
    return boxes + torch.tensor([[x0, y0, x0, y0]], device=boxes.device)


def uncrop_points(points: Tensor, crop_box: list[int]) -> Tensor:
    """Convert points (..., 2) of a crop to pixels of the image."""
    return points + torch.tensor(crop_box[:2], device=points.device)


def uncrop_masks(masks: Tensor, crop_box: list[int], orig_h: int, orig_w: int) -> Tensor:
    """Pad masks (K, h, w) of a crop to the image (K, H, W) with zeros."""
    x0, y0, x1, y1 = crop_box
    if (x0, y0, x1, y1) == (0, 0, orig_w, orig_h):
        return masks
    return nn.functional.pad(masks, (x0, orig_w - x1, y0, orig_h - y1))


def mask_to_rle_pytorch(tensor: Tensor) -> list[Rle]:
    """Uncompressed RLEs, column by column, of masks (K, H, W)."""
    height, width = tensor.shape[1:]
    masks = tensor.detach().cpu().numpy().astype(bool)
    return [{"size": [height, width], "counts": rle_counts(mask)} for mask in masks]


def rle_to_mask(rle: Rle) -> npt.NDArray[np.bool_]:
    """Decode an uncompressed RLE to a mask (H, W)."""
    height, width = rle["size"]
    values = np.arange(len(rle["counts"])) % 2 == 1
    columns: npt.NDArray[np.bool_] = np.repeat(values, rle["counts"]).reshape(width, height)
    return columns.T


def area_from_rle(rle: Rle) -> int:
    """Number of pixels of a mask, from its uncompressed RLE."""
    return int(sum(rle["counts"][1::2]))


def coco_encode_rle(uncompressed_rle: Rle) -> Rle:
    """Compress an uncompressed RLE to COCO's string form."""
    height, width = uncompressed_rle["size"]
    rle = coco_mask.frPyObjects(uncompressed_rle, height, width)
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode("ascii")}


def build_point_grid(n_per_side: int) -> npt.NDArray[np.float64]:
    """Centres (P, 2) of n x n equal cells, xy as fractions of the sides, row by row."""
    return grid_points(n_per_side)


def build_all_layer_point_grids(
    n_per_side: int, n_layers: int, scale_per_layer: int
) -> list[npt.NDArray[np.float64]]:
    """Point grids for the image and for each crop layer, each with fewer points per side."""
    return [
        build_point_grid(int(n_per_side / scale_per_layer**layer)) for layer in range(n_layers + 1)
    ]


def generate_crop_boxes(
    im_size: tuple[int, ...], n_layers: int, overlap_ratio: float
) -> tuple[list[list[int]], list[int]]:
    """The full image (H, W), then layers of 2 x 2, 4 x 4, ... overlapping crops.

    Returns:
        boxes [x0, y0, x1, y1], in each layer column by column; the layer of each.
    """
    size_hw = (im_size[0], im_size[1])
    boxes, layers = [], []
    for layer in range(n_layers + 1):
        crops = sorted(crop_boxes(size_hw, layer, overlap_ratio))
        boxes += [list(box) for box in crops]
        layers += [layer] * len(crops)
    return boxes, layers


def remove_small_regions(
    mask: npt.NDArray[np.bool_], area_thresh: float, mode: str
) -> tuple[npt.NDArray[np.bool_], bool]:
    """Fill small holes of a mask (H, W), or drop its small islands.

    Args:
        mask: (H, W).
        area_thresh: regions with fewer pixels are small; a mask's largest island always stays.
        mode: "holes" or "islands".

    Returns:
        the mask, and whether there was any small region.

    Raises:
        SettingError: another mode.
    """
    changes = {"holes": fill_small_holes, "islands": drop_small_islands}
    if mode not in changes:
        raise SettingError(f"mode must be holes or islands; got {mode!r}")
    changed = changes[mode](np.asarray(mask, bool), int(np.ceil(area_thresh)))
    return changed, changed is not mask
