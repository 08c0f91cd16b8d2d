"""Automatic mask generation in plain form, as the reference for `samkit.proposals`.

Every point is prompted for all three masks, every mask is upsampled to the size of the image (or of
the crop), and only then is anything measured, compared or dropped. Slow and memory-hungry on
purpose.

Source: arXiv:2304.02643, section 5 and appendix B. Not specified there, and so chosen here: crops
of a layer overlap by `crop_overlap`; "touching an inner border" is being within 20 pixels of it.
Boxes are x0, y0, x1, y1 in pixels, far edges exclusive. Shape legend: P points, M masks, H x W the
image's size.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor, nn

from reference.decode import decode_plainly
from reference.mask_decoder import MaskDecoder
from samkit.geometry import CoordMap
from samkit.models import Sam
from samkit.predict.preprocess import normalise, resize_image

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

BORDER_PX = 20  # a mask whose box comes closer to an inner border of its crop is cut off by it
EIGHT_NEIGHBOURS = np.ones((3, 3), bool)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What to ask and what to keep; the defaults are the paper's for one whole image.

    Attributes:
        points_per_side: of the grid on the whole image; each further layer of crops has half.
        points_at_once: points decoded together.
        stability_offset: stability is the IoU of the mask cut at logits +offset and -offset.
        crop_layers: layer i cuts the image into 2**i x 2**i crops.
        crop_overlap: width of the overlap of neighbours in layer 1, as a part of the image's
            shorter side; half of it in layer 2.
        min_area_px: smaller islands are removed and smaller holes filled; 0 leaves masks alone.
    """

    points_per_side: int = 32
    points_at_once: int = 64
    iou_thresh: float = 0.88
    stability_thresh: float = 0.95
    stability_offset: float = 1.0
    box_nms_thresh: float = 0.7
    crop_layers: int = 0
    crop_overlap: float = 512 / 1500
    crop_nms_thresh: float = 0.7
    min_area_px: int = 0


@dataclass(frozen=True, kw_only=True)
class Found:
    """Masks at the image's size.

    Attributes:
        masks: (M, H, W).
        boxes_xyxy: (M, 4).
        scores: (M,) predicted IoU.
        stability: (M,).
        points_xy: (M, 2) the point that each mask answers.
        crops_xyxy: (M, 4) the crop that it was seen in.
    """

    masks: BoolArray
    boxes_xyxy: FloatArray
    scores: FloatArray
    stability: FloatArray
    points_xy: FloatArray
    crops_xyxy: FloatArray

    def __len__(self) -> int:
        return len(self.masks)

    def keep(self, index: npt.NDArray) -> "Found":
        """Some of the masks, by numbers or booleans."""
        return Found(**{name: column[index] for name, column in vars(self).items()})

    @staticmethod
    def join(parts: list["Found"]) -> "Found":
        """All masks of all parts."""
        names = vars(parts[0])
        return Found(**{n: np.concatenate([getattr(p, n) for p in parts]) for n in names})


def reference_model(model: Sam) -> Sam:
    """A model with the weights of another and the plain decoder; both share the other networks."""
    plain = MaskDecoder(model.config.decoder)
    plain.load_state_dict(model.mask_decoder.state_dict())
    with torch.device("meta"):
        copy = Sam(model.config)
    copy.image_encoder, copy.prompt_encoder = model.image_encoder, model.prompt_encoder
    nn.Module.__setattr__(copy, "mask_decoder", plain)
    return copy.eval()


@torch.no_grad()
def find_masks(model: Sam, image: npt.NDArray[np.uint8], settings: Settings) -> Found:
    """All masks of an image (H, W, 3); `model` as `reference_model` makes it."""
    height, width = image.shape[:2]
    parts = []
    for layer in range(settings.crop_layers + 1):
        points_per_side = settings.points_per_side // 2**layer
        crops = crops_of_layer((height, width), layer, settings.crop_overlap)
        parts += [masks_of_crop(model, image, crop, points_per_side, settings) for crop in crops]
    found = Found.join(parts)
    if settings.crop_layers:
        # The most zoomed first: the smaller the crop, the more of a mask's outline was seen.
        crop_areas = areas(found.crops_xyxy)
        order = np.lexsort([-found.scores, crop_areas])
        found = found.keep(suppress(found.boxes_xyxy, order, settings.crop_nms_thresh))
    if settings.min_area_px:
        found = tidy(found, settings)
    return found


