"""Label Studio's machine learning backend: clicks, boxes and whole images become brush masks."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from samkit.annotations import LabelInterface, read_label_interface
from samkit.errors import DataError, ImageError, PromptError
from samkit.formats import brush_rle
from samkit.geometry import decode_rle
from samkit.serving.access import may_ask
from samkit.serving.errors import UnknownImageError
from samkit.serving.interface import Models
from samkit.serving.jobs import AutoJob, ImageFile, PredictJob, QuickJob, TextJob
from samkit.serving.label_studio_images import LabelStudioImages
from samkit.serving.routes import TheModels

PREFIX = "/label-studio"
MAX_TASKS = 1000
MAX_MASKS = 100  # of an image; brushes in the page take a canvas each
PERCENT = 100

router = APIRouter(prefix=PREFIX, dependencies=[Depends(may_ask)])


class Task(BaseModel):
    id: int | None = None
    data: dict[str, Any]


class Context(BaseModel):
    """What somebody has drawn: `result` as in Label Studio's annotations."""

    result: list[dict[str, Any]] = Field(default_factory=list, max_length=256)


class Params(BaseModel):
    context: Context | None = None


class PredictionRequest(BaseModel):
    tasks: list[Task] = Field(max_length=MAX_TASKS)
    label_config: str
    params: Params = Params()


class SetupRequest(BaseModel):
    label_config: str = Field(alias="schema")


class Prediction(BaseModel):
    model_version: str
    score: float
    result: list[dict[str, Any]]


class PredictionAnswer(BaseModel):
    results: list[Prediction]


def images_of(request: Request) -> LabelStudioImages:
    """Where images of tasks come from."""
    images: LabelStudioImages = request.app.state.label_studio
    return images


TheImages = Annotated[LabelStudioImages, Depends(images_of)]


@router.get("/health")
async def health(models: TheModels) -> dict[str, str]:
    """Whether the server runs."""
    return {"status": "UP", "model_class": version_of(models)}


@router.post("/setup")
async def setup(asked: SetupRequest, models: TheModels) -> dict[str, str]:
    """Check a project's labelling interface."""
    read_label_interface(asked.label_config)
    return {"model_version": version_of(models)}


@router.post("/predict")
async def predict(
    asked: PredictionRequest, models: TheModels, images: TheImages
) -> PredictionAnswer:
    """Answer what somebody has drawn on a task; without, find masks on each of the tasks."""
    interface = read_label_interface(asked.label_config)
    context = asked.params.context
    results = []
    for task in asked.tasks:
        answerer = TaskAnswerer(models, images, interface, task)
        try:
            with models.queue.place():
                if context is None:
                    found = await answerer.everything()
                else:
                    found = await answerer.drawn(context.result)
        except (DataError, ImageError, PromptError) as error:
            raise type(error)(f"task {task.id}: {error}") from error
        results.append(found)
    return PredictionAnswer(results=results)


def version_of(models: Models) -> str:
    """Name of the model, as Label Studio shows it beside predictions."""
    return f"samkit {models.info.description['model']}"


