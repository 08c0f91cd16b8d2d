"""Image embeddings and their file format."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from samkit.errors import EmbeddingError
from samkit.files import write_tensors
from samkit.geometry import CoordMap

if TYPE_CHECKING:  # torch takes seconds to import
    import torch

    from samkit.models import ImageFeatures

EMBEDDING_FORMAT = "samkit-embedding-1"
# The level that prompts attend to; finer levels, from fine to coarse, have a numbered suffix.
GRID_NAME = "features"


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageEmbedding:
    """Output of the image encoder for one image: computed once, prompted many times.

    Attributes:
        features: levels (1, C_i, G_i, G_i), on the device of the model.
        coords: the image's coordinate spaces.
        model_name: name of the model.
        encoder_checksum: SHA-256 of the image encoder's weights; training the decoder further does
            not make saved embeddings stale.
    """

    features: ImageFeatures
    coords: CoordMap
    model_name: str
    encoder_checksum: str

    def __post_init__(self) -> None:
        for level in self.features.levels:
            if level.ndim != 4 or level.shape[0] != 1:
                raise EmbeddingError(f"features must be (1, C, G, G); got {tuple(level.shape)}")

    def __repr__(self) -> str:
        height, width = self.coords.original_hw
        return f"<ImageEmbedding of an image of {width} x {height} pixels by {self.model_name}>"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the embedding to a safetensors file, atomically.

        Raises:
            OutputError: the file cannot be written.
        """
        height, width = self.coords.original_hw
        metadata = {
            "format": EMBEDDING_FORMAT,
            "model_name": self.model_name,
            "encoder_checksum": self.encoder_checksum,
            "original_hw": f"{height},{width}",
            "model_size": str(self.coords.model_size),
            "fit": self.coords.fit,
            "logits_stride": str(self.coords.logits_stride),
        }
        write_tensors(path, _by_name(self.features), metadata)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ImageEmbedding:
        """Read a file that `save` wrote.

        Raises:
            EmbeddingError: the file is missing, damaged, or of another kind.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(os.fspath(path), framework="pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("format") != EMBEDDING_FORMAT:
                    raise EmbeddingError(f"{path} is not an embedding saved by samkit")
                return cls(
                    features=_levels(file),
                    coords=_coords(metadata),
                    model_name=metadata["model_name"],
                    encoder_checksum=metadata["encoder_checksum"],
                )
        except FileNotFoundError as error:
            raise EmbeddingError(f"no such file: {path}") from error
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise EmbeddingError(f"{path} is damaged or not an embedding: {error}") from error


def _by_name(features: ImageFeatures) -> dict[str, torch.Tensor]:
    """Tensors to write, by name."""
    *finer, grid = features.levels
    return {GRID_NAME: grid} | {f"{GRID_NAME}_{i}": level for i, level in enumerate(finer)}


def _levels(file: Any) -> ImageFeatures:
    """Read the features from an open file."""
    from samkit.models import ImageFeatures

    names = file.keys()
    finer = sorted(name for name in names if name.startswith(f"{GRID_NAME}_"))
    return ImageFeatures(tuple(file.get_tensor(name) for name in [*finer, GRID_NAME]))


def _coords(metadata: dict[str, str]) -> CoordMap:
    """Coordinate spaces from a file's metadata; files of earlier versions always mean padding."""
    height, width = (int(side) for side in metadata["original_hw"].split(","))
    fit = metadata.get("fit", "pad")
    if fit not in ("pad", "stretch"):
        raise ValueError(f"unknown fit {fit!r}")
    return CoordMap(
        original_hw=(height, width),
        model_size=int(metadata["model_size"]),
        fit="stretch" if fit == "stretch" else "pad",
        logits_stride=int(metadata.get("logits_stride", "4")),
    )
