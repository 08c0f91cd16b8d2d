"""The model in a worker: its predictor, its embeddings, and the answers to jobs."""

from __future__ import annotations

import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from samkit.annotations import segmentation_rle
from samkit.errors import OutputError, PromptError, SamkitError, VideoError
from samkit.formats import read_image_bytes
from samkit.geometry import decode_rle
from samkit.predict import EmbeddingCache
from samkit.proposals import AutoMaskConfig, AutoMasker, quick_config
from samkit.serving.config import ModelSpec
from samkit.serving.errors import UnknownImageError
from samkit.serving.jobs import (
    Answer,
    AutoJob,
    EmbedJob,
    Event,
    Failure,
    ImageFile,
    Job,
    Line,
    ModelInfo,
    PredictJob,
    Source,
    TextJob,
    TrackJob,
)
from samkit.serving.wire import (
    mask_fields,
    object_fields,
    prediction_json,
    to_json,
    unpack_array,
)
from samkit.types import ImageEmbedding, MaskPrediction, Prompts

if TYPE_CHECKING:  # torch takes seconds to import
    from samkit.arrays import RgbImage
    from samkit.predict import Predictor

IMAGE, VIDEO = "the image", "the video"  # their names in errors
MASKERS_CACHED = 4


class CancelledError(Exception):
    """Nobody waits for the answer any more."""


