"""The command `samkit track`: objects of a video followed through its frames."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from samkit.backends import BackendChoice
from samkit.batch import DEFAULT_TRACK_FORMATS, TRACK_FORMATS
from samkit.cli.options import (
    backend_options,
    json_option,
    model_option,
    output_option,
    policy_option,
)
from samkit.cli.progress import progress
from samkit.errors import PromptError
from samkit.weights import check_source

if TYPE_CHECKING:  # OpenCV takes a tenth of a second to import
    from samkit.batch import ObjectPrompt
    from samkit.video import FrameSource, VideoAnswer

PROMPT = re.compile(r"(?:(?P<object>\d+)@)?(?P<frame>\d+):(?P<rest>.+)", re.DOTALL)
FramePrompt = tuple[int | None, int, Any]


class InFrame(click.ParamType[FramePrompt]):
    """Option type: what is in a frame, and of which object: [OBJECT@]FRAME:..."""

    def __init__(self, *fields: str) -> None:
        self.fields = fields
        self.name = "in-frame"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> FramePrompt:
        if isinstance(value, tuple):
            return value
        match = PROMPT.fullmatch(str(value))
        content: Any = None
        if match is not None:
            content = match["rest"]
            if len(self.fields) > 1:
                try:
                    content = tuple(float(part) for part in content.split(","))
                except ValueError:
                    content = ()
        if match is None or (len(self.fields) > 1 and len(content) != len(self.fields)):
            self.fail(f"expected {self._form()}; got {value!r}", param, ctx)
        name = match["object"]
        return (None if name is None else int(name), int(match["frame"]), content)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:  # noqa: ARG002
        return self._form()

    def _form(self) -> str:
        return f"[OBJECT@]FRAME:{','.join(self.fields)}"


@click.command()
@click.argument("video", metavar="VIDEO")
@click.option(
    "--point",
    "points",
    type=InFrame("X", "Y"),
    multiple=True,
    help="A point inside of an object in a frame; frames count from 0. Repeatable.",
)
@click.option(
    "--background",
    "backgrounds",
    type=InFrame("X", "Y"),
    multiple=True,
    help="A point outside of an object; repeatable.",
)
@click.option(
    "--box",
    "boxes",
    type=InFrame("X0", "Y0", "X1", "Y1"),
    multiple=True,
    help="A box around an object; repeatable.",
)
@click.option(
    "--mask",
    "masks",
    type=InFrame("FILE"),
    multiple=True,
    help="A label image of a frame's size, in which each number is an object; repeatable.",
)
@click.option("--reverse", is_flag=True, help="Follow objects back to the beginning as well.")
@click.option(
    "--every",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Follow and write only each N-th frame, from frame 0.",
)
@click.option(
    "--fill",
    is_flag=True,
    help="With --every, write all frames: masks between are moved there by optical flow.",
)
@click.option("--non-overlapping", is_flag=True, help="Each pixel belongs to one object at most.")
@model_option
@policy_option
@backend_options
@output_option("samkit-track")
@click.option(
    "--format",
    "formats",
    type=click.Choice(TRACK_FORMATS),
    multiple=True,
    default=DEFAULT_TRACK_FORMATS,
    show_default=True,
    help="File format of the results; repeatable.",
)
@json_option
def track(
    *,
    video: str,
    points: tuple[FramePrompt, ...],
    backgrounds: tuple[FramePrompt, ...],
    boxes: tuple[FramePrompt, ...],
    masks: tuple[FramePrompt, ...],
    reverse: bool,
    every: int,
    fill: bool,
    non_overlapping: bool,
    model: str,
    policy: str | None,
    backend: BackendChoice,
    output: Path,
    formats: tuple[str, ...],
    as_json: bool,
) -> int:
    """Follow objects through a video, from points, boxes and masks in any of its frames.

    VIDEO is a file or a folder of frames. Each prompt is an object of its own, 1, 2, ... in the
    order points, boxes; prompts with the same number, as in 2@0:500,375, are of one object. A
    stopped run resumes if the same command is given again.

    \b
    samkit track clip.mp4 --point 0:500,375
    samkit track clip.mp4 --point 1@0:500,375 --background 1@0:10,10 --box 2@12:100,100,400,300
    samkit track frames --mask 0:first.png --format png --format coco
    samkit track clip.mp4 --point 0:500,375 --every 4 --fill
    """
    from samkit.video import open_frames

    prompts = read_prompts(points, backgrounds, boxes, masks)
    if not prompts:
        raise click.UsageError(
            "give a prompt: --point FRAME:X,Y, --box FRAME:X0,Y0,X1,Y1 or --mask FRAME:FILE"
        )
    check_source(model)
    if fill and every == 1:
        raise click.UsageError("--fill needs --every N: all frames are tracked without it")
    source = open_frames(video)
    prompts = [in_every(prompt, every) for prompt in prompts]
    try:
        answers, written = track_objects(
            source,
            prompts,
            names=frame_names(source),
            fill=fill,
            video_name=video,
            settings={"every": every, "reverse": reverse, "non_overlapping": non_overlapping},
            model=model,
            policy=policy,
            backend=backend,
            output=output,
            formats=formats,
            shows_progress=not as_json,
        )
    finally:
        source.close()
    report(answers, written, as_json=as_json)
    return 0


def track_objects(
    source: FrameSource,
    prompts: Sequence[ObjectPrompt],
    *,
    names: Sequence[str],
    video_name: str,
    settings: dict[str, Any],
    model: str,
    policy: str | None,
    backend: BackendChoice,
    output: Path,
    formats: Sequence[str],
    shows_progress: bool,
    fill: bool = False,
) -> tuple[list[VideoAnswer], list[Path]]:
    """Follow objects in each N-th frame and write the results; return answers and files.

    Prompts count each N-th frame; the source and the names are of all.
    """
    from samkit.batch import TrackFolder, follow_objects, write_tracks
    from samkit.files import check_writable
    from samkit.video import EveryNth, VideoPredictor, fill_between

    check_writable(output)
    every, all_frames, all_names = settings["every"], source, names
    if every > 1:
        source, names = EveryNth(source, every), names[::every]
    count = len(names)
    for prompt in prompts:
        if prompt.index >= count:
            source.read(prompt.index)  # says which frames there are, before the model is loaded
    predictor = VideoPredictor.load(model, policy=policy, **backend.options())
    video = predictor.open_source(source, non_overlapping=settings["non_overlapping"])
    first = min(prompt.index for prompt in prompts)
    back = max(prompt.index for prompt in prompts) + 1 if settings["reverse"] else 0
    folder = TrackFolder(
        output,
        {
            "video": video_name,
            "frames": count,
            "prompts": [prompt.to_json() for prompt in prompts],
            "model": predictor.describe(),
            **settings,
        },
    )
    with folder.writing():
        with progress("frame", count - first + back, bar=shows_progress) as meter:
            meter.start()
            answers = follow_objects(
                video,
                prompts,
                folder,
                reverse=settings["reverse"],
                on_frame=lambda is_new: meter.advance(worked=is_new),
            )
        if fill:
            source, names = all_frames, all_names
            left = len(names) - answers[0].index * every
            with progress("frame filled", left, bar=shows_progress) as meter:
                meter.start()
                filled = []
                for answer in fill_between(answers, source, every):
                    filled.append(answer)
                    meter.advance()
                answers = filled
        written = write_tracks(
            answers,
            output,
            formats,
            frames=(source.read(index) for index in range(len(names))),
            names=names,
            video_name=video_name,
            rate=source.rate,
        )
    return answers, written


def report(answers: Sequence[VideoAnswer], written: Sequence[Path], *, as_json: bool) -> None:
    """Print how often each object was seen, and what was written."""
    found = summary(answers, written)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for object_id, own in found["objects"].items():
        click.echo(
            f"object {object_id}: in {own['present']} of {own['frames']} frames"
            + (f", uncertain in {own['uncertain']}" if own["uncertain"] else "")
        )
    for path in written:
        click.echo(str(path))


def summary(answers: Sequence[VideoAnswer], written: Sequence[Path]) -> dict[str, Any]:
    """How often each object was seen, and what was written."""
    objects: dict[int, dict[str, int]] = {}
    for answer in answers:
        for object_id, state in zip(answer.object_ids, answer.states, strict=True):
            own = objects.setdefault(object_id, {"frames": 0, "present": 0, "uncertain": 0})
            own["frames"] += 1
            own["present"] += state != "absent"
            own["uncertain"] += state == "uncertain"
    return {"objects": objects, "files": [str(path) for path in written]}


def read_prompts(
    points: Sequence[FramePrompt],
    backgrounds: Sequence[FramePrompt],
    boxes: Sequence[FramePrompt],
    masks: Sequence[FramePrompt],
) -> list[ObjectPrompt]:
    """Put the options together: one prompt for each object and frame.

    Raises:
        PromptError: a background point has no object, or a mask comes with other prompts.
        DataError: a mask cannot be read.
    """
    from samkit.batch import ObjectPrompt

    next_free = max((name or 0 for name, *_ in (*points, *backgrounds, *boxes)), default=0) + 1
    found: dict[tuple[int, int], dict[str, Any]] = {}

    def part(name: int | None, index: int) -> dict[str, Any]:
        nonlocal next_free
        if name is None:
            name, next_free = next_free, next_free + 1
        return found.setdefault((name, index), {"points": [], "labels": [], "box": None})

    for name, index, point in points:
        own = part(name, index)
        own["points"].append(point)
        own["labels"].append(1)
    for name, index, box in boxes:
        own = part(name, index)
        if own["box"] is not None:
            raise PromptError(f"object {name} has two boxes in frame {index}: give one")
        own["box"] = box
    only = {name for name, _ in found}
    for name, index, point in backgrounds:
        if name is None and len(only) != 1:
            raise PromptError(
                "--background needs its object where there are several: 2@FRAME:X,Y for object 2"
            )
        own = part(next(iter(only)) if name is None else name, index)
        own["points"].append(point)
        own["labels"].append(0)
    prompts = [
        ObjectPrompt(
            object_id=name,
            index=index,
            points_xy=tuple(own["points"]),
            labels=tuple(own["labels"]),
            box_xyxy=own["box"],
        )
        for (name, index), own in found.items()
    ]
    return [*prompts, *(mask for one in masks for mask in read_masks(one))]


def read_masks(prompt: FramePrompt) -> list[ObjectPrompt]:
    """The objects of a label image; with OBJECT@, the whole of it is that object."""
    from samkit.batch import ObjectPrompt
    from samkit.formats import read_labels

    name, index, path = prompt
    labels = read_labels(path).labels
    if name is not None:
        return [ObjectPrompt(object_id=name, index=index, mask=labels > 0)]
    numbers = sorted({int(number) for number in labels.reshape(-1)} - {0})
    if not numbers:
        raise PromptError(f"{path} has no object")
    return [
        ObjectPrompt(object_id=number, index=index, mask=labels == number) for number in numbers
    ]


def in_every(prompt: ObjectPrompt, every: int) -> ObjectPrompt:
    """The same prompt, with the frame counted among each N-th.

    Raises:
        PromptError: the frame is not one of them.
    """
    if prompt.index % every:
        raise PromptError(
            f"--every {every} has the frames 0, {every}, {2 * every}, ...; a prompt is in frame"
            f" {prompt.index}"
        )
    return replace(prompt, index=prompt.index // every)


def frame_names(source: FrameSource) -> list[str]:
    """A name for each frame: that of its file, or its number."""
    from samkit.video import FrameFolder

    if isinstance(source, FrameFolder):
        return source.names
    return [f"{index:05d}.png" for index in range(source.count or 0)]
