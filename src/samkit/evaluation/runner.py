"""Running protocols over images: each image is embedded once, finished work is not repeated."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samkit.datasets import Sample, SampleSource
from samkit.errors import DataError, ImageError
from samkit.evaluation.protocol import EvaluationProtocol
from samkit.evaluation.records import Record, Records, sample_checksum
from samkit.types import ImageEmbedding
from samkit.weights import weights_sha256

if TYPE_CHECKING:  # torch takes seconds to import
    from samkit.predict import Predictor

logger = logging.getLogger(__name__)

# Called with an image's key and the number of masks newly measured.
OnImage = Callable[[str, int], None]
# Called for each image that cannot be measured.
OnSkipped = Callable[["SkippedImage"], None]


@dataclass(frozen=True, kw_only=True)
class SkippedImage:
    """An image that could not be measured, and why."""

    image: str
    error: str


@dataclass(frozen=True, kw_only=True)
class ModelResult:
    """All records of one model.

    Attributes:
        records: by protocol name, one record per image.
        skipped: images that could not be measured.
    """

    records: Mapping[str, Sequence[Record]]
    skipped: tuple[SkippedImage, ...]


def model_identity(predictor: Predictor) -> dict[str, Any]:
    """What identifies a model: kind, weights and backend; as JSON."""
    info = predictor.backend.info
    return {
        "kind": predictor.model_name,
        "checksum": weights_sha256(predictor.model),
        "backend": info.backend,
        "precision": info.precision,
    }


def evaluate_model(
    predictor: Predictor,
    source: SampleSource,
    protocols: Sequence[EvaluationProtocol],
    *,
    images: int | None = None,
    folder: Path | None = None,
    on_image: OnImage | None = None,
    on_skipped: OnSkipped | None = None,
) -> ModelResult:
    """Measure one model under several protocols.

    Args:
        protocols: protocols with distinct names.
        images: number of images from the start of the data set; None for all.
        folder: folder for records, one file per protocol, so that a later call resumes; None
            to store none.
        on_image: called after each image.
        on_skipped: called for each broken image.

    Returns:
        results in the data set's order, whether or not the run was interrupted.

    Raises:
        ConfigError: the folder holds results of another model or with other settings.
        OutputError: records cannot be written.
    """
    count = len(source) if images is None else min(images, len(source))
    measured: dict[str, list[Record]] = {protocol.name: [] for protocol in protocols}
    skipped: list[SkippedImage] = []
    with ExitStack() as stack:
        records: dict[str, Records] = {}
        identity = None if folder is None else model_identity(predictor)
        for protocol in protocols:
            if folder is None:
                records[protocol.name] = Records()
                continue
            header = {
                "protocol": protocol.name,
                "settings": protocol.settings(),
                "model": identity,
            }
            path = folder / f"{protocol.name}.jsonl"
            records[protocol.name] = stack.enter_context(Records.writing(path, header))
        for index in range(count):
            try:
                sample = source[index]
            except (DataError, ImageError) as error:
                skipped.append(SkippedImage(image=source.key(index), error=str(error)))
                if on_skipped is not None:
                    on_skipped(skipped[-1])
                continue
            job = _ImageJob(predictor, sample)
            for protocol in protocols:
                measured[protocol.name].append(job.do(protocol, records[protocol.name]))
            if on_image is not None:
                on_image(sample.key, job.new_masks)
    return ModelResult(records=measured, skipped=tuple(skipped))


class _ImageJob:
    """One image under several protocols.

    Attributes:
        new_masks: number of newly measured masks, counted once per protocol.
    """

    def __init__(self, predictor: Predictor, sample: Sample) -> None:
        self.new_masks = 0
        self._predictor, self._sample = predictor, sample
        self._checksum = sample_checksum(sample)
        self._embedding: ImageEmbedding | None = None
        self._embed_seconds = 0.0

    def do(self, protocol: EvaluationProtocol, records: Records) -> Record:
        """The stored record, or a new one."""
        record = records.find(self._sample.key, self._checksum)
        if record is not None:
            return record
        if self._embedding is None:
            for fault in self._sample.faults:
                logger.warning("%s: left out %s", self._sample.key, fault)
            start_s = time.perf_counter()
            self._embedding = self._predictor.embed(self._sample.image)
            self._embed_seconds = time.perf_counter() - start_s
        start_s = time.perf_counter()
        result = protocol.measure(self._predictor, self._embedding, self._sample)
        record = Record(
            key=self._sample.key,
            checksum=self._checksum,
            result=result,
            seconds=round(time.perf_counter() - start_s, 4),
            embed_seconds=round(self._embed_seconds, 4),
        )
        self.new_masks += int(result["masks"])
        records.add(record)
        return record