class ServedModel:
    """A model that answers jobs, one caller at a time.

    Embeddings are looked up in memory, then on disk, then computed.
    """

    def __init__(self, predictor: Predictor, spec: ModelSpec) -> None:
        self.predictor = predictor
        self._spec = spec
        self._cache = EmbeddingCache(spec.cache_folder, max_bytes=spec.cache_bytes)
        self._embeddings: OrderedDict[str, ImageEmbedding] = OrderedDict()
        self._maskers: OrderedDict[AutoMaskConfig | None, AutoMasker] = OrderedDict()
        predictor.decoder.contexts_cached = spec.embeddings_cached
        if spec.text_model is not None:
            predictor.text_model  # noqa: B018 - loads it, so that a fault shows at the start
        self._warm_up()
        self.info = ModelInfo(
            description=predictor.describe(),
            encoder_checksum=predictor.encoder_checksum,
            image_spec=predictor.model.image_spec,
            reads_text=spec.text_model is not None,
        )

    @classmethod
    def load(cls, spec: ModelSpec) -> ServedModel:
        """Load the model of a specification.

        Raises:
            SamkitError: it is not there, damaged, or cannot run here.
        """
        from samkit.predict import Predictor

        predictor = Predictor.load(
            spec.source, text_model=spec.text_model, **spec.backend.options()
        )
        return cls(predictor, spec)

    def answer(
        self, jobs: Sequence[Job], is_cancelled: Callable[[], bool] = lambda: False
    ) -> Iterator[tuple[int, Event]]:
        """Answer one job, or several `PredictJob`s that are plain and on the same image.

        Args:
            is_cancelled: asked now and then; whether nobody waits any more.

        Yields:
            events with the number of their job; each job ends by an `Answer` or a `Failure`.
        """
        if isinstance(jobs[0], PredictJob):
            yield from self._predict([job for job in jobs if isinstance(job, PredictJob)])
            return
        for number, job in enumerate(jobs):
            try:
                for event in self._events(job, is_cancelled):
                    yield number, event
            except Exception as error:  # noqa: BLE001, PERF203 - is raised in the server's process
                yield number, failure(error)

    def _events(self, job: Job, is_cancelled: Callable[[], bool]) -> Iterator[Event]:
        if isinstance(job, EmbedJob):
            embedding, source = self._embed(job.image)
            found = {
                "image": job.image.sha256,
                "size_hw": list(embedding.coords.original_hw),
                "cached": source != "computed",
            }
            yield Answer(value=to_json(found), source=source)
        elif isinstance(job, TextJob):
            yield self._find_text(job)
        elif isinstance(job, AutoJob):
            yield from self._generate(job, is_cancelled)
            yield Answer()
        elif isinstance(job, TrackJob):
            try:
                yield from self._track(job, is_cancelled)
            except VideoError as error:  # names a file of the server
                raise VideoError(str(error).replace(str(job.path), VIDEO)) from error
            yield Answer()

    def _embed(self, image: ImageFile) -> tuple[ImageEmbedding, Source]:
        """Find or compute an embedding, whose decoder context is prepared.

        Raises:
            UnknownImageError: it is not cached, and the image is not given.
            ImageError: the image cannot be read.
        """
        embedding = self._embeddings.get(image.sha256)
        if embedding is not None:
            self._embeddings.move_to_end(image.sha256)
            return embedding, "memory"
        checksum = self.info.encoder_checksum
        embedding, source = self._cache.get(image.sha256, checksum), "disk"
        if embedding is None:
            if image.content is None:
                raise UnknownImageError(
                    f"no embedding of the image {image.sha256[:12]}... is cached: send the image"
                )
            embedding, source = self.predictor.embed(self._read(image)), "computed"
            try:
                self._cache.put(image.sha256, embedding)
            except OutputError:  # a full disk: it is in memory
                source = "computed"
        self._embeddings[image.sha256] = embedding
        while len(self._embeddings) > self._spec.embeddings_cached:
            self._embeddings.popitem(last=False)
        return embedding, "disk" if source == "disk" else "computed"

    def _read(self, image: ImageFile) -> RgbImage:
        """The pixels of an image.

        Raises:
            UnknownImageError: it was not sent.
            ImageError: it cannot be read.
        """
        if image.content is None:
            raise UnknownImageError("this needs the image itself, not its hash: send the image")
        return read_image_bytes(image.content, IMAGE, max_pixels=self._spec.max_pixels)

    def _predict(self, jobs: Sequence[PredictJob]) -> Iterator[tuple[int, Event]]:
        """Answer jobs on one image, those with the same parts in one batch."""
        try:
            # Any of them may have brought the image.
            brought = next((job.image for job in jobs if job.image.content), jobs[0].image)
            embedding, source = self._embed(brought)
        except Exception as error:  # noqa: BLE001 - is raised in the server's process
            yield from ((number, failure(error)) for number in range(len(jobs)))
            return
        groups: dict[Any, list[tuple[int, Prompts]]] = {}
        for number, job in enumerate(jobs):
            try:
                prompts = read_prompts(job, embedding)
            except Exception as error:  # noqa: BLE001, PERF203
                yield number, failure(error)
            else:
                alone = None if job.is_plain else number
                key = (alone, job.multimask, *parts_of(prompts))
                groups.setdefault(key, []).append((number, prompts))
        for group in groups.values():
            numbers = [number for number, _ in group]
            try:
                answer = self._decode(
                    jobs[numbers[0]], embedding, joined([prompts for _, prompts in group])
                )
            except Exception as error:  # noqa: BLE001
                yield from ((number, failure(error)) for number in numbers)
                continue
            for (number, _), part in zip(
                group, parted(answer, [prompts for _, prompts in group]), strict=True
            ):
                yield number, Answer(value=answer_of(jobs[number], part), source=source)

    def _decode(
        self, job: PredictJob, embedding: ImageEmbedding, prompts: Prompts
    ) -> MaskPrediction:
        image = None
        if (job.refine == "best" or job.fine) and job.image.content is not None:
            image = self._read(job.image)
        try:
            return self.predictor.decode(
                embedding,
                prompts,
                multimask=job.multimask,
                refine=job.refine,
                fine=job.fine,
                image=image,
            )
        except PromptError as error:
            if image is None and (job.refine == "best" or job.fine):
                raise UnknownImageError(str(error)) from error
            raise

    def _find_text(self, job: TextJob) -> Answer:
        embedding, source = self._embed(job.image)
        image = None if self.predictor.reads_as_tokens else self._read(job.image)
        answer = self.predictor.predict_text(
            embedding,
            list(job.text),
            image=image,
            text_thresh=job.text_thresh,
            multimask=job.multimask,
        )
        value = prediction_json(answer, image=job.image.sha256, mask_format=job.mask_format)
        return Answer(value=value, source=source)

    def _generate(self, job: AutoJob, is_cancelled: Callable[[], bool]) -> Iterator[Line]:
        """Yield lines: progress, then the masks."""
        pixels = self._read(job.image)
        masker = self._masker(quick_config(self.predictor) if job.is_quick else job.config)
        yield json_line("begin", image=job.image.sha256, size_hw=list(pixels.shape[:2]))

        masks = masker.generate(
            pixels,
            embedding=self._embeddings.get(job.image.sha256),
            on_progress=lambda *_: check(is_cancelled),
        )
        for fields in mask_fields(masks, job.mask_format):
            yield json_line("mask", **fields)
        yield json_line("end", masks=len(masks))

    def _masker(self, config: AutoMaskConfig | None) -> AutoMasker:
        """A masker with these settings; those used last are kept, with their proposal heads."""
        masker = self._maskers.pop(config, None) or AutoMasker(self.predictor, config)
        self._maskers[config] = masker
        while len(self._maskers) > MASKERS_CACHED:
            self._maskers.popitem(last=False)
        return masker

    def _track(self, job: TrackJob, is_cancelled: Callable[[], bool]) -> Iterator[Line]:
        """Yield a line for each frame."""
        from samkit.video import VideoPredictor

        tracker = VideoPredictor(self.predictor)
        with tracker.open(job.path, non_overlapping=job.non_overlapping) as video:
            for prompt in job.prompts:
                video.prompt(**prompt)
            yield json_line("begin", num_frames=video.num_frames, size_hw=list(video.size_hw))
            if job.reverse:  # its results are part of the frames that follow
                for _ in video.propagate(reverse=True):
                    check(is_cancelled)
            frames = 0
            for answer in video.propagate(start=0 if job.reverse else None, stop=job.stop):
                check(is_cancelled)
                objects = object_fields(answer.object_ids, answer.results, job.mask_format)
                yield json_line("frame", index=answer.index, objects=objects)
                frames += 1
        yield json_line("end", frames=frames)

    def _warm_up(self) -> None:
        """Run each path of the decoder once, so that the first request does not wait."""
        embedding = self.predictor.embed(np.zeros((8, 8, 3), np.uint8))
        answer = self.predictor.predict(embedding, points=[[4, 4]], labels=[1])
        self.predictor.predict(embedding, points=[[4, 4]], labels=[1], mask_logits=answer.logits[0])


