"""Cached CLIP embeddings of mask crops, on which text prompts are trained.

Source: arXiv:2304.02643, appendix D.5. Deviations: a few random crops of each mask are drawn once
instead of anew in each step, so that CLIP runs once.
"""

from __future__ import annotations

import hashlib
import json
import logging
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from samkit.datasets import Sample, SampleSource, SampleStream, require_indexed
from samkit.errors import DataError, ImageError, OutputError
from samkit.files import write_tensors
from samkit.geometry import decode_rle, rle_area
from samkit.text import draw_crop
from samkit.training.settings import check_range

if TYPE_CHECKING:  # heavy
    from samkit.text import Clip

PAPER_LEAST_AREA_PX = 100 * 100
CROPS = 501  # purpose of random numbers, part of their seed, so that no two purposes share theirs
FORMAT = "samkit-crop-embeds-2"
TENSOR = "embeds"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class CropRecipe:
    """Which crops of masks CLIP encodes.

    Attributes:
        folder: folder for the cached embeddings.
        variants: number of crops per mask.
        min_area_px: smaller masks get no crops, and so no text prompts. The paper's 100 x 100.
    """

    folder: str = "crops"
    variants: int = 4
    min_area_px: int = PAPER_LEAST_AREA_PX

    def __post_init__(self) -> None:
        check_range("variants", self.variants, 1)
        check_range("min_area_px", self.min_area_px, 0)


@dataclass(frozen=True, kw_only=True)
class CropsCached:
    """Result of caching the crops of a data set.

    Attributes:
        encoded: number of images that were encoded.
        found: number of images whose embeddings were cached already.
        skipped: broken images, by key, and why.
    """

    encoded: int
    found: int
    skipped: Mapping[str, str] = field(default_factory=dict)


class CropCache:
    """A folder with the CLIP embeddings of mask crops, one file for each image with its masks.

    Files are named by checksums of the image with its masks and of the CLIP, and by the recipe: a
    change of any of them is another file.

    Attributes:
        recipe: selects the crops and the folder.
        clip_fingerprint: identifies the CLIP's weights.
    """

    def __init__(self, recipe: CropRecipe, clip_fingerprint: str) -> None:
        self.recipe, self.clip_fingerprint = recipe, clip_fingerprint

    def path(self, sample: Sample) -> Path:
        """The file of a sample."""
        kind = f"{self.recipe.variants}-{self.recipe.min_area_px}"
        name = f"{sample_sha256(sample)}-{self.clip_fingerprint[:16]}.{kind}.crops.safetensors"
        return Path(self.recipe.folder) / name

    def get(self, sample: Sample) -> npt.NDArray[np.float16] | None:
        """Embeddings (M, V, D) of a sample's masks; None if they are missing or damaged."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.path(sample), framework="numpy") as file:
                metadata = file.metadata() or {}
                if metadata.get("clip_fingerprint") != self.clip_fingerprint:
                    return None
                embeds: npt.NDArray[np.float16] = file.get_tensor(TENSOR)
                return embeds
        except (SafetensorError, OSError):
            return None

    def put(self, sample: Sample, embeds: npt.NDArray[np.float16]) -> None:
        """Add a sample's embeddings.

        Raises:
            OutputError: the file cannot be written.
        """
        import torch

        facts = {
            "format": FORMAT,
            "key": sample.key,
            "clip_fingerprint": self.clip_fingerprint,
        }
        write_tensors(self.path(sample), {TENSOR: torch.from_numpy(embeds)}, facts)


def cache_crop_embeds(
    clip: Clip,
    source: SampleSource | SampleStream,
    recipe: CropRecipe,
    on_progress: Callable[[int, int], None] | None = None,
    *,
    rank: int = 0,
    world: int = 1,
) -> CropsCached:
    """Encode crops of each mask of a data set once; continues where it was stopped.

    The crops depend only on the image and the index of the mask.

    Args:
        source: data set to encode; must be indexed.
        on_progress: called after each image, with the number of images done and their total.
        rank: index of this process, which encodes every `world`-th image.
        world: number of processes.

    Raises:
        ConfigError: the data set is a stream.
        OutputError: files cannot be written.
    """
    source = require_indexed(source, "text prompts")
    cache = CropCache(recipe, clip.fingerprint)
    folder = Path(recipe.folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror}") from error
    skipped = dict[str, str]()
    encoded = found = 0
    for index in range(rank, len(source), world):
        try:
            sample = source[index]
        except (DataError, ImageError) as error:
            key = source.key(index)
            skipped[key] = str(error)
            logger.warning("skipped %s: %s", key, error)
        else:
            if cache.get(sample) is not None:
                found += 1
            else:
                cache.put(sample, crop_embeds(clip, sample, recipe))
                encoded += 1
        if on_progress is not None:
            on_progress(index + 1, len(source))
    return CropsCached(encoded=encoded, found=found, skipped=skipped)


def crop_embeds(clip: Clip, sample: Sample, recipe: CropRecipe) -> npt.NDArray[np.float16]:
    """CLIP embeddings (M, V, D) of crops of an image's masks; NaN for those that are too small."""
    embeds = np.full((len(sample.rles), recipe.variants, clip.dim), np.nan, np.float16)
    seed = image_crc32(sample.image)
    large = [index for index, rle in enumerate(sample.rles) if has_crops(rle_area(rle), recipe)]

    def crops() -> Iterator[npt.NDArray[np.uint8]]:
        for index in large:
            rng = np.random.default_rng([CROPS, seed, index])
            mask = decode_rle(sample.rles[index])
            for _ in range(recipe.variants):
                yield draw_crop(rng, sample.image, mask, clip.pixels.size)

    embeds[large] = clip.encode_images(crops()).reshape(len(large), recipe.variants, clip.dim)
    return embeds


