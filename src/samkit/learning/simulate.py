"""The flywheel with robot annotators: people's clicks per mask while the model learns from them.

The images of a data set are annotated in rounds, through the store's public functions. A robot
clicks each mask until its IoU is 0.85, at most 8 clicks, and then paints it, which counts as 5
more. It keeps what the model answered, with its faults. After each round the project's model
learns; images that nobody annotates say what masks cost with it, and with the model that never
learned.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
from PIL import Image

from samkit.dataengine import (
    Learning,
    NewEvent,
    StoredImage,
    User,
    add_image,
    create_project,
    create_user,
    delete_annotation,
    get_image,
    list_annotations,
    save_annotation,
    set_learning,
    submit_image,
    take_image,
)
from samkit.datasets import PickedData, Sample, SampleSource
from samkit.errors import DataError, StoreError
from samkit.evaluation import ClickedMask, MaskChoice, click_masks, mask_iou
from samkit.geometry import decode_rle, encode_rle
from samkit.learning.confidence import Confidence
from samkit.learning.judge import measure_costs
from samkit.learning.learner import Learner
from samkit.learning.next_images import choose_images
from samkit.learning.prefill import learn_to_prefill, prefill_images

if TYPE_CHECKING:
    from samkit.arrays import BoolArray
    from samkit.predict import Predictor

# In which order robots get the images: that of the file, at random, or from the second round on
# those from which the model would learn most.
Order: TypeAlias = Literal["file", "random", "chosen"]
ORDERS: tuple[Order, ...] = get_args(Order)
TARGET_IOU = 0.85
PROJECT = "simulation"
IMAGES = "images"  # folder of the copies
HELD_OUT_SHARE = 0.2


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """What masks of images that nobody annotates cost; see `Round`."""

    clicks_per_mask: float
    frozen_clicks_per_mask: float
    iou_1: float
    frozen_iou_1: float
    images: int
    masks: int


@dataclass(frozen=True, kw_only=True)
class Round:
    """What a round of annotation cost, and what its model is worth.

    Attributes:
        round: from 1.
        model_version: the version that answers after the round.
        learned: what became of the round's learned model, in one line.
        images: images that were annotated in it.
        masks: masks that robots made on them.
        clicks_per_mask: what these cost.
        seconds_per_image: time of a robot on an image, almost all of it the model's.
        prefilled: masks that were there when an image was opened.
        prefilled_accepted: those that the robot left as they were.
        precision_prefilled: their fraction; None without any.
        held_out: on images that nobody annotates.
    """

    round: int
    model_version: int
    learned: str
    images: int
    masks: int
    clicks_per_mask: float
    seconds_per_image: float
    prefilled: int
    prefilled_accepted: int
    precision_prefilled: float | None
    held_out: HeldOut

    def figures(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


class Simulation:
    """Robot annotators, a store, and a learner.

    simulation = Simulation(source, learner, folder)
    for one in simulation.rounds(5):
        print(one.figures())
    """

    def __init__(
        self,
        source: SampleSource,
        learner: Learner,
        folder: Path,
        *,
        learning: Learning | None = None,
        held_out: SampleSource | None = None,
        masks_per_image: int | None = None,
        order: Order = "file",
        seed: int = 0,
        on_image: Callable[[str, int, int], None] | None = None,
    ) -> None:
        """Make a project of the images, below a folder.

        Args:
            source: images with true masks.
            learner: over the store of the simulation.
            learning: the project's settings.
            held_out: images that nobody annotates; by default a fifth of the source's, as their
                contents decide.
            masks_per_image: limit of masks that robots make on an image.
            order: in which robots get the images.
            seed: of the random order; "chosen" has the same first round.
            on_image: called with what is done, and the numbers of images done and in total.

        Raises:
            DataError: there is no image with masks on one of the sides.
        """
        self.learner, self.store = learner, learner.store
        self.learning = learning or Learning()
        self._choice = MaskChoice(masks_per_image=masks_per_image, min_area_px=1)
        self._on_image: Callable[[str, int, int], None] = on_image or (lambda *_: None)
        self._robot: User = create_user(self.store, name="robot", role="admin")
        self._images = folder / IMAGES
        self._images.mkdir(parents=True, exist_ok=True)
        self.project = create_project(self.store, name=PROJECT, root=self._images)
        set_learning(self.store, self.project.id, self.learning)
        self._samples: dict[int, tuple[SampleSource, int]] = {}  # by the id of the image
        self._queue: list[StoredImage] = []
        self._confidence: Confidence | None = None
        self._order = order
        set_aside: list[int] = []
        for index in range(len(source)):
            sample = source[index]
            if not sample.rles:
                continue
            if held_out is None and is_set_aside(sample):
                set_aside.append(index)
            else:
                self._add(source, index, sample)
            self._on_image("reading", index + 1, len(source))
        if order != "file":
            random.Random(seed).shuffle(self._queue)  # noqa: S311
        self.held_out = PickedData(source, set_aside) if held_out is None else held_out
        if not self._queue or not len(self.held_out):
            raise DataError(
                f"{len(self._queue)} images with masks to annotate and {len(self.held_out)} to"
                " measure on: a simulation needs both"
            )
        self._frozen = measure_costs(
            learner.base,
            self.held_out,
            learner.embed,
            self.learning,
            on_image=self._counter("measuring", len(self.held_out)),
        )

    def rounds(self, count: int, *, images_per_round: int | None = None) -> Iterator[Round]:
        """Annotate images in this many rounds; yield each when its model has been judged.

        Args:
            images_per_round: None for all images, in rounds of the same size.
        """
        if images_per_round is None:
            sizes = [len(part) for part in np.array_split(np.arange(len(self._queue)), count)]
        else:
            sizes = [images_per_round] * count
        for number, size in enumerate(sizes, start=1):
            images = self._next_images(size, is_first=number == 1)
            if images:
                yield self._round(number, images)

    def _next_images(self, size: int, *, is_first: bool) -> list[StoredImage]:
        """Take the next images from the queue."""
        taken = self._queue[:size]
        if self._order == "chosen" and not is_first:
            choice = choose_images(
                self.learner,
                self.project.id,
                self._confidence,
                limit=size,
                on_image=lambda done, total: self._on_image("choosing", done, total),
            )
            taken = [get_image(self.store, one) for one in choice.image_ids]
        ids = {image.id for image in taken}
        self._queue = [image for image in self._queue if image.id not in ids]
        return taken

    def _round(self, number: int, images: Sequence[StoredImage]) -> Round:
        model, version = self.learner.serving(self.project.id)
        if self.learning.prefill and self._confidence is not None and can_prefill(self._confidence):
            prefill_images(
                self.learner,
                self.project.id,
                self._confidence,
                user_id=self._robot.id,
                image_ids=[image.id for image in images],
                on_image=lambda done, total: self._on_image("prefilling", done, total),
            )
        started = time.monotonic()
        works = []
        for done, image in enumerate(images, start=1):
            works.append(self._annotate(model, version, image))
            self._on_image(f"round {number}", done, len(images))
        seconds = (time.monotonic() - started) / len(images)
        try:
            learned = self.learner.learn(
                self.project.id,
                on_step=lambda step: self._on_image("learning", step.step, step.steps),
            )
            what = f"{learned.verdict}: {learned.reason}"
        except StoreError as error:
            what = f"not learned: {error}"
        model, version = self.learner.serving(self.project.id)
        # After the last round nothing is prefilled or chosen any more.
        if self._queue and (self.learning.prefill or self._order == "chosen"):
            held_out = self.learner.examples(self.project.id).held_out
            self._confidence = learn_to_prefill(
                self.learner,
                self.project.id,
                target=self.learning.target_precision,
                # By a grid, and by a head.
                on_image=self._counter("learning confidence", 2 * len(held_out)),
            )
        costs = measure_costs(
            model,
            self.held_out,
            self.learner.embed,
            self.learning,
            on_image=self._counter("measuring", len(self.held_out)),
        )
        masks = sum(work.num_masks for work in works)
        prefilled = sum(work.num_prefilled for work in works)
        accepted = sum(work.num_accepted for work in works)
        return Round(
            round=number,
            model_version=version,
            learned=what,
            images=len(images),
            masks=masks,
            clicks_per_mask=sum(work.clicks for work in works) / max(masks, 1),
            seconds_per_image=seconds,
            prefilled=prefilled,
            prefilled_accepted=accepted,
            precision_prefilled=accepted / prefilled if prefilled else None,
            held_out=HeldOut(
                clicks_per_mask=costs.mean("clicks"),
                frozen_clicks_per_mask=self._frozen.mean("clicks"),
                iou_1=costs.mean("iou_1"),
                frozen_iou_1=self._frozen.mean("iou_1"),
                images=len(costs.num_masks),
                masks=sum(costs.num_masks),
            ),
        )

    def _annotate(self, model: Predictor, version: int, image: StoredImage) -> Work:
        """Let the robot annotate an image: check what is there, click what is missing, submit."""
        source, index = self._samples[image.id]
        sample = source[index]
        take_image(self.store, image.id, self._robot.id)
        truths = self._choice.masks(sample)
        work, missing = self._check_prefilled(image, truths, self._others(sample, truths))
        if missing:
            embedding = self.learner.embed(replace(sample, embedding_key=image.pixels_key), model)
            clicked = click_masks(
                model,
                embedding,
                missing,
                max_clicks=self.learning.max_clicks,
                stop_at=TARGET_IOU,
                image=sample.image,
            )
            for truth, answer in zip(missing, clicked, strict=True):
                work.clicks += self._save(image, truth, answer, version)
                work.num_masks += 1
        submit_image(self.store, image.id, self._robot.id)
        return work

    def _others(self, sample: Sample, truths: Sequence[BoolArray]) -> list[BoolArray]:
        """Masks of an image that the robot leaves out, since there is a limit."""
        if self._choice.masks_per_image is None:
            return []
        masks = replace(self._choice, masks_per_image=None).masks(sample)
        return [one for one in masks if not any(np.array_equal(one, own) for own in truths)]

    def _check_prefilled(
        self, image: StoredImage, truths: Sequence[BoolArray], others: Sequence[BoolArray]
    ) -> tuple[Work, list[BoolArray]]:
        """Leave prefilled masks that are good, delete the others; return what is missing.

        Good ones of objects that the robot would leave out stay, too.
        """
        work, missing, left_out = Work(), list(truths), list(others)
        for one in list_annotations(self.store, image.id):
            work.num_prefilled += 1
            mask = decode_rle(one.rle)
            if _take_match(mask, missing) or _take_match(mask, left_out):
                work.num_accepted += 1
            else:
                delete_annotation(self.store, one.id, user_id=self._robot.id, version=one.version)
        return work, missing

    def _save(self, image: StoredImage, truth: BoolArray, answer: ClickedMask, version: int) -> int:
        """Save a mask with its clicks, or paint it; returns what it cost."""
        is_painted = max(answer.ious) < TARGET_IOU
        events = [
            NewEvent(
                kind="point",
                data={"xy": [click.x, click.y], "label": int(click.is_foreground)},
                model_version_id=version,
            )
            for click in answer.clicks
        ]
        if is_painted:
            events += [NewEvent(kind="brush", data={})] * self.learning.paint_clicks
        save_annotation(
            self.store,
            image_id=image.id,
            user_id=self._robot.id,
            rle=encode_rle(truth if is_painted else answer.answer),
            events=events,
            score=None if is_painted else answer.iou_pred[-1],
        )
        return len(events)

    def _add(self, source: SampleSource, index: int, sample: Sample) -> None:
        name = f"{index:06}.png"
        Image.fromarray(sample.image).save(self._images / name, compress_level=1)
        image = add_image(self.store, self.project.id, name)
        self._samples[image.id] = (source, index)
        self._queue.append(image)

    def _counter(self, what: str, total: int) -> Callable[[], None]:
        done = iter(range(1, total + 1))
        return lambda: self._on_image(what, next(done), total)


@dataclass(kw_only=True)
class Work:
    """What a robot did on an image."""

    num_masks: int = 0
    clicks: int = 0
    num_prefilled: int = 0
    num_accepted: int = 0


def _take_match(mask: BoolArray, truths: list[BoolArray]) -> bool:
    """Remove the true mask that a mask is good enough for from a list, if there is one."""
    ious = [mask_iou(mask, truth) for truth in truths]
    if not ious or max(ious) < TARGET_IOU:
        return False
    truths.pop(int(np.argmax(ious)))
    return True


def can_prefill(confidence: Confidence) -> bool:
    """Whether any mask is sure enough."""
    return confidence.threshold is not None


def is_set_aside(sample: Sample) -> bool:
    """Whether an image is for measuring alone: its pixels decide."""
    digest = hashlib.sha256(sample.image.tobytes()).digest()
    return int.from_bytes(digest[:4], "big") < HELD_OUT_SHARE * 2**32
