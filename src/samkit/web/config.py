"""Settings of the data engine's server."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from samkit.errors import ConfigError
from samkit.predict import Refine, check_refine
from samkit.web.oidc import OidcConfig

MEGABYTE = 2**20
MEGAPIXEL = 10**6
EMBEDDING_BYTES = 4 * MEGABYTE  # of one image on disk, by SAM's encoders


@dataclass(frozen=True, kw_only=True)
class WebConfig:
    """Settings of a server.

    Attributes:
        cache_folder: folder of cached embeddings.
        cache_bytes: maximum size of that folder.
        local_token: on a server for one person, the token that signs in as that person.
        local_user_id: id of that person. Both or neither are set.
        allowed_roots: folders below which new projects may have their root; without any, none may.
        hint_after_s: time on one mask after which the page shows a hint to move on.
        max_upload_mb: maximum size of an uploaded image or file of masks.
        max_unpacked_mb: maximum unpacked size of an uploaded zip.
        max_megapixels: maximum size of an image that is decoded as a whole; larger ones are shown
            and encoded by tiles.
        idle_s: a session ends after this time without use.
        num_ahead: number of upcoming images that are encoded before somebody takes them.
        embeddings_cached: number of images whose embedding and decoder context stay in memory, 14
            MB each; with more people at once, each mask takes longer.
        prompt_threads: number of threads that answer prompts.
        refine: how clicks are answered; see `samkit.Predictor.predict`. "best" takes up to 256 MB
            more, for pixels and embeddings of crops.
        text_model: text model that finds what people name, by its name on the hub or as a folder.
        private_webhooks: also send events to webhooks in private networks, on this computer, and
            without TLS.
        oidc: provider of single sign-on; none on a server for one person.
        learner_options: options of `samkit engine learn` that name the model and its backend.
    """

    cache_folder: Path
    cache_bytes: int = 10 * 2**30
    local_token: str | None = None
    local_user_id: int | None = None
    allowed_roots: tuple[Path, ...] = ()
    hint_after_s: float = 30.0
    max_upload_mb: int = 64
    max_unpacked_mb: int = 1024
    max_megapixels: int = 100
    idle_s: float = 12 * 60 * 60.0
    num_ahead: int = 4
    embeddings_cached: int = 32
    prompt_threads: int = 2
    refine: Refine = "none"
    text_model: str | None = None
    private_webhooks: bool = False
    oidc: OidcConfig | None = None
    learner_options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (self.local_token is None) != (self.local_user_id is None):
            raise ConfigError("local_token and local_user_id belong together; got one of them")
        for name in (
            "hint_after_s",
            "max_upload_mb",
            "max_unpacked_mb",
            "max_megapixels",
            "idle_s",
            "embeddings_cached",
            "prompt_threads",
        ):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} must be above 0; got {getattr(self, name)}")
        if self.is_local and self.oidc is not None:
            raise ConfigError("a server for one person has no single sign-on")
        check_refine(self.refine)
        if min(self.cache_bytes, self.num_ahead) < 0:
            raise ConfigError("cache_bytes and num_ahead must not be negative")

    @property
    def is_local(self) -> bool:
        """Whether this is a server for one person."""
        return self.local_token is not None

    @property
    def cookie_name(self) -> str:
        """Session cookie, one name per local server: these share the cookies of loopback."""
        if self.local_token is None:
            return "samkit_session"
        return f"samkit_session_{hashlib.sha256(self.local_token.encode()).hexdigest()[:8]}"

    @property
    def max_pixels(self) -> int:
        """Maximum number of pixels of an image that is decoded as a whole."""
        return self.max_megapixels * MEGAPIXEL

    @property
    def tile_folder(self) -> Path:
        """Folder of cached tiles, of the same maximum size as that of embeddings."""
        return self.cache_folder / "tiles"

    @property
    def most_embedded(self) -> int:
        """Number of waiting images that are encoded for a new image encoder.

        They take a quarter of the cache, so that the embeddings of other encoders stay in it.
        """
        return self.cache_bytes // (4 * EMBEDDING_BYTES)

    @property
    def max_upload_bytes(self) -> int:
        """Maximum size of an uploaded image or file of masks."""
        return self.max_upload_mb * MEGABYTE