def crops_of_layer(size_hw: tuple[int, int], layer: int, overlap: float) -> list[tuple[int, ...]]:
    """Boxes of a layer's 2**layer x 2**layer crops; layer 0 is the whole image."""
    height, width = size_hw
    count = 2**layer
    overlap_px = int(overlap * min(size_hw) * 2 / count) if layer else 0
    # `count` crops of one size, each sharing `overlap_px` with the next, cover the side.
    crop_h = int(np.ceil((height + overlap_px * (count - 1)) / count))
    crop_w = int(np.ceil((width + overlap_px * (count - 1)) / count))
    return [
        (x0, y0, min(x0 + crop_w, width), min(y0 + crop_h, height))
        for y0 in (i * (crop_h - overlap_px) for i in range(count))
        for x0 in (i * (crop_w - overlap_px) for i in range(count))
    ]


def grid(points_per_side: int, size_hw: tuple[int, int]) -> FloatArray:
    """Points (P, 2): the centres of the cells that a regular grid cuts an image into."""
    height, width = size_hw
    centres = (np.arange(points_per_side) + 0.5) / points_per_side
    return np.array([(x * width, y * height) for y in centres for x in centres])


def masks_of_crop(
    model: Sam,
    image: npt.NDArray[np.uint8],
    crop: tuple[int, ...],
    points_per_side: int,
    settings: Settings,
) -> Found:
    """Confident, stable masks of one crop, without duplicates, in their place in the image."""
    x0, y0, x1, y1 = crop
    height, width = image.shape[:2]
    view = np.ascontiguousarray(image[y0:y1, x0:x1])
    coords = CoordMap(original_hw=view.shape[:2], model_size=model.config.image_size)
    features = model.encode(normalise(resize_image(view, coords), model.image_spec)).grid
    points_xy = grid(points_per_side, coords.original_hw)
    parts = []
    for start in range(0, len(points_xy), settings.points_at_once):
        some_xy = points_xy[start : start + settings.points_at_once]
        parts.append(masks_of_points(model, features, coords, some_xy, settings))
    found = Found.join(parts)

    found = found.keep(~cut_by_crop(found.boxes_xyxy, crop, (height, width)))
    order = np.argsort(-found.scores, kind="stable")
    found = found.keep(suppress(found.boxes_xyxy, order, settings.box_nms_thresh))

    in_place = np.zeros((len(found), height, width), bool)
    in_place[:, y0:y1, x0:x1] = found.masks
    return replace(
        found,
        masks=in_place,
        boxes_xyxy=found.boxes_xyxy + np.array([x0, y0, x0, y0]),
        points_xy=found.points_xy + np.array([x0, y0]),
        crops_xyxy=np.tile(np.array(crop, np.float64), (len(found), 1)),
    )


