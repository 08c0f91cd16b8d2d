"""Clips made of still images with masks: cut-outs that move, turn, grow and bend.

They pass in front of each other and of another image, leave and come back; beside some of them
moves a copy, so that only its place tells which one is meant.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np

from samkit.arrays import BoolArray, FloatImage, RgbImage
from samkit.datasets.sample import Sample, SampleSource
from samkit.datasets.videos.clip import VideoClip
from samkit.datasets.videos.motion import Motion, draw_motion, render
from samkit.errors import DataError
from samkit.geometry import decode_rle

MAX_SIDE = 512  # of the frames
MIN_AREA, MAX_AREA = 0.01, 0.3  # of the image, of masks that are cut out
MIN_VISIBLE = 0.25  # of an object's area, in the first frame
PAD = 0.2  # of a cut-out's side, room to bend
SOFT_EDGE_PX = 0.6
LOOK_ALIKE_PROBABILITY, OCCLUDER_PROBABILITY = 0.5, 0.5
BACKGROUND_PACE = 0.25
BACKGROUND_ZOOM = 1.3
LIGHT, LIGHT_SPEED = 0.15, 0.4  # change of brightness, and its angle per frame
DRAWS_TRIED = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """A cut-out in motion.

    Attributes:
        patch: (h, w, 4) colours multiplied by coverage, then coverage, from 0 to 1.
        motion: how it moves.
        number: of the object that it is; None for what nobody asks for.
    """

    patch: FloatImage
    motion: Motion
    number: int | None


class MovingImages:
    """Clips of objects of still images in motion; a `VideoSource`.

    Attributes:
        source: the still images.
    """

    def __init__(self, source: SampleSource) -> None:
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def key(self, index: int) -> str:
        return f"moving {self.source.key(index)}"

    def draw(
        self, index: int, rng: np.random.Generator, *, num_frames: int, max_objects: int
    ) -> VideoClip:
        other, other_masks = _reduced(self.source[int(rng.integers(len(self.source)))])
        image, masks = _reduced(self.source[index])
        for _ in range(DRAWS_TRIED):  # in place of an image without an object, some other
            if masks:
                break
            image, masks = _reduced(self.source[int(rng.integers(len(self.source)))])
        else:
            raise DataError(f"{self.source.key(index)}: no mask has a size to be cut out")
        for _ in range(DRAWS_TRIED):
            layers = _draw_layers(rng, image, masks, other, other_masks, max_objects)
            clip = _render_clip(rng, self.key(index), other, layers, image.shape[:2], num_frames)
            if clip is not None:
                return clip
        raise DataError(f"{self.source.key(index)}: no object stays in view")


def _reduced(sample: Sample) -> tuple[RgbImage, list[BoolArray]]:
    """An image of at most `MAX_SIDE`, and its masks that are neither small nor large."""
    height, width = sample.image.shape[:2]
    factor = min(1.0, MAX_SIDE / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    image = np.asarray(cv2.resize(sample.image, size, interpolation=cv2.INTER_AREA), np.uint8)
    masks = []
    for rle in sample.rles:
        mask = decode_rle(rle)
        if MIN_AREA <= mask.mean() <= MAX_AREA:
            drawn = cv2.resize(mask.view(np.uint8), size, interpolation=cv2.INTER_NEAREST)
            masks.append(drawn.astype(bool))
    return image, masks


def _draw_layers(  # noqa: PLR0917 - two images with their masks
    rng: np.random.Generator,
    image: RgbImage,
    masks: list[BoolArray],
    other: RgbImage,
    other_masks: list[BoolArray],
    max_objects: int,
) -> list[Layer]:
    """Draw what moves, from back to front."""
    count = int(rng.integers(1, max_objects + 1))
    chosen = rng.permutation(len(masks))[:count]
    layers = [
        Layer(patch=cut_out(image, masks[row]), motion=draw_motion(rng), number=number)
        for number, row in enumerate(chosen.tolist())
    ]
    if rng.uniform() < LOOK_ALIKE_PROBABILITY:
        layers.append(replace(layers[0], motion=draw_motion(rng), number=None))
    order = rng.permutation(len(layers))
    layers = [layers[row] for row in order.tolist()]
    if other_masks and rng.uniform() < OCCLUDER_PROBABILITY:
        mask = other_masks[int(rng.integers(len(other_masks)))]
        layers.append(Layer(patch=cut_out(other, mask), motion=draw_motion(rng), number=None))
    return layers


def cut_out(image: RgbImage, mask: BoolArray) -> FloatImage:
    """Cut a mask out of an image: (h, w, 4) colours multiplied by coverage, then coverage."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    y, x = (slice(axis[0], axis[-1] + 1) for axis in (rows, columns))
    inside = mask[y, x].astype(np.float32)
    pad_y, pad_x = (2 + math.ceil(PAD * side) for side in inside.shape)
    edges = (pad_y, pad_y, pad_x, pad_x)
    colors = np.asarray(cv2.copyMakeBorder(image[y, x], *edges, cv2.BORDER_REPLICATE), np.float32)
    padded = cv2.copyMakeBorder(inside, *edges, cv2.BORDER_CONSTANT)
    coverage = np.asarray(cv2.GaussianBlur(padded, (0, 0), SOFT_EDGE_PX), np.float32)[..., None]
    return np.concatenate([colors / 255 * coverage, coverage], axis=2)


