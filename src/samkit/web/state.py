"""State shared by the routes of one server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, cast

from fastapi import Depends
from starlette.requests import HTTPConnection

from samkit.dataengine import Store
from samkit.web.activity import Activity
from samkit.web.config import WebConfig
from samkit.web.decoders import DecoderFiles
from samkit.web.embedder import Embedder
from samkit.web.followers import FollowerProcess
from samkit.web.image_values import ValueCache
from samkit.web.learning import CHECK_EVERY_S, LearnerProcesses, Ticker
from samkit.web.oidc import OidcClient
from samkit.web.security import Gate, Recent, Throttle
from samkit.web.served_models import ServedModels
from samkit.web.text import TextSource
from samkit.web.thumbnails import ThumbnailCache
from samkit.web.tiles import TileCache
from samkit.web.video_frames import VideoFrames
from samkit.web.video_prompts import VideoPrompter
from samkit.web.webhooks import WebhookSender
from samkit.web.workers import PriorityPool

# Limits on failed sign-ins per address, and per name from anywhere, within this many seconds.
TRIES_OF_ADDRESS, TRIES_FOR_NAME, TRIES_WINDOW_S = 50, 10, 300.0
TRIES_ELSEWHERE = 100  # for one name, from all addresses that it has not signed in from
HASHES_AT_ONCE, HASHES_WAITING = 2, 24  # password hashes take 64 MB each
CHANGES_AT_ONCE = 16  # of the 40 threads on which Starlette runs routes
EXCHANGES_AT_ONCE, EXCHANGES_WAITING = 1, 4  # imports and exports
FRAME_BYTES = 128 * 2**20  # of cached pictures of frames: some seconds of a video


@dataclass(kw_only=True)
class ServerState:
    """The store, the settings, the worker threads and the rate limits of a server."""

    store: Store
    config: WebConfig
    embedder: Embedder
    models: ServedModels
    decoders: DecoderFiles
    learners: LearnerProcesses
    webhooks: WebhookSender
    oidc: OidcClient | None = None
    activity: Activity
    prompts: PriorityPool
    pictures: PriorityPool
    thumbnails: ThumbnailCache = field(default_factory=ThumbnailCache)
    background: PriorityPool
    text: TextSource
    reading: PriorityPool  # frames of videos
    tracking: PriorityPool  # prompts in frames, and what lies between them
    followers: FollowerProcess
    frames: VideoFrames
    prompter: VideoPrompter
    tiles: TileCache
    window_tiles: ThumbnailCache = field(default_factory=ThumbnailCache)
    frame_pictures: ThumbnailCache = field(default_factory=lambda: ThumbnailCache(FRAME_BYTES))
    tries_of_address: Throttle = field(
        default_factory=lambda: Throttle(max_failures=TRIES_OF_ADDRESS, window_s=TRIES_WINDOW_S)
    )
    tries_for_name: Throttle = field(
        default_factory=lambda: Throttle(max_failures=TRIES_FOR_NAME, window_s=TRIES_WINDOW_S)
    )
    tries_elsewhere: Throttle = field(
        default_factory=lambda: Throttle(max_failures=TRIES_ELSEWHERE, window_s=TRIES_WINDOW_S)
    )
    known_places: Recent = field(default_factory=Recent)  # addresses and names that signed in
    hashing: Gate = field(
        default_factory=lambda: Gate(at_once=HASHES_AT_ONCE, waiting=HASHES_WAITING)
    )
    changes: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(CHANGES_AT_ONCE))
    values: ValueCache = field(default_factory=ValueCache)
    exchanging: Gate = field(
        default_factory=lambda: Gate(at_once=EXCHANGES_AT_ONCE, waiting=EXCHANGES_WAITING)
    )

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run the worker threads for the duration of the context."""
        pools = (self.prompts, self.pictures, self.background, self.reading, self.tracking)
        for pool in pools:
            pool.start()
        self.tiles.start()
        self.embedder.start()
        self.decoders.start()
        tickers = [
            Ticker(call, every_s=CHECK_EVERY_S)
            for call in (
                self.models.refresh,
                self.learners.check,
                self.followers.check,
                self.webhooks.check,
            )
        ]
        for ticker in tickers:
            ticker.start()
        try:
            yield
        finally:
            self.webhooks.stop()
            for ticker in tickers:
                ticker.stop()
            self.learners.stop()
            self.followers.stop()
            self.embedder.stop()
            self.decoders.stop()
            self.tiles.stop()
            for pool in pools:
                pool.stop()
            self.frames.close()


def state_of(connection: HTTPConnection) -> ServerState:
    """The studio of the app that received a request."""
    return cast("ServerState", connection.app.state.studio)


TheState = Annotated[ServerState, Depends(state_of)]