def masks_of_points(
    model: Sam, features: Tensor, coords: CoordMap, points_xy: FloatArray, settings: Settings
) -> Found:
    """The three masks of each point, at the crop's size; those confident and stable are kept."""
    points_model = torch.as_tensor(coords.points_to_model(points_xy), dtype=torch.float32)
    points = {"points_xy": points_model[:, None], "labels": torch.ones(len(points_xy), 1)}
    logits, iou_pred = decode_plainly(model, features, points)
    logits, scores = upsample(logits, coords).flatten(0, 1), iou_pred.flatten()
    inner = (logits > settings.stability_offset).sum((1, 2))
    outer = (logits > -settings.stability_offset).sum((1, 2))
    stability = inner / outer.clamp(min=1)  # a mask with nothing in it is not stable
    kept = (scores >= settings.iou_thresh) & (stability >= settings.stability_thresh)
    kept &= (logits > 0).any(2).any(1)
    masks = (logits[kept] > 0).numpy()
    return Found(
        masks=masks,
        boxes_xyxy=boxes(masks),
        scores=scores[kept].double().numpy(),
        stability=stability[kept].double().numpy(),
        points_xy=np.repeat(points_xy, len(scores) // len(points_xy), axis=0)[kept.numpy()],
        crops_xyxy=np.zeros((len(masks), 4)),  # told by the caller, who knows it
    )


def upsample(logits: Tensor, coords: CoordMap) -> Tensor:
    """Logits (P, 3, 256, 256) to the crop's size: to 1024, padding cut off, to the crop."""
    side, (resized_h, resized_w) = coords.model_size, coords.resized_hw
    interpolate = nn.functional.interpolate
    logits = interpolate(logits, (side, side), mode="bilinear", align_corners=False)
    logits = logits[..., :resized_h, :resized_w]
    return interpolate(logits, coords.original_hw, mode="bilinear", align_corners=False)


def boxes(masks: BoolArray) -> FloatArray:
    """Tight boxes (M, 4) of masks (M, H, W), none of them empty."""
    out = np.zeros((len(masks), 4))
    for box, mask in zip(out, masks, strict=True):
        ys, xs = np.nonzero(mask)
        box[:] = xs.min(), ys.min(), xs.max() + 1, ys.max() + 1
    return out


def areas(boxes_xyxy: FloatArray) -> FloatArray:
    """Areas (M,) of boxes (M, 4)."""
    return (boxes_xyxy[:, 2] - boxes_xyxy[:, 0]) * (boxes_xyxy[:, 3] - boxes_xyxy[:, 1])


def cut_by_crop(
    boxes_xyxy: FloatArray, crop: tuple[int, ...], size_hw: tuple[int, int]
) -> BoolArray:
    """Which boxes (in the crop's pixels) end at a border of the crop that is not the image's."""
    x0, y0, x1, y1 = crop
    height, width = size_hw
    in_image = boxes_xyxy + np.array([x0, y0, x0, y0])
    near_crop = np.abs(in_image - [x0, y0, x1, y1]) <= BORDER_PX
    near_image = np.abs(in_image - [0, 0, width, height]) <= BORDER_PX
    return (near_crop & ~near_image).any(axis=1)


def suppress(boxes_xyxy: FloatArray, order: npt.NDArray, iou_thresh: float) -> npt.NDArray:
    """Numbers of the boxes that remain when each suppresses all that overlap it too much.

    Args:
        boxes_xyxy: (M, 4).
        order: the boxes' numbers, those that suppress others first.
        iou_thresh: a box with a larger IoU with an earlier one goes.
    """
    kept: list[int] = []
    sizes = areas(boxes_xyxy)
    for number in order:
        x0, y0, x1, y1 = boxes_xyxy[number]
        others = boxes_xyxy[kept]
        shared_w = np.minimum(others[:, 2], x1) - np.maximum(others[:, 0], x0)
        shared_h = np.minimum(others[:, 3], y1) - np.maximum(others[:, 1], y0)
        shared = shared_w.clip(0) * shared_h.clip(0)
        iou = shared / (sizes[kept] + sizes[number] - shared)
        if not (iou > iou_thresh).any():
            kept.append(int(number))
    return np.array(kept, np.int64)


def tidy(found: Found, settings: Settings) -> Found:
    """Fill small holes, remove small islands, and then remove what has become a duplicate."""
    masks, touched = found.masks.copy(), np.zeros(len(found), bool)
    for i, mask in enumerate(found.masks):
        masks[i] = without_islands(fill_holes(mask, settings.min_area_px), settings.min_area_px)
        touched[i] = (masks[i] != mask).any()
    found = replace(found, masks=masks, boxes_xyxy=boxes(masks))
    # Masks that needed no repair are preferred to those that did.
    order = np.lexsort([-found.scores, touched])
    return found.keep(suppress(found.boxes_xyxy, order, settings.box_nms_thresh))


def fill_holes(mask: BoolArray, min_area_px: int) -> BoolArray:
    """A mask (H, W) without holes under so many pixels."""
    regions, count = ndimage.label(~mask, EIGHT_NEIGHBOURS)
    sizes = np.bincount(regions.ravel(), minlength=count + 1)
    small = sizes < min_area_px
    small[0] = False  # number 0 is what was not labelled: the mask itself
    return mask | small[regions]


def without_islands(mask: BoolArray, min_area_px: int) -> BoolArray:
    """A mask (H, W) without parts under so many pixels; the largest part always stays."""
    regions, count = ndimage.label(mask, EIGHT_NEIGHBOURS)
    sizes = np.bincount(regions.ravel(), minlength=count + 1)
    large = sizes >= min_area_px
    large[1 + np.argmax(sizes[1:])] = True
    large[0] = False
    return large[regions]