def check(is_cancelled: Callable[[], bool]) -> None:
    """Stop a job that nobody waits for.

    Raises:
        CancelledError: nobody does.
    """
    if is_cancelled():
        raise CancelledError


def read_prompts(job: PredictJob, embedding: ImageEmbedding) -> Prompts:
    """The prompts of a job, which fit the image.

    Raises:
        PromptError: they make no prompts, or lie outside of the image.
        DataError: a mask is no COCO segmentation.
    """
    coords, parts = embedding.coords, dict(job.parts)
    packed = parts.get("mask_logits")
    if isinstance(packed, dict):
        parts["mask_logits"] = unpack_array(packed)
    if job.masks is not None:
        size_hw = coords.original_hw
        masks = [decode_rle(segmentation_rle(one, size_hw)) for one in job.masks]
        shape = (len(masks), 1, *size_hw)
        drawn = np.array(masks, bool).reshape(shape)
        parts["mask_logits"] = drawn if is_batch(parts, len(masks)) else drawn[0]
    prompts = Prompts.of(**parts)
    prompts.check_fits(coords)
    return prompts.with_logits(coords)


def is_batch(parts: dict[str, Any], num_masks: int) -> bool:
    """Whether masks belong to a batch of prompts: several, or beside parts with a prompt axis."""
    others = {name: value for name, value in parts.items() if value is not None}
    return num_masks != 1 or (bool(others) and Prompts.of(**others).batched)


def parts_of(prompts: Prompts) -> tuple[bool, ...]:
    """Which parts prompts have; only prompts with the same parts make a batch."""
    parts = (prompts.points_xy, prompts.boxes_xyxy, prompts.mask_logits)
    return tuple(part is not None for part in parts)


def joined(several: Sequence[Prompts]) -> Prompts:
    """Put prompts of several jobs, with the same parts, into one batch."""
    if len(several) == 1:
        return several[0]

    def joined_part(name: str, padding: float = 0) -> Any:
        parts = [getattr(prompts, name) for prompts in several]
        if parts[0] is None:
            return None
        if name in ("points_xy", "labels"):
            longest = max(part.shape[1] for part in parts)
            parts = [
                np.pad(
                    part,
                    [(0, 0), (0, longest - part.shape[1]), *[(0, 0)] * (part.ndim - 2)],
                    constant_values=padding,
                )
                for part in parts
            ]
        return np.concatenate(parts)

    return Prompts(
        points_xy=joined_part("points_xy"),
        labels=joined_part("labels", padding=-1),
        boxes_xyxy=joined_part("boxes_xyxy"),
        mask_logits=joined_part("mask_logits"),
        batched=True,
    )


def parted(answer: MaskPrediction, several: Sequence[Prompts]) -> Iterator[MaskPrediction]:
    """The parts of a batch's answer that belong to each of several jobs."""
    if len(several) == 1:
        yield answer
        return
    first = 0
    for prompts in several:
        if prompts.batched:
            rows = slice(first, first + len(prompts))
            yield replace(answer, logits=answer.logits[rows], iou_pred=answer.iou_pred[rows])
        else:
            yield answer.prompt(first)
        first += len(prompts)


def answer_of(job: PredictJob, prediction: MaskPrediction) -> bytes | MaskPrediction:
    """An answer in the form that a job asks for."""
    if job.as_prediction:
        return prediction
    return prediction_json(
        prediction,
        image=job.image.sha256,
        mask_format=job.mask_format,
        with_logits=job.with_logits,
    )


def json_line(kind: str, **fields: Any) -> Line:
    """A line of a stream."""
    return Line(text=to_json({"type": kind, **fields}) + b"\n")


def failure(error: Exception) -> Failure:
    """The end of a job by an error."""
    is_expected = isinstance(error, SamkitError | CancelledError)
    return Failure(error=error, where="" if is_expected else traceback.format_exc())
