"""Output folder of a resumable run, with a record of each finished image.

Beside the results, the folder has `.samkit-auto/`:

    records/BASE.json   a finished image: its file, the settings, the files written
    masks/BASE.json     its masks as in SA-1B, where they are not among the results
    shards/, images/    what is in shards, and what waits for one; see `samkit.batch.shards`
    staging/            results that are being written
    lock                held while a run writes here

Results are written to staging, moved to their places when all are written, and then recorded. A run
that is killed at any moment leaves only complete files, and an image without a record is repeated.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from samkit.batch.inputs import InputImage
from samkit.batch.remote import url_identity
from samkit.errors import ImageError, OutputError
from samkit.files import file_sha256, hold, reason, write_bytes
from samkit.urls import is_url

STATE_NAME = ".samkit-auto"
RECORD_FORMAT = "samkit-auto-1"

Record = Mapping[str, Any]


class RunFolder:
    """Results and state of a run in one folder.

        run = RunFolder(output, settings)
        with run.writing():
            if run.finished(image) is None:
                with run.publishing(image) as staging:
                    ...  # write files below staging
                run.record(image, file_identity(image.file), {"files": ...})

    Attributes:
        settings: settings that masks depend on; images with records of other settings are repeated.
    """

    def __init__(self, output: Path, settings: Mapping[str, Any]) -> None:
        self.output = output
        # Converted to JSON and back, so that they can be compared with recorded ones.
        self.settings = json.loads(json.dumps(settings))
        self.state = output / STATE_NAME
        self.staging = self.state / "staging"

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Lock the folder for this run; create it if needed, and remove it if it stays unused.

        Raises:
            OutputError: another run holds it, or it cannot be written to.
        """
        new_folders = [path for path in (self.state, *self.state.parents) if not path.exists()]
        try:
            self.state.mkdir(parents=True, exist_ok=True)
            lock = (self.state / "lock").open("wb")
        except OSError as error:
            raise OutputError(f"cannot write to {self.output}: {reason(error)}") from error
        with lock:
            hold(lock, self.output)
            self._clear_staging()  # left by a run that was killed
            try:
                yield
            finally:
                self._remove_if_unused(new_folders)

    def _remove_if_unused(self, new_folders: Sequence[Path]) -> None:
        """Remove the new folders, innermost first, unless an image was finished."""
        if (self.state / "records").exists():
            return
        with suppress(OSError):  # the folder contains other files
            (self.state / "lock").unlink()
            for folder in new_folders:
                folder.rmdir()

    def _clear_staging(self) -> None:
        shutil.rmtree(self.staging, ignore_errors=True)

    def finished(self, image: InputImage) -> Record | None:
        """Return an image's record, if the same file was finished with the same settings."""
        record = self.recorded(image.base)
        try:
            if record is None:
                return None
            # The second name is that of records written before the first release.
            identity = record["image"] if "image" in record else record["photo"]
            return record if is_same_file(image.file, identity) else None
        except (OSError, ValueError, KeyError, TypeError, ImageError):
            return None  # the file cannot be read, or was recorded otherwise: it is repeated

    def recorded(self, base: str) -> Record | None:
        """Return the record of a base, if it is of the same settings."""
        try:
            record: Record = json.loads((self.output / _record_name(base)).read_bytes())
            is_ours = record["format"] == RECORD_FORMAT and record["settings"] == self.settings
        except (OSError, ValueError, KeyError, TypeError):
            return None  # missing, or not a record: the image is repeated
        return record if is_ours else None

    def lacks(self, record: Record, formats: Collection[str]) -> frozenset[str]:
        """Return the formats that a record does not list, or whose files are missing."""
        files = record["files"]
        return frozenset(
            name
            for name in formats
            if name not in files or not all((self.output / file).is_file() for file in files[name])
        )

    @contextmanager
    def publishing(self, image: InputImage | None = None) -> Iterator[Path]:
        """Yield a staging folder; results in it are moved to their places when all are written.

        Args:
            image: image of the results, which counts as unfinished until it is recorded again; None
                for results of all images together.

        Raises:
            OutputError: the files cannot be written.
        """
        try:
            self._clear_staging()
            self.staging.mkdir()
            yield self.staging
            if image is not None:
                (self.output / _record_name(image.base)).unlink(missing_ok=True)
            for source in sorted(self.staging.rglob("*")):
                if source.is_file():
                    target = self.output / source.relative_to(self.staging)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    source.replace(target)
        except OSError as error:
            what = error.filename2 or error.filename or self.output
            raise OutputError(f"cannot write {what}: {reason(error)}") from error
        finally:
            self._clear_staging()

    def record(
        self, image: InputImage, identity: Mapping[str, Any], facts: Mapping[str, Any]
    ) -> Record:
        """Write the record of a finished image, after its results were published.

        Args:
            identity: the image's `file_identity` before it was read.
            facts: fields to add to the record.
        """
        head = {"format": RECORD_FORMAT, "image": identity, "settings": self.settings}
        record = {**head, **facts}
        with self.publishing() as staging:
            path = staging / _record_name(image.base)
            path.parent.mkdir(parents=True)
            write_bytes(path, json.dumps(record).encode())
        return record


def _record_name(base: str) -> Path:
    """Return the path of an image's record below the output folder."""
    return Path(STATE_NAME, "records", f"{base}.json")


def file_identity(name: str) -> dict[str, Any]:
    """Return what identifies an image's file: path, size, time and checksum; or see `url_identity`.

    Raises:
        ImageError: it cannot be read.
    """
    if is_url(name):
        return url_identity(name)
    path = Path(name)
    try:
        status = path.stat()
        return {
            "path": str(path.resolve()),
            "size": status.st_size,
            "mtime_ns": status.st_mtime_ns,
            "sha256": file_sha256(path),
        }
    except FileNotFoundError as error:
        raise ImageError(f"no such file: {path}") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"{path} cannot be read: {reason}") from error


def is_same_file(name: str, identity: Mapping[str, Any]) -> bool:
    """Whether a file is unchanged; its checksum is computed only if it was moved or touched."""
    if is_url(name):
        return url_identity(name) == identity
    path = Path(name)
    status = path.stat()
    if status.st_size != identity["size"]:
        return False
    untouched = status.st_mtime_ns == identity["mtime_ns"]
    if untouched and str(path.resolve()) == identity["path"]:
        return True
    return bool(file_sha256(path) == identity["sha256"])
