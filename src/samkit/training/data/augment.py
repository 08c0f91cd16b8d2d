"""Where an image lies in the model space: as in prediction, or flipped, scaled and cropped."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

from samkit.geometry import CoordMap
from samkit.image_spec import ImageSpec
from samkit.predict.preprocess import normalise, resize_image


@dataclass(frozen=True, kw_only=True)
class Placement:
    """An image's way into the model space: flip, resize, then crop or pad.

    Attributes:
        original_hw: the image's size.
        resized_hw: its size in pixels of the model space, of which a part may be outside.
        corner_xy: the resized image's pixel in the top left corner of the frame; (0, 0) unless
            the image is larger than the frame.
        flipped: whether left and right are exchanged.
        model_size: side of the frame.
    """

    original_hw: tuple[int, int]
    resized_hw: tuple[int, int]
    corner_xy: tuple[int, int]
    flipped: bool
    model_size: int

    @property
    def visible_hw(self) -> tuple[int, int]:
        """Size of what is in the frame, which begins in its top left corner."""
        (height, width), (x, y) = self.resized_hw, self.corner_xy
        return min(height - y, self.model_size), min(width - x, self.model_size)

    @property
    def is_cropped(self) -> bool:
        """Whether a part of the image is outside."""
        return self.visible_hw != self.resized_hw

    @property
    def scale_hw(self) -> tuple[float, float]:
        """Pixels of the frame for one of the image, in y and x."""
        (height, width), (resized_h, resized_w) = self.original_hw, self.resized_hw
        return resized_h / height, resized_w / width

    @property
    def visible_area_px(self) -> float:
        """How much of the image is in the frame, in its own pixels."""
        (height, width), (scale_y, scale_x) = self.visible_hw, self.scale_hw
        return (height / scale_y) * (width / scale_x)


def plain_placement(original_hw: tuple[int, int], model_size: int) -> Placement:
    """As in prediction: the longest side fills the frame."""
    coords = CoordMap(original_hw=original_hw, model_size=model_size)
    return Placement(
        original_hw=original_hw,
        resized_hw=coords.resized_hw,
        corner_xy=(0, 0),
        flipped=False,
        model_size=model_size,
    )


def draw_placement(
    original_hw: tuple[int, int],
    model_size: int,
    rng: np.random.Generator,
    *,
    scale_jitter: tuple[float, float] | None,
    flip: bool,
) -> Placement:
    """A random placement.

    Args:
        original_hw: the image's size.
        model_size: side of the frame.
        rng: always the same number of values are drawn from it.
        scale_jitter: the longest side becomes the frame's times a factor, uniform between these;
            what is larger is cropped at a uniform place, what is smaller is padded. None: 1.
        flip: exchange left and right half of the time.

    Source: large-scale jitter of arXiv:2012.07177, section 3. Deviations: a small image stands in
    the corner, as SAM's padding is, and not anywhere in the frame.
    """
    coin, scale_at, x_at, y_at = rng.uniform(size=4)
    low, high = scale_jitter or (1.0, 1.0)
    longest = max(1, round(model_size * (low + (high - low) * scale_at)))
    resized_h, resized_w = CoordMap(original_hw=original_hw, model_size=longest).resized_hw
    corner_x = int(x_at * (max(0, resized_w - model_size) + 1))
    corner_y = int(y_at * (max(0, resized_h - model_size) + 1))
    return Placement(
        original_hw=original_hw,
        resized_hw=(resized_h, resized_w),
        corner_xy=(corner_x, corner_y),
        flipped=flip and bool(coin < 0.5),
        model_size=model_size,
    )


def place_image(image: npt.NDArray[np.uint8], placement: Placement) -> Tensor:
    """An image (H, W, 3) in the model space: pixels (3, S, S), normalised, then padded with zeros.

    Not augmented, they are those of prediction, bit for bit.
    """
    if placement.flipped:
        image = np.ascontiguousarray(image[:, ::-1])
    if placement.is_cropped:
        visible = _resize_part(image, placement)
    else:
        # The frame of a square of the image's own longest side: only `resized_hw` matters.
        longest = max(placement.resized_hw)
        coords = CoordMap(original_hw=placement.original_hw, model_size=longest)
        visible = resize_image(image, coords)
    return normalise(visible, ImageSpec(size=placement.model_size))[0]


def _resize_part(image: npt.NDArray[np.uint8], placement: Placement) -> npt.NDArray[np.uint8]:
    """What the frame shows of a resized image, without making the rest of it."""
    (height, width), (scale_y, scale_x) = placement.visible_hw, placement.scale_hw
    x, y = placement.corner_xy
    box = (x / scale_x, y / scale_y, (x + width) / scale_x, (y + height) / scale_y)
    # Rounding may put the far edge past the image's, which Pillow refuses.
    box = (*box[:2], min(box[2], image.shape[1]), min(box[3], image.shape[0]))
    whole = Image.fromarray(image)
    return np.asarray(whole.resize((width, height), Image.Resampling.BILINEAR, box=box))
