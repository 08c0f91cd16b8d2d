"""Drawing masks, prompts and labels over images, which are uint8 RGB arrays."""

import colorsys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as PilImage
from PIL import ImageDraw, ImageFont

from samkit.arrays import RgbImage

Color = tuple[int, int, int]

FOREGROUND_COLOR: Color = (40, 200, 80)
BACKGROUND_COLOR: Color = (230, 50, 50)
BOX_COLOR: Color = (255, 210, 0)
OUTLINE_COLOR: Color = (255, 255, 255)
# Golden ratio steps keep the hues of neighbouring masks far apart, however many there are.
FIRST_HUE, HUE_STEP = 0.58, 0.618034
MIN_FONT_PX = 9
LIGHT: Color = (255, 255, 255)
DARK: Color = (0, 0, 0)
LUMA = (0.299, 0.587, 0.114)  # weights of red, green and blue in perceived brightness (BT.601)
MID_GREY = 140
# With more masks than this many are small, and a double outline would hide most of them.
MANY_MASKS = 10


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """A mask to draw, with its colour.

    Attributes:
        color: RGB.
        patch: (h, w) crop of the mask that contains all of its pixels.
        corner_xy: position in the image of the patch's first pixel.
    """

    color: Color
    patch: npt.NDArray[np.bool_]
    corner_xy: tuple[int, int]


def mask_color(index: int) -> Color:
    """RGB colour of mask number `index`."""
    red, green, blue = colorsys.hsv_to_rgb((FIRST_HUE + index * HUE_STEP) % 1, 0.75, 1.0)
    return int(red * 255), int(green * 255), int(blue * 255)


def draw_masks(image: RgbImage, masks: npt.NDArray[np.bool_], *, opacity: float = 0.5) -> RgbImage:
    """Tint masks (M, H, W) over an image (H, W, 3), each in its own colour and outlined.

    Smaller masks are drawn over larger ones.
    """
    order = np.argsort(-masks.sum(axis=(1, 2)), kind="stable")
    layers = (Layer(color=mask_color(i), patch=masks[i], corner_xy=(0, 0)) for i in order)
    return draw_layers(image, layers, opacity=opacity)


def draw_layers(image: RgbImage, layers: Iterable[Layer], *, opacity: float = 0.5) -> RgbImage:
    """Tint outlined layers over an image (H, W, 3), later ones over earlier ones.

    Each pixel is tinted once, by the topmost layer, so that the image stays visible where many
    masks overlap. Layers are consumed one at a time and not stored.
    """
    width = line_width(image)
    palette: list[Color] = [(0, 0, 0)]
    outlines: list[tuple[Color, Sequence[Any]]] = []
    top = np.zeros(image.shape[:2], np.int32)  # number of the topmost layer; 0 is none
    for layer in layers:
        palette.append(layer.color)
        (x, y), (patch_h, patch_w) = layer.corner_xy, layer.patch.shape
        top[y : y + patch_h, x : x + patch_w][layer.patch] = len(palette) - 1
        contours, _ = cv2.findContours(
            layer.patch.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE, offset=(x, y)
        )
        outlines.append((layer.color, contours))
    tints = np.array(palette, np.uint8)[top]
    out: RgbImage = np.asarray(cv2.addWeighted(image, 1 - opacity, tints, opacity, 0), np.uint8)
    cv2.copyTo(image, (top == 0).astype(np.uint8), out)
    for color, contours in outlines:
        if len(outlines) > MANY_MASKS:
            cv2.drawContours(out, contours, -1, OUTLINE_COLOR, width, cv2.LINE_AA)
            continue
        cv2.drawContours(out, contours, -1, OUTLINE_COLOR, width + 1, cv2.LINE_AA)
        cv2.drawContours(out, contours, -1, color, width, cv2.LINE_AA)
    return out


def draw_points(
    image: RgbImage, points_xy: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]
) -> RgbImage:
    """Draw points (N, 2): green with a plus for foreground, red with a minus for background."""
    out = image.copy()
    width = line_width(image)
    radius = 4 * width
    for (x, y), label in zip(points_xy.round().astype(int).tolist(), labels, strict=True):
        color = FOREGROUND_COLOR if label == 1 else BACKGROUND_COLOR
        cv2.circle(out, (x, y), radius + width, OUTLINE_COLOR, -1, cv2.LINE_AA)
        cv2.circle(out, (x, y), radius, color, -1, cv2.LINE_AA)
        arm = radius // 2
        cv2.line(out, (x - arm, y), (x + arm, y), OUTLINE_COLOR, width, cv2.LINE_AA)
        if label == 1:
            cv2.line(out, (x, y - arm), (x, y + arm), OUTLINE_COLOR, width, cv2.LINE_AA)
    return out