def _render_clip(  # noqa: PLR0917 - of one draw
    rng: np.random.Generator,
    key: str,
    background: RgbImage,
    layers: list[Layer],
    frame_hw: tuple[int, int],
    num_frames: int,
) -> VideoClip | None:
    """Render a clip; None if no object can be seen in the first frame."""
    moves = draw_motion(rng, pace=BACKGROUND_PACE)
    light, phase = LIGHT * rng.uniform(), rng.uniform(0, 2 * math.pi)
    names = sorted(layer.number for layer in layers if layer.number is not None)
    masks = np.zeros((len(names), num_frames, *frame_hw), bool)
    frames = []
    is_visible = np.zeros(len(names), bool)
    for time in range(num_frames):
        canvas = _moved_background(background, moves, time, frame_hw)
        for layer in layers:
            drawn = render(layer.patch, layer.motion, time, frame_hw)
            coverage = drawn[..., 3]
            canvas = canvas * (1 - coverage[..., None]) + drawn[..., :3]
            inside = coverage >= 0.5
            masks[:, time] &= ~inside
            if layer.number is not None:
                masks[layer.number, time] = inside
                if time == 0:
                    is_visible[layer.number] = inside.any()
        canvas *= 1 + light * math.sin(LIGHT_SPEED * time + phase)
        frames.append(np.asarray(canvas.clip(0, 1) * 255 + 0.5, np.uint8))
    areas = np.array([(layer.patch[..., 3] >= 0.5).sum() for layer in layers])
    full = {layer.number: area for layer, area in zip(layers, areas, strict=True)}
    enough = [n for n in names if masks[n, 0].sum() >= MIN_VISIBLE * full[n]]
    if not enough:
        return None
    return VideoClip(key=key, frames=tuple(frames), masks=masks[enough])


def _moved_background(
    image: RgbImage, motion: Motion, time: float, frame_hw: tuple[int, int]
) -> FloatImage:
    """A background that fills the frame, as it is at a time."""
    fill = BACKGROUND_ZOOM * max(a / b for a, b in zip(frame_hw, image.shape[:2], strict=True))
    still = replace(motion, start_xy=(0.5, 0.5), log_scale=math.log(fill), angle=0.0, shear=0.0)
    matrix = still.matrix(time, image.shape[:2], frame_hw)
    moved = cv2.warpAffine(
        image, matrix, frame_hw[::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )
    return np.asarray(moved / np.float32(255), np.float32)
