"""What CLIP sees in crops of masks, kept on disk: text prompts are trained on it.

Source: arXiv:2304.02643, appendix D.5. Deviations: the random crops of a mask are drawn once, some
for each mask, instead of anew each time, so that CLIP runs once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from samkit.datasets.sample import Sample, SampleSource, SampleStream
from samkit.geometry import decode_rle
from samkit.geometry.rle import rle_area
from samkit.text.crops import draw_crop
from samkit.training.data.cached_files import CachedFiles, Kept, image_checksum
from samkit.training.settings import check_range

if TYPE_CHECKING:  # heavy
    from torch import Tensor

    from samkit.text.clip import Clip

PAPER_LEAST_AREA_PX = 100 * 100
CROPS = 501  # what random numbers are drawn for, so that no two purposes share theirs


@dataclass(frozen=True, kw_only=True)
class CropRecipe:
    """Which crops of masks CLIP sees.

    Attributes:
        folder: where what it sees is kept, for each image; another one for each data set.
        variants: crops of each mask.
        min_area_px: smaller masks of the image have none: they are not asked for by text. The
            paper's 100 x 100.
    """

    folder: str = "crops"
    variants: int = 4
    min_area_px: int = PAPER_LEAST_AREA_PX

    def __post_init__(self) -> None:
        check_range("variants", self.variants, 1)
        check_range("min_area_px", self.min_area_px, 0)


def cached_embeds(recipe: CropRecipe, clip_fingerprint: str) -> CachedFiles:
    """What a CLIP saw, in the recipe's folder."""
    # Other crops are other files.
    kind = f"{recipe.variants}-{recipe.min_area_px}"
    return CachedFiles(
        folder=Path(recipe.folder),
        format=f"samkit-crop-codes-1-{kind}",
        what="CLIP's codes of crops",
        tensor="codes",
        suffix=f".{kind}.crops.safetensors",
        maker_key="clip_fingerprint",
        maker=clip_fingerprint,
        maker_kind="CLIP",
        of_masks=True,
    )


def cache_crop_embeds(
    clip: Clip,
    source: SampleSource | SampleStream,
    recipe: CropRecipe,
    on_progress: Callable[[int, int], None] | None = None,
    *,
    rank: int = 0,
    world: int = 1,
) -> Kept:
    """Let CLIP see crops of each mask of a data set once; goes on where it was stopped.

    Which crops are drawn depends on the image and on the number of the mask alone.

    Raises:
        ConfigError: the data set is a stream.
        EmbeddingError: the folder holds what another CLIP saw.
        OutputError: files cannot be written.
    """
    import torch

    def encode(sample: Sample) -> tuple[Tensor, dict[str, str]]:
        codes = crop_embeds(clip, sample, recipe)
        return torch.from_numpy(codes), {"model_name": clip.source}

    files = cached_embeds(recipe, clip.fingerprint)
    return files.keep(source, encode, on_progress, dtype="F16", rank=rank, world=world)


def crop_embeds(clip: Clip, sample: Sample, recipe: CropRecipe) -> npt.NDArray[np.float16]:
    """What CLIP sees in crops of an image's masks (M, V, D), NaN for those that are too small."""
    codes = np.full((len(sample.rles), recipe.variants, clip.dim), np.nan, np.float16)
    seed = int(image_checksum(sample.image), 16)
    large = [
        number
        for number, rle in enumerate(sample.rles)
        if rle_area(rle) >= max(1, recipe.min_area_px)
    ]

    def crops() -> Iterator[npt.NDArray[np.uint8]]:
        for number in large:
            rng = np.random.default_rng([CROPS, seed, number])
            mask = decode_rle(sample.rles[number])
            for _ in range(recipe.variants):
                yield draw_crop(rng, sample.image, mask, clip.pixels.size)

    codes[large] = clip.encode_images(crops()).reshape(len(large), recipe.variants, clip.dim)
    return codes


class CropEmbeddedData:
    """A data set with what `cache_crop_embeds` kept of it.

    Attributes:
        source: the data set.
        files: the codes.
    """

    def __init__(self, source: SampleSource, recipe: CropRecipe, *, clip_fingerprint: str) -> None:
        """Check that there are codes, and that the first is of the CLIP.

        Raises:
            EmbeddingError: there are none, or they are of another CLIP.
        """
        self.source = source
        self.files = cached_embeds(recipe, clip_fingerprint)
        self.files.check_any(source)

    def share_with_embeds(self, images: int) -> float:
        """Share of the masks of some images, spread over all, that are large enough for crops."""
        step = max(1, len(self.source) // images)
        paths = (self.files.path(self.key(i)) for i in range(0, len(self.source), step))
        kept = [self.files.read(path) for path in paths if path.is_file()]
        has_embed = [bool(code.isfinite().all()) for codes in kept for code in codes]
        return sum(has_embed) / max(1, len(has_embed))

    def __len__(self) -> int:
        return len(self.source)

    def key(self, index: int) -> str:
        return self.source.key(index)

    def __getitem__(self, index: int) -> Sample:
        """A sample with its codes.

        Raises:
            DataError: broken sample, or its codes are missing, damaged or of another image.
            ImageError: the image cannot be read.
            EmbeddingError: the codes are of another CLIP.
        """
        sample = self.source[index]
        return replace(sample, crop_embeds=self.files.of(sample).numpy())
