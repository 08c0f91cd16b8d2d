"""Opening data sets of videos by specification: KIND:PATH."""

from collections.abc import Callable
from pathlib import Path

from samkit.datasets.registry import open_data
from samkit.datasets.sample import require_indexed
from samkit.datasets.videos.clip import VideoSource
from samkit.datasets.videos.moving import MovingImages
from samkit.datasets.videos.sequences import SequenceClips
from samkit.errors import ConfigError


def open_videos(spec: str) -> VideoSource:
    """Open a data set of videos.

    Args:
        spec: `davis:FOLDER`, sequences in DAVIS layout; or `moving:DATA`, clips made of still
            images with masks, where DATA is a data set as `open_data` takes it, such as
            `moving:coco:train.json` or `moving:scenes:count=1000,size=128`.

    Raises:
        DataError: it is missing, or not a data set of its kind.
        ConfigError: an unknown kind or setting.
    """
    kind, _, rest = spec.partition(":")
    if kind not in VIDEO_KINDS or not rest:
        raise ConfigError(
            f"videos to train on are davis:FOLDER or moving:DATA, such as moving:coco:FILE.json;"
            f" got {spec!r}"
        )
    return VIDEO_KINDS[kind](rest)


def _open_moving(rest: str) -> MovingImages:
    return MovingImages(require_indexed(open_data(rest), "moving images"))


# A new kind only needs an entry here.
VIDEO_KINDS: dict[str, Callable[[str], VideoSource]] = {
    "davis": lambda rest: SequenceClips(Path(rest)),
    "moving": _open_moving,
}
