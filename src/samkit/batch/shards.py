"""Results of a run in tar shards as of SA-1B: each image beside the JSON file of its masks.

Below the output folder:

    shards/sa_000000.tar                 images and their JSON files
    .samkit-auto/shards/sa_000000.json   what is in it, and the settings of the masks
    .samkit-auto/images/BASE.image       the copy of an image that is in no shard yet

Images wait until there are enough for a shard. Its list is written before the shard is moved to its
place: a list without a shard means nothing, and a shard is never there without its list. Shards are
not changed once they are there, so that an image is in one of them at most once.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samkit.batch.inputs import InputImage
from samkit.batch.run_folder import STATE_NAME, Record, RunFolder
from samkit.errors import ImageError, OutputError
from samkit.files import file_sha256, reason, write_bytes

if TYPE_CHECKING:
    from samkit.arrays import RgbImage

LIST_FORMAT = "samkit-shard-1"
FOLDER = "shards"
DEFAULT_SHARD_IMAGES = 1000
JPEG_START = b"\xff\xd8"
COPY_SUFFIX = ".image"


class Shards:
    """The shards of a run's folder, and the images that wait for the next one.

        shards = Shards(run, masks_path, num_images=1000)
        if image.base not in shards:
            ...  # publish the image as `copy_name(image.base)`, its masks, and a record with the
            ...  # checksum of the copy as "copy_sha256"
            shards.add(image.base)
        shards.finish()

    Attributes:
        folder: folder of the shards.
    """

    def __init__(
        self, run: RunFolder, masks_path: Callable[[str, Record], Path], *, num_images: int
    ) -> None:
        """Read what is there, and remove what a killed run has left. `run` is held for writing.

        Args:
            run: the run's folder.
            masks_path: path of the JSON file of an image's masks, by base and record.
            num_images: number of images in a shard.

        Raises:
            OutputError: there are shards of other settings or of somebody else, or damaged ones.
        """
        self._run = run
        self._masks_path = masks_path
        self._num_images = num_images
        self.folder = run.output / FOLDER
        self._lists = run.state / FOLDER
        self._images = run.state / "images"
        self._shard_of: dict[str, str] = {}  # by base
        self._sha256_of: dict[str, str] = {}  # of the images in shards
        try:
            self._read_lists()
            self._waiting = {base for base in self._copied() if self._can_wait(base)}
        except OSError as error:
            raise OutputError(f"cannot read {self.folder}: {reason(error)}") from error

    def __contains__(self, base: str) -> bool:
        """Whether an image is in a shard, or waits for one."""
        return base in self._shard_of or base in self._waiting

    def check(self, image: InputImage, record: Record | None) -> None:
        """Check that an image which is in a shard is the one of its record.

        Raises:
            ImageError: it is not, and shards do not change any more.
        """
        shard = self._shard_of.get(image.base)
        if shard is None:
            return
        if record is None or record.get("copy_sha256") != self._sha256_of[image.base]:
            raise ImageError(
                f"{image.source} has changed since it came into {self.folder / shard}, or its"
                " record is gone: remove that file, and all images in it are done again"
            )

    def needs_copy(self, base: str) -> bool:
        """Whether an image with new masks must be copied, since it is in no shard."""
        return base not in self._shard_of

    def paths(self) -> list[Path]:
        """Paths of all shards."""
        return sorted(self.folder.glob("*.tar"))

    def add(self, base: str) -> None:
        """Add an image whose copy, masks and record are there; write a shard if there are enough.

        Raises:
            OutputError: the shard cannot be written.
        """
        self._waiting.add(base)
        while len(self._waiting) >= self._num_images:
            self._write(sorted(self._waiting)[: self._num_images])

    def finish(self) -> list[Path]:
        """Write the images that wait as a smaller shard; return the paths of all shards."""
        if self._waiting:
            self._write(sorted(self._waiting))
        return self.paths()

    def _read_lists(self) -> None:
        for path in sorted(self._lists.glob("*.json")):
            shard = self.folder / f"{path.stem}.tar"
            if not shard.is_file():  # not yet, or somebody has removed it
                path.unlink()
                continue
            content = _read_list(path)
            if content["settings"] != self._run.settings:
                raise OutputError(
                    f"{self.folder} has masks of other settings: remove it, or give another"
                    " --output"
                )
            if shard.stat().st_size != content["bytes"]:
                raise OutputError(
                    f"{shard} must have {content['bytes']} bytes; it has {shard.stat().st_size}:"
                    " remove it, and the images in it are done again"
                )
            self._shard_of |= dict.fromkeys(content["images"], shard.name)
            self._sha256_of |= content["images"]
        unknown = {path.name for path in self.paths()} - set(self._shard_of.values())
        if unknown:
            raise OutputError(
                f"{self.folder / min(unknown)} is not of this run: remove it, or give another"
                " --output"
            )

    def _copied(self) -> list[str]:
        """Bases of the images that have a copy."""
        copies = sorted(self._images.rglob(f"*{COPY_SUFFIX}"))
        names = [path.relative_to(self._images).as_posix() for path in copies if path.is_file()]
        return [name.removesuffix(COPY_SUFFIX) for name in names]

    def _can_wait(self, base: str) -> bool:
        """Whether an image with a copy is complete and in no shard; else the copy is removed."""
        copy, record = self._copy(base), self._run.recorded(base)
        if (
            record is not None
            and base not in self._shard_of
            and self._masks_path(base, record).is_file()
            and file_sha256(copy) == record.get("copy_sha256")
        ):
            return True
        copy.unlink()
        return False

    def _copy(self, base: str) -> Path:
        return self._run.output / copy_name(base)

    def _write(self, bases: Sequence[str]) -> None:
        """Write one shard, its list first; then remove the copies."""
        taken = [int(path.stem[3:]) for path in self.paths() if path.stem[3:].isdecimal()]
        name = f"sa_{max(taken, default=-1) + 1:06}"
        with self._run.publishing() as staging:
            shard = staging / FOLDER / f"{name}.tar"
            shard.parent.mkdir()
            with tarfile.open(shard, "w") as tar:
                sha256_of = {base: self._add_to(tar, base) for base in bases}
            content = {
                "format": LIST_FORMAT,
                "settings": self._run.settings,
                "bytes": shard.stat().st_size,
                "images": sha256_of,
            }
            self._lists.mkdir(exist_ok=True)
            write_bytes(self._lists / f"{name}.json", json.dumps(content).encode())
        self._shard_of |= dict.fromkeys(bases, f"{name}.tar")
        self._sha256_of |= sha256_of
        for base in bases:
            self._waiting.discard(base)
            self._copy(base).unlink(missing_ok=True)

    def _add_to(self, tar: tarfile.TarFile, base: str) -> str:
        """Add an image and its masks to a shard; return the checksum of the image."""
        record = self._run.recorded(base)
        if record is None:
            raise OutputError(f"the record of {base} is gone: run the same command again")
        image = self._copy(base).read_bytes()
        suffix = "jpg" if image.startswith(JPEG_START) else "png"
        masks = self._masks_path(base, record).read_bytes()
        for name, data in ((suffix, image), ("json", masks)):
            member = tarfile.TarInfo(f"{shard_key(base)}.{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        return hashlib.sha256(image).hexdigest()


def copy_name(base: str) -> Path:
    """Path below the output folder for the copy of an image that waits for a shard."""
    return Path(STATE_NAME, "images", f"{base}{COPY_SUFFIX}")


def shard_key(base: str) -> str:
    """Name of an image's files in a shard, without the suffix.

    Readers take the first dot for the suffix's, so that dots in names are written as %2E, and leave
    out names that begin with two underscores.
    """
    key = base.replace("%", "%25").replace(".", "%2E")
    return f"%5F{key[1:]}" if key.startswith("__") else key


def shard_image(path: Path, pixels: RgbImage | None) -> bytes:
    """Return the file of an image for a shard: upright, and of a kind that every program reads.

    A JPEG file stays as it is, unless EXIF turns it. Others, such as pages and images of 16 bits,
    become PNG files of the pixels that the model has seen.

    Args:
        path: the image's file, or one of its pages: `stack.tif#page=2`.
        pixels: the image as the model has seen it; None if it is too large.

    Raises:
        ImageError: the file cannot be read, or the image is too large.
    """
    from PIL import Image

    from samkit.formats import copy_upright, split_page

    if pixels is None:
        raise ImageError(f"{path} is too large for a shard: give another --format")
    if split_page(str(path))[1] is None:
        try:
            with path.open("rb") as file, tempfile.TemporaryDirectory() as folder:
                if file.read(len(JPEG_START)) == JPEG_START:
                    file.seek(0)
                    copy_upright(file, Path(folder, "upright"), str(path))
                    return Path(folder, "upright").read_bytes()
        except OSError as error:
            raise ImageError(f"{path} cannot be read: {reason(error)}") from error
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, "PNG")
    return written.getvalue()


def _read_list(path: Path) -> Mapping[str, Any]:
    try:
        content: Mapping[str, Any] = json.loads(path.read_bytes())
        if content["format"] == LIST_FORMAT and {"settings", "bytes", "images"} <= set(content):
            return content
    except (ValueError, KeyError, TypeError):
        pass
    raise OutputError(f"{path} is damaged: give another --output")