def has_crops(area_px: int, recipe: CropRecipe) -> bool:
    """Whether a mask of this area is large enough for crops."""
    return area_px >= max(1, recipe.min_area_px)


def fraction_with_crops(source: SampleSource, recipe: CropRecipe, *, images: int) -> float:
    """Fraction of masks that are large enough for crops, among about `images` spread over the data.

    Broken images do not count.
    """
    large = total = 0
    for index in range(0, len(source), max(1, len(source) // images)):
        try:
            rles = source[index].rles
        except (DataError, ImageError):
            continue
        total += len(rles)
        large += sum(has_crops(rle_area(rle), recipe) for rle in rles)
    return large / max(1, total)


class CropEmbeddedData:
    """A data set with the cached CLIP embeddings of its mask crops.

    Attributes:
        source: the data set.
        cache: cache of the embeddings.
    """

    def __init__(self, source: SampleSource, recipe: CropRecipe, *, clip_fingerprint: str) -> None:
        self.source = source
        self.cache = CropCache(recipe, clip_fingerprint)

    def __len__(self) -> int:
        return len(self.source)

    def key(self, index: int) -> str:
        return self.source.key(index)

    def __getitem__(self, index: int) -> Sample:
        """A sample with the embeddings of its crops.

        Raises:
            DataError: broken sample, or its embeddings are missing or damaged.
            ImageError: the image cannot be read.
        """
        sample = self.source[index]
        embeds = self.cache.get(sample)
        if embeds is None:
            raise DataError(
                f"{sample.key}: its mask crops are not in {self.cache.recipe.folder}, or the file"
                " is damaged: start the training again to encode them"
            )
        return replace(sample, crop_embeds=embeds)


def sample_sha256(sample: Sample) -> str:
    """SHA-256 of an image and of its masks, in their order."""
    masks = json.dumps([rle["counts"] for rle in sample.rles])
    digest = hashlib.sha256(f"{sample.image.shape} {masks}".encode())
    digest.update(sample.image.tobytes())
    return digest.hexdigest()


def image_crc32(image: npt.NDArray[np.uint8]) -> int:
    """Checksum of an image (H, W, 3), used as the seed of its crops."""
    return zlib.crc32(image.tobytes(), zlib.crc32(repr(image.shape).encode()))
