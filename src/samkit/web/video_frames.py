"""Frames of videos for the page and for prompts: read when asked for, from open files."""

from __future__ import annotations

import io

from PIL import Image

from samkit.dataengine import OpenVideos, StoredVideo
from samkit.web.pictures import JPEG, QUALITY, SMALL_QUALITY, SMALL_SIDE, Picture


class VideoFrames(OpenVideos):
    """Frames of the videos that were read last, also as pictures."""

    def picture(self, video: StoredVideo, index: int, max_side: int | None) -> Picture:
        """Return a frame as JPEG, scaled down if its longest side is above `max_side`."""
        picture = Image.fromarray(self.read(video, index))
        if max_side is not None and max(picture.size) > max_side:
            picture.thumbnail((max_side, max_side), Image.Resampling.BILINEAR, reducing_gap=2.0)
        out = io.BytesIO()
        quality = SMALL_QUALITY if max(picture.size) <= SMALL_SIDE else QUALITY
        picture.save(out, "JPEG", quality=quality)
        return Picture(content=out.getvalue(), media_type=JPEG)