class TaskAnswerer:
    """Answers for one task."""

    def __init__(
        self, models: Models, images: LabelStudioImages, interface: LabelInterface, task: Task
    ) -> None:
        self.models, self.images, self.interface = models, images, interface
        self.task_id = task.id
        url = task.data.get(interface.key)
        if not isinstance(url, str) or not url:
            raise DataError(f"task {task.id} has no image as {interface.key!r}")
        self.url = url

    async def drawn(self, regions: Sequence[dict[str, Any]]) -> Prediction:
        """The best mask for points and a box that were drawn."""
        parts, label = prompts_of(regions)
        if not parts:
            return self._prediction([])
        # A click alone may mean several things; the best of them is taken.
        multimask = "boxes" not in parts and len(parts["points"]) == 1
        answer = await self._ask(
            lambda image: PredictJob(image=image, parts=parts, multimask=multimask, refine="fast")
        )
        best = max(answer["answers"][0]["masks"], key=lambda mask: mask["score"])
        return await self._answer([best], [label])

    async def everything(self) -> Prediction:
        """Masks of what the labels name if there is a text model, else of everything."""
        labels = self.interface.labels
        if self.models.info.reads_text and labels:
            answer = await self._ask(lambda image: TextJob(image=image, text=labels))
            masks = [max(one["masks"], key=lambda mask: mask["score"]) for one in answer["answers"]]
            return await self._answer(masks, [mask["phrase"] for mask in masks])
        image = await self._fetch()
        lines = self.models.stream(AutoJob(image=image, is_quick=True))
        masks = [mask async for line in lines if (mask := json.loads(line))["type"] == "mask"]
        masks = sorted(masks, key=lambda mask: -mask["score"])[:MAX_MASKS]
        only = labels[0] if len(labels) == 1 else None
        return await self._answer(masks, [only] * len(masks))

    async def _fetch(self) -> ImageFile:
        return await run_in_threadpool(self.images.fetch, self.url, self.task_id)

    async def _ask(self, job_of: Callable[[ImageFile], QuickJob]) -> dict[str, Any]:
        """Ask about the image, which is fetched unless it was before and is embedded still."""
        known = self.images.known(self.url)
        answer: dict[str, Any]
        if known is not None:
            try:
                answer = json.loads(await self.models.ask(job_of(known)))
            except UnknownImageError:
                pass
            else:
                return answer
        answer = json.loads(await self.models.ask(job_of(await self._fetch())))
        return answer

    async def _answer(
        self, masks: Sequence[dict[str, Any]], labels: Sequence[str | None]
    ) -> Prediction:
        pairs = [pair for pair in zip(masks, labels, strict=True) if pair[0]["area"]]
        regions = await run_in_threadpool(
            lambda: [self._region(mask, label) for mask, label in pairs]
        )
        return self._prediction(regions)

    def _prediction(self, regions: list[dict[str, Any]]) -> Prediction:
        score = min((one["score"] for one in regions), default=0.0)
        return Prediction(model_version=version_of(self.models), score=score, result=regions)

    def _region(self, mask: dict[str, Any], label: str | None) -> dict[str, Any]:
        rle = mask["segmentation"]
        height, width = rle["size"]
        return {
            "id": uuid.uuid4().hex[:10],
            "type": "brushlabels",
            "from_name": self.interface.brush,
            "to_name": self.interface.image,
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "score": mask["score"],
            "value": {
                "format": "rle",
                "rle": brush_rle(decode_rle(rle)),
                "brushlabels": [] if label is None else [label],
            },
        }


def prompts_of(regions: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], str | None]:
    """Points, labels and the last box among regions, in pixels, and the label that they have.

    Raises:
        PromptError: the image was rotated, or a region is broken.
    """
    points: list[list[float]] = []
    signs: list[int] = []
    box, label = None, None
    for region in regions:
        kind, value = str(region.get("type", "")), region.get("value")
        if not kind.startswith(("keypoint", "rectangle")) or not isinstance(value, dict):
            continue
        if region.get("image_rotation") or value.get("rotation"):
            raise PromptError("rotated images and boxes cannot be answered: rotate them back")
        try:
            x_scale = region["original_width"] / PERCENT
            y_scale = region["original_height"] / PERCENT
            x, y = value["x"] * x_scale, value["y"] * y_scale
            if kind.startswith("keypoint"):
                points.append([x, y])
                signs.append(int(bool(region.get("is_positive", True))))
            else:
                box = [x, y, x + value["width"] * x_scale, y + value["height"] * y_scale]
        except (KeyError, TypeError) as error:
            raise PromptError(f"a region of type {kind!r} has no {error}") from error
        names = value.get(kind)
        if isinstance(names, list) and names:
            label = str(names[0])
    parts: dict[str, Any] = {}
    if points:
        parts |= {"points": points, "labels": signs}
    if box is not None:
        parts["boxes"] = box
    return parts, label
