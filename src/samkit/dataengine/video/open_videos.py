"""Videos that were read last, which stay open: frames are read when asked for."""

from __future__ import annotations

import threading
from collections import OrderedDict

from samkit.arrays import RgbImage
from samkit.dataengine.database import Store
from samkit.dataengine.video.files import open_video
from samkit.dataengine.video.values import StoredVideo
from samkit.video import FrameSource

MAX_OPEN = 8  # videos, each with a decoder and one frame


class _OpenVideo:
    """A video that one thread at a time reads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.source: FrameSource | None = None
        self.is_dropped = False

    def close(self) -> None:
        with self.lock:
            self.is_dropped = True
            if self.source is not None:
                self.source.close()


class OpenVideos:
    """Frames of the videos that were read last, which stay open.

    Frame after frame is only decoded; any other is reached from the keyframe of its file before it.
    """

    def __init__(self, store: Store, max_open: int = MAX_OPEN) -> None:
        self._store, self._max_open = store, max_open
        self._lock = threading.Lock()
        self._videos: OrderedDict[str, _OpenVideo] = OrderedDict()

    def read(self, video: StoredVideo, index: int) -> RgbImage:
        """Read a frame (H, W, 3).

        Raises:
            ConflictError: the file has changed since it was added.
            StoreError: it is missing.
            VideoError: there is no such frame, or it cannot be read.
        """
        while True:
            opened = self._opened(f"{video.id} {video.fingerprint}")
            with opened.lock:
                if opened.is_dropped:
                    continue
                if opened.source is None:
                    opened.source = open_video(self._store, video)
                return opened.source.read(index)

    def close(self) -> None:
        """Close all files; reading opens them again."""
        with self._lock:
            videos, self._videos = list(self._videos.values()), OrderedDict()
        for one in videos:
            one.close()

    def _opened(self, key: str) -> _OpenVideo:
        dropped = []
        with self._lock:
            found = self._videos.setdefault(key, _OpenVideo())
            self._videos.move_to_end(key)
            while len(self._videos) > self._max_open:
                dropped.append(self._videos.popitem(last=False)[1])
        for one in dropped:
            one.close()
        return found
