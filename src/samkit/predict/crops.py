"""Crops of images that are embedded on their own: where they lie, and those used last."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from weakref import WeakKeyDictionary

import numpy as np

from samkit.arrays import FloatArray, RgbImage
from samkit.backends import renew_in_children
from samkit.errors import PromptError
from samkit.geometry import CropBox
from samkit.types import ImageEmbedding

# Bounds of what is remembered besides the embeddings themselves, and only while those are in use.
PIXELS_BYTES = 128 * 2**20
CROPS_CACHED = 32  # embeddings of crops, 4 MB each

MIN_CROP_PX = 128  # smaller ones are too blurred
CROP_GROWTH = 1.6  # of the longer side of what must be in the crop
# A crop of more than this share of the image's longer side shows little more than the image does.
MAX_CROP_SHARE = 0.5
# Crops have few sizes and places, so that the next click likely falls into the same one: sides
# grow by this factor, and corners lie on a grid of this many steps per side.
SIDE_STEP = 2**0.5
STEPS_PER_SIDE = 8


def choose_crop(box_xyxy: FloatArray, original_hw: tuple[int, int]) -> CropBox | None:
    """Choose the square around a box (4,) that is worth embedding on its own.

    It depends on the box and the image's size alone, and changes little with the box.

    Returns:
        the crop, cut to the image; None for an object that is large in the image.
    """
    x0, y0, x1, y1 = box_xyxy.tolist()
    needed = max(x1 - x0, y1 - y0) * CROP_GROWTH
    side = float(MIN_CROP_PX)
    while side < needed:
        side *= SIDE_STEP
    if side > MAX_CROP_SHARE * max(original_hw):
        return None
    step = side / STEPS_PER_SIDE
    corner = []
    for middle, length in zip(((x0 + x1) / 2, (y0 + y1) / 2), original_hw[::-1], strict=True):
        start = round((middle - side / 2) / step) * step
        corner.append(int(min(max(start, 0), max(length - side, 0))))
    height, width = original_hw
    left, top = corner
    return left, top, min(left + int(side), width), min(top + int(side), height)


class CropCache:
    """Embeds crops, and caches what it needs to: pixels of embedded images, embedded crops.

    It serves one caller at a time. Nothing outlives the embedding of the image.
    """

    def __init__(self, encode: Callable[[RgbImage], ImageEmbedding]) -> None:
        self.encode = encode
        # Least recently used first.
        self._pixels: WeakKeyDictionary[ImageEmbedding, RgbImage] = WeakKeyDictionary()
        self._crops: WeakKeyDictionary[ImageEmbedding, OrderedDict[CropBox, ImageEmbedding]] = (
            WeakKeyDictionary()
        )
        self._lock = Lock()
        renew_in_children(self)

    def renew(self) -> None:
        """Renew the lock in a forked process."""
        self._lock = Lock()

    def add(self, embedding: ImageEmbedding, pixels: RgbImage, *, copy: bool = False) -> None:
        """Cache the pixels of an image just embedded, or a copy of them, unless it is too large."""
        if pixels.nbytes > PIXELS_BYTES:
            return
        own = pixels.copy() if copy else pixels
        with self._lock:
            self._pixels[embedding] = own
            total = sum(image.nbytes for image in self._pixels.values())
            for oldest, image in list(self._pixels.items()):
                if total <= PIXELS_BYTES:
                    break
                total -= image.nbytes
                del self._pixels[oldest]

    def has_pixels(self, embedding: ImageEmbedding) -> bool:
        """Whether the pixels of an image are cached."""
        with self._lock:
            return embedding in self._pixels

    def pixels(
        self, embedding: ImageEmbedding, image: RgbImage | None, *, needed_by: str
    ) -> RgbImage:
        """The pixels of an image: those given, or those that it was embedded with.

        Args:
            needed_by: the option that looks at them, for the error.

        Raises:
            PromptError: they are of another size, or neither given nor cached.
        """
        if image is None:
            with self._lock:
                image = self._pixels.get(embedding)
        if image is None:
            raise PromptError(
                f"{needed_by} looks at the image again, whose pixels are not cached with this"
                " embedding: give them as image="
            )
        if image.shape[:2] != embedding.coords.original_hw:
            (height, width), (own_h, own_w) = image.shape[:2], embedding.coords.original_hw
            raise PromptError(
                f"image must be the embedded one, of {own_w} x {own_h} pixels;"
                f" got {width} x {height}"
            )
        return image

    def embed(self, embedding: ImageEmbedding, pixels: RgbImage, box: CropBox) -> ImageEmbedding:
        """The embedding of a crop of an image, cached."""
        with self._lock:
            own = self._crops.setdefault(embedding, OrderedDict())
            crop = own.get(box)
            if crop is None:
                x0, y0, x1, y1 = box
                crop = self.encode(np.ascontiguousarray(pixels[y0:y1, x0:x1]))
                self._make_room(embedding)
                own[box] = crop
            own.move_to_end(box)
            # The image used last comes last.
            del self._crops[embedding]
            self._crops[embedding] = own
            return crop

    def _make_room(self, embedding: ImageEmbedding) -> None:
        """Remove the oldest crops, of other images first, so that one more fits."""
        count = sum(len(crops) for crops in self._crops.values())
        others = [crops for image, crops in self._crops.items() if image is not embedding]
        for crops in [*others, self._crops[embedding]]:
            while crops and count >= CROPS_CACHED:
                crops.popitem(last=False)
                count -= 1
