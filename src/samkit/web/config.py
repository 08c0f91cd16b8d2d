"""What a server is set to."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from samkit.errors import ConfigError

LOCAL_HOSTS = ("127.0.0.1", "localhost", "[::1]")
MEGABYTE = 2**20
MEGAPIXEL = 10**6


@dataclass(frozen=True, kw_only=True)
class WebConfig:
    """Settings of a server.

    Attributes:
        cache_folder: where embeddings are kept.
        cache_bytes: most that they take on the disk.
        local_token: for a server for one person: whoever knows it is signed in as that person.
        local_user_id: that person. Both or neither are set.
        allowed_roots: folders that new projects may have their root in; none are allowed without.
        hint_after_s: the page gives a hint to who is busy with one mask for so long.
        max_upload_mb: largest image, or file of masks, that may be uploaded.
        max_unpacked_mb: largest content of an uploaded zip.
        max_megapixels: largest image that is shown, encoded or received.
        idle_s: a session that is not used for so long ends.
        num_ahead: how many of the next images are encoded before somebody takes them.
        embeddings_cached: of how many images embeddings and what the decoder makes of them stay in
            memory, 14 MB each; more people than that at once wait longer for each mask.
        prompt_threads: that answer prompts.
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
        if min(self.cache_bytes, self.num_ahead) < 0:
            raise ConfigError("cache_bytes and num_ahead must not be negative")

    @property
    def is_local(self) -> bool:
        """Whether it is a server for one person."""
        return self.local_token is not None

    @property
    def cookie_name(self) -> str:
        """Of the session. All servers on a machine's loopback share its cookies."""
        if self.local_token is None:
            return "samkit_session"
        return f"samkit_session_{hashlib.sha256(self.local_token.encode()).hexdigest()[:8]}"

    @property
    def max_pixels(self) -> int:
        """Of an image."""
        return self.max_megapixels * MEGAPIXEL

    @property
    def max_upload_bytes(self) -> int:
        """Of an image, or of a file of masks."""
        return self.max_upload_mb * MEGABYTE