def draw_boxes(image: RgbImage, boxes_xyxy: npt.NDArray[np.float64]) -> RgbImage:
    """Draw the outlines of boxes (B, 4)."""
    out = image.copy()
    width = line_width(image)
    # OpenCV refuses coordinates beyond 32 bits; an edge so far out is invisible anyway.
    far = 2 * max(image.shape[:2]) + width
    for x0, y0, x1, y1 in boxes_xyxy.clip(-far, far).round().astype(int).tolist():
        # Not antialiased: upright lines would only be smeared over their neighbours.
        cv2.rectangle(out, (x0, y0), (x1 - 1, y1 - 1), BOX_COLOR, width)
    return out


def line_width(image: RgbImage) -> int:
    """Line width in pixels that suits the image's size."""
    longest: int = max(image.shape[:2])
    return max(1, round(longest / 500))


def draw_labels(
    image: RgbImage,
    corners_xy: npt.NDArray[np.int64],
    texts: Sequence[str],
    colors: Sequence[Color],
) -> RgbImage:
    """Write K labels at corners (K, 2), each on a background of its colour; skip empty ones.

    Labels stay within the image (H, W, 3) and are moved down, or else up, where they would cover
    an earlier one.
    """
    height, width = image.shape[:2]
    size = max(MIN_FONT_PX, round(max(height, width) / 45))
    font = ImageFont.load_default(size)
    picture = PilImage.fromarray(image)
    draw = ImageDraw.Draw(picture)
    pad = size // 4
    taken: list[tuple[int, int, int, int]] = []
    for corner, words, color in zip(corners_xy.tolist(), texts, colors, strict=True):
        text = " ".join(words.split())  # one line
        if not text:
            continue
        text_w, text_h = round(draw.textlength(text, font=font)) + 2 * pad, size + 2 * pad
        x, y = (
            max(0, min(edge, side - text_side))
            for edge, side, text_side in zip(corner, (width, height), (text_w, text_h), strict=True)
        )
        x, y = _free_place((x, y, text_w, text_h), taken, height)
        taken.append((x, y, text_w, text_h))
        draw.rectangle((x, y, x + text_w - 1, y + text_h - 1), fill=color)
        is_light = sum(weight * part for weight, part in zip(LUMA, color, strict=True)) > MID_GREY
        draw.text(
            (x + pad, y + text_h / 2),
            text,
            fill=DARK if is_light else LIGHT,
            font=font,
            anchor="lm",
        )
    return np.asarray(picture)


def _free_place(
    label: tuple[int, int, int, int], taken: Sequence[tuple[int, int, int, int]], height: int
) -> tuple[int, int]:
    """Position where a rectangle (x, y, width, height) covers no other: below, else above."""
    x, y, w, h = label
    while clash := next((one for one in taken if _overlap((x, y, w, h), one)), None):
        y = clash[1] + clash[3]
    if y + h <= height:
        return x, y
    y = label[1]
    while clash := next((one for one in taken if _overlap((x, y, w, h), one)), None):
        y = clash[1] - h
    return x, max(0, y)


def _overlap(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> bool:
    """Whether two rectangles (x, y, width, height) share a pixel."""
    (x, y, w, h), (u, v, s, t) = one, other
    return x < u + s and u < x + w and y < v + t and v < y + h


def draw_caption(image: RgbImage, text: str) -> RgbImage:
    """Write a line of text in the top left corner, on a dark background."""
    out = image.copy()
    width = line_width(image)
    scale, font = 0.5 * width, cv2.FONT_HERSHEY_SIMPLEX
    (text_w, text_h), baseline = cv2.getTextSize(text, font, scale, width)
    margin = text_h // 2
    cv2.rectangle(out, (0, 0), (text_w + 2 * margin, text_h + baseline + margin), (0, 0, 0), -1)
    cv2.putText(
        out, text, (margin, text_h + margin), font, scale, OUTLINE_COLOR, width, cv2.LINE_AA
    )
    return out
