"""Settings of a model server: of its workers, and of what faces the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from samkit.backends import BackendChoice
from samkit.errors import ConfigError
from samkit.weights import DEFAULT_MODEL

MEGABYTE = 2**20
MEGAPIXEL = 10**6


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """What each worker loads.

    Attributes:
        source: model; see `Predictor.load`.
        text_model: folder or name of a text model; None without text.
        cache_folder: folder of cached embeddings, which all workers of a machine share.
        cache_bytes: maximum size of that folder.
        embeddings_cached: number of images whose embedding and decoder context stay in a worker's
            memory, 14 MB each.
        max_megapixels: maximum size of an image.
    """

    source: str = DEFAULT_MODEL
    backend: BackendChoice = field(default_factory=BackendChoice)
    text_model: str | None = None
    cache_folder: Path
    cache_bytes: int = 10 * 10**9
    embeddings_cached: int = 16
    max_megapixels: int = 100

    def __post_init__(self) -> None:
        check_positive(embeddings_cached=self.embeddings_cached, max_megapixels=self.max_megapixels)
        if self.cache_bytes < 0:
            raise ConfigError(f"cache_bytes must not be negative; got {self.cache_bytes}")

    @property
    def max_pixels(self) -> int:
        """Maximum number of pixels of an image."""
        return self.max_megapixels * MEGAPIXEL


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of what requests may take.

    Attributes:
        max_queue: requests that may wait, beside those that workers answer.
        timeout_s: for an answer to a request, and for a stream to begin.
        stream_s: for all of a stream.
        max_image_mb: of an image's file.
        max_video_mb: of a video's file.
        max_sessions: WebSocket sessions open at once.
    """

    max_queue: int = 64
    timeout_s: float = 60.0
    stream_s: float = 900.0
    max_image_mb: int = 32
    max_video_mb: int = 512
    max_sessions: int = 64

    def __post_init__(self) -> None:
        check_positive(
            timeout_s=self.timeout_s,
            stream_s=self.stream_s,
            max_image_mb=self.max_image_mb,
            max_video_mb=self.max_video_mb,
            max_sessions=self.max_sessions,
        )
        if self.max_queue < 0:
            raise ConfigError(f"max_queue must not be negative; got {self.max_queue}")


@dataclass(frozen=True, kw_only=True)
class ServingConfig:
    """Settings of a server.

    Attributes:
        keys: names of API keys by their SHA-256; without any, everybody may ask.
        cache_folder: of `ModelSpec`, from which embeddings are sent; None where the workers are on
            other machines.
        local_only: whether requests must name this machine itself as their host.
    """

    limits: Limits = field(default_factory=Limits)
    keys: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    cache_folder: Path | None = None
    local_only: bool = False


def check_positive(**settings: float) -> None:
    """Check that settings are above 0.

    Raises:
        ConfigError: one is not.
    """
    for name, value in settings.items():
        if value <= 0:
            raise ConfigError(f"{name} must be above 0; got {value}")
