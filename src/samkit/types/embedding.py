"""What the image encoder made of one image, and the file that it is kept in."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from samkit.errors import EmbeddingError
from samkit.files import write_tensors
from samkit.geometry import CoordMap

if TYPE_CHECKING:  # torch takes seconds to import
    import torch

EMBEDDING_FORMAT = "samkit-embedding-1"


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageEmbedding:
    """What the image encoder made of one image: computed once, prompted many times.

    Attributes:
        features: tensor (1, C, G, G), on the device of the model that made it.
        coords: the coordinate spaces of the image.
        model_name: name of the model that made it.
        encoder_checksum: SHA-256 of the image encoder's weights; a decoder may be trained further
            without making kept embeddings stale.
    """

    features: torch.Tensor
    coords: CoordMap
    model_name: str
    encoder_checksum: str

    def __post_init__(self) -> None:
        if self.features.ndim != 4 or self.features.shape[0] != 1:
            raise EmbeddingError(f"features must be (1, C, G, G); got {tuple(self.features.shape)}")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to a safetensors file, whole or not at all.

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
        }
        write_tensors(path, {"features": self.features}, metadata)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ImageEmbedding:
        """Read a file that `save` wrote.

        Raises:
            EmbeddingError: missing, damaged, or another kind of file.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(os.fspath(path), framework="pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("format") != EMBEDDING_FORMAT:
                    raise EmbeddingError(f"{path} is not an embedding saved by samkit")
                height, width = (int(side) for side in metadata["original_hw"].split(","))
                return cls(
                    features=file.get_tensor("features"),
                    coords=CoordMap(
                        original_hw=(height, width), model_size=int(metadata["model_size"])
                    ),
                    model_name=metadata["model_name"],
                    encoder_checksum=metadata["encoder_checksum"],
                )
        except FileNotFoundError as error:
            raise EmbeddingError(f"no such file: {path}") from error
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise EmbeddingError(f"{path} is damaged or not an embedding: {error}") from error
