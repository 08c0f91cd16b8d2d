"""Masks of the tiles of large images that are being prefilled: a stopped run goes on from them.

Each tile's masks are a file, which is complete or not there. They are in one folder for each image,
which is named by all that decides its masks: with another version or target it begins anew.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from samkit.errors import DataError
from samkit.files import make_folder, read_json, write_bytes
from samkit.geometry import Rle
from samkit.types import Masks

if TYPE_CHECKING:
    from samkit.dataengine import Store, StoredImage
    from samkit.proposals import Box

MOST_IMAGES = 8  # of all projects, the latest ones; 3,600 tiles of one take some 100 MB
PROGRESS = "progress.json"


class TileFolder:
    """Where the tiles of a project's images are, below a cache folder, which projects share."""

    def __init__(self, cache: Path, store: Store, project_id: int) -> None:
        """Name the folder; nothing is made yet."""
        self._folder = cache / "prefilling"
        self._project = _digest(f"{store.url} {project_id}")

    def begin(self, image: StoredImage, settings: str) -> TileMasks:
        """The tiles of an image: those that are done, if they were made with the same settings.

        Args:
            settings: all that decides the masks, besides the image's pixels.
        """
        own = f"{self._name(image.id)}-{_digest(f'{image.pixels_key} {settings}')}"
        for path in self._folder.glob(f"{self._name(image.id)}-*"):
            if path.name != own:
                shutil.rmtree(path, ignore_errors=True)
        others = [path for path in self._folder.glob("*") if path.name != own]
        for path in _latest_first(others)[MOST_IMAGES - 1 :]:
            shutil.rmtree(path, ignore_errors=True)
        return TileMasks(self._folder / own)

    def remove(self, image_id: int) -> None:
        """Remove the tiles of an image, which has its masks or is no longer to be prefilled."""
        for path in self._folder.glob(f"{self._name(image_id)}-*"):
            shutil.rmtree(path, ignore_errors=True)

    def remove_others(self, image_ids: Collection[int]) -> None:
        """Remove the tiles of all images of the project but these."""
        for path in self._folder.glob(f"{self._project}-*"):
            number = path.name.split("-")[1]
            if int(number) not in image_ids:
                shutil.rmtree(path, ignore_errors=True)

    def progress(self, image_id: int) -> tuple[int, int] | None:
        """Numbers of an image's tiles that are done and of all; None if none is."""
        for path in self._folder.glob(f"{self._name(image_id)}-*/{PROGRESS}"):
            with suppress(DataError):  # removed in the meantime
                done, total = read_json(path)
                return done, total
        return None

    def _name(self, image_id: int) -> str:
        return f"{self._project}-{image_id}"


class TileMasks:
    """The masks of the tiles of one image, by their boxes.

    Of masks it has what prefilled ones have: run lengths, scores and stability.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, box_xyxy: Box, /) -> Masks | None:
        """Masks of a tile; None if it is not done, or its file is damaged."""
        try:
            content = read_json(self._path(box_xyxy))
            return _to_masks(**content)
        except (DataError, TypeError, ValueError):
            return None

    def put(self, box_xyxy: Box, masks: Masks, /) -> None:
        """Write the masks of a tile.

        Raises:
            OutputError: the folder cannot be written, or the disk is full.
        """
        assert masks.stability is not None
        content = {
            "size_hw": masks.size_hw,
            "counts": [rle["counts"] for rle in masks.rles],
            "scores": masks.scores.tolist(),
            "stability": masks.stability.tolist(),
        }
        self._write(self._path(box_xyxy), content)

    def report(self, done: int, total: int) -> None:
        """Write how many tiles are done, for `TileFolder.progress`.

        Raises:
            OutputError: the folder cannot be written, or the disk is full.
        """
        self._write(self._folder / PROGRESS, [done, total])

    def _write(self, path: Path, content: object) -> None:
        make_folder(self._folder)
        write_bytes(path, json.dumps(content).encode())

    def _path(self, box_xyxy: Box) -> Path:
        return self._folder / f"{'-'.join(map(str, box_xyxy))}.json"


def _to_masks(
    size_hw: tuple[int, int],
    counts: Sequence[str],
    scores: Sequence[float],
    stability: Sequence[float],
) -> Masks:
    height, width = size_hw
    rles = [Rle(size=[height, width], counts=one) for one in counts]
    return Masks.from_rles(rles, scores, (height, width), stability=np.array(stability, np.float32))


def _latest_first(folders: Iterable[Path]) -> list[Path]:
    found = []
    for path in folders:
        with suppress(FileNotFoundError):  # removed by another process
            found.append((path.stat().st_mtime, path))
    return [path for _, path in sorted(found, reverse=True)]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
