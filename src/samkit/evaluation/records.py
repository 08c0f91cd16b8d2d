"""Append-only file of per-image results, from which a stopped run resumes.

The file is JSON lines: first what all of its results depend on (the model, the protocol and its
settings), then one line per image. An incomplete last line is ignored.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from samkit.datasets import Sample
from samkit.errors import ConfigError, OutputError
from samkit.evaluation.protocol import Result
from samkit.files import complete_lines, hold

FORMAT = "samkit-evaluation-4"  # 3 had no predicted IoUs and no areas
CHECKSUM_LENGTH = 16  # hexadecimal digits


@dataclass(frozen=True, kw_only=True)
class Record:
    """Results of one image.

    Attributes:
        key: key of the image.
        checksum: checksum of the image's pixels and masks; see `sample_checksum`.
        result: the protocol's measurements.
        seconds: time to measure, without the embedding.
        embed_seconds: time to embed.
    """

    key: str
    checksum: str
    result: Result
    seconds: float
    embed_seconds: float


class Records:
    """Results of one model under one protocol, by image.

    with Records.writing(path, header) as records:
        if records.find(key, checksum) is None:
            records.add(Record(...))
    """

    def __init__(self, file: BinaryIO | None = None) -> None:
        self._file = file
        self._records: dict[str, Record] = {}

    @classmethod
    @contextmanager
    def writing(cls, path: Path, header: Mapping[str, Any]) -> Iterator[Records]:
        """Open a file of records, creating it if necessary, and lock it for this run.

        Args:
            path: the file.
            header: everything that its results depend on.

        Raises:
            ConfigError: the file holds results of another model or with other settings.
            OutputError: it cannot be written, is of another kind, or is locked by another run.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("a+b")
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror}") from error
        with file:
            hold(file, path)
            records = cls(file)
            records._read(path, json.loads(json.dumps(header)))
            yield records

    def find(self, key: str, checksum: str) -> Record | None:
        """The record of an image; None if there is none or the image or its masks have changed."""
        record = self._records.get(key)
        return record if record is not None and record.checksum == checksum else None

    def add(self, record: Record) -> None:
        """Add a record and write it to disk at once.

        Raises:
            OutputError: it cannot be written.
        """
        self._records[record.key] = record
        self._write(asdict(record))

    def _write(self, content: Mapping[str, Any]) -> None:
        if self._file is None:
            return
        try:
            self._file.write(json.dumps(content).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise OutputError(f"cannot write {self._file.name}: {error.strerror}") from error

    def _read(self, path: Path, header: dict[str, Any]) -> None:
        assert self._file is not None
        lines = complete_lines(self._file)
        if not lines:
            self._write({"format": FORMAT, **header})
            return
        try:
            stored, *records = [json.loads(line) for line in lines]
            is_ours = stored.pop("format") == FORMAT
            found = [Record(**record) for record in records] if is_ours else []
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise OutputError(f"{path} is damaged: remove it, or give another --output") from error
        if not is_ours:
            raise OutputError(f"{path} is of another version of samkit: give another --output")
        check_same(stored, header, path)
        self._records = {record.key: record for record in found}


def check_same(stored: Mapping[str, Any], wanted: Mapping[str, Any], path: Path) -> None:
    """Check that stored results were made with the settings that are wanted now.

    Raises:
        ConfigError: they were not; the message names the first difference.
    """
    stored_flat, wanted_flat = _flatten(stored), _flatten(wanted)
    for name in sorted({*stored_flat, *wanted_flat}):
        old, new = stored_flat.get(name), wanted_flat.get(name)
        if old != new:
            raise ConfigError(
                f"{path} holds results with {name} {old!r:.40}, not {new!r:.40}: give another"
                " --output, or remove it to start over"
            )


def _flatten(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in content.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def sample_checksum(sample: Sample) -> str:
    """Checksum of an image's pixels, masks and void pixels."""
    digest = hashlib.sha256(repr(sample.image.shape).encode())
    digest.update(sample.image.tobytes())
    for rle in sample.rles:
        digest.update(rle["counts"].encode())
        digest.update(b"\n")
    if sample.void is not None:
        digest.update(f"void {sample.void['counts']}".encode())
    return digest.hexdigest()[:CHECKSUM_LENGTH]
