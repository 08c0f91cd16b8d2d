"""`samkit segment`: masks from words, clicks, boxes and earlier masks."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from samkit.cli.mask_files import COCO_NAME
from samkit.cli.options import (
    DEFAULT_DETECTOR,
    BackendChoice,
    Numbers,
    backend_options,
    json_option,
    model_option,
    output_option,
    text_options,
)
from samkit.cli.prompts import (
    Ask,
    ask_from_entry,
    is_ambiguous,
    prompts_from_options,
    read_prompts_file,
)
from samkit.cli.results import make_record, summary, write_coco, write_results
from samkit.errors import ImageError, PromptError, SamkitError

if TYPE_CHECKING:
    from samkit.formats.image import RgbImage
    from samkit.predict import Predictor
    from samkit.types import MaskPrediction

FORMATS = ("overlay", "png", "json", "coco", "logits")
DEFAULT_FORMATS = ("overlay", "png", "json")
EXIT_SOME_FAILED = 1


@dataclass(frozen=True, kw_only=True)
class Task:
    """One image and what it is asked."""

    image: Path
    ask: Ask


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What to compute and what to write, the same for all images of a run."""

    output: Path
    formats: frozenset[str]
    multimask: bool | None
    every_candidate: bool
    text_thresh: float | None = None


@click.command()
@click.argument("images", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--text",
    "texts",
    multiple=True,
    metavar="WORDS",
    help='What to look for, such as "a red car"; may be given several times. Points correct it.',
)
@click.option("--point", "points", type=Numbers("x", "y"), multiple=True, help="A point inside.")
@click.option(
    "--background", "backgrounds", type=Numbers("x", "y"), multiple=True, help="A point outside."
)
@click.option(
    "--box",
    "boxes",
    type=Numbers("x0", "y0", "x1", "y1"),
    multiple=True,
    help="A box around the object. Several boxes without points mean several objects.",
)
@click.option(
    "--mask",
    type=click.Path(path_type=Path),
    metavar="FILE.npy",
    help="Logits of an earlier answer (--format logits writes them), to be refined.",
)
@click.option(
    "--prompts",
    "prompts_file",
    type=click.Path(path_type=Path),
    metavar="FILE.json",
    help='A prompt for each image: {"a.jpg": {"points": [[x, y]], "labels": [1], "box": [x0, y0,'
    ' x1, y1], "mask": "prev.npy", "text": "a red car"}}. Without IMAGES, the images it names, from'
    " its own folder.",
)
@model_option
@text_options(f"the model's own CLIP if it takes text, else {DEFAULT_DETECTOR}")
@backend_options
@output_option("samkit-output")
@click.option(
    "--format",
    "formats",
    type=click.Choice(FORMATS),
    multiple=True,
    default=DEFAULT_FORMATS,
    show_default=True,
    help="What to write; may be given several times.",
)
@click.option(
    "--multimask/--single-mask",
    default=None,
    help="Choose among three candidates, or take the single answer. By default three for a lone"
    " point, which may mean a part or the whole, and one otherwise.",
)
@click.option("--all", "every_candidate", is_flag=True, help="Write all three candidates.")
@json_option
def segment(
    *,
    images: tuple[Path, ...],
    texts: tuple[str, ...],
    points: tuple[tuple[float, ...], ...],
    backgrounds: tuple[tuple[float, ...], ...],
    boxes: tuple[tuple[float, ...], ...],
    mask: Path | None,
    prompts_file: Path | None,
    model: str,
    text_model: str | None,
    text_thresh: float | None,
    backend: BackendChoice,
    output: Path,
    formats: tuple[str, ...],
    multimask: bool | None,
    every_candidate: bool,
    as_json: bool,
) -> int:
    """Cut out what words say, or clicks, boxes or earlier masks show.

    \b
    samkit segment image.jpg --point 500,375
    samkit segment image.jpg --text "a red car"
    samkit segment image.jpg --box 100,100,400,300 --background 10,10
    samkit segment --prompts prompts.json --format coco
    """
    has_prompt = bool(points or backgrounds or boxes or mask)
    from_options = has_prompt or bool(texts)
    if not texts and prompts_file is None and (text_model or text_thresh is not None):
        raise click.UsageError("--text-model and --text-thresh go with --text")
    if prompts_file is not None:
        if from_options:
            raise click.UsageError("give prompts either as options or as a file, not both")
        tasks = tasks_from_file(prompts_file, images)
    elif not images:
        raise click.UsageError("give at least one image")
    elif not from_options:
        raise click.UsageError(
            "give a prompt: --point X,Y, --box X0,Y0,X1,Y1, --text WORDS or --mask FILE.npy"
        )
    else:
        prompts = prompts_from_options(points, backgrounds, boxes, mask) if has_prompt else None
        ask = Ask(prompts=prompts, text=texts)
        tasks = [Task(image=image, ask=ask) for image in images]
    choices = Choices(
        output=output,
        formats=frozenset(formats),
        multimask=True if every_candidate else multimask,
        every_candidate=every_candidate,
        text_thresh=text_thresh,
    )
    return segment_images(
        tasks, choices, model=model, text_model=text_model, backend=backend, as_json=as_json
    )


def tasks_from_file(path: Path, images: Sequence[Path]) -> list[Task]:
    """Tasks from a JSON file of prompts by image, for the named images or for all it has.

    Raises:
        PromptError: missing or damaged file, unknown keys, an image without a prompt.
    """
    by_image = read_prompts_file(path)
    if not images:
        return [
            Task(image=path.parent / name, ask=ask_from_entry(entry, path, name))
            for name, entry in by_image.items()
        ]
    tasks = []
    for image in images:
        name = next((n for n in (str(image), image.name) if n in by_image), None)
        if name is None:
            raise PromptError(f"{path} has no prompt for {image}")
        tasks.append(Task(image=image, ask=ask_from_entry(by_image[name], path, name)))
    return tasks


def segment_images(
    tasks: Sequence[Task],
    choices: Choices,
    *,
    model: str,
    text_model: str | None = None,
    backend: BackendChoice,
    as_json: bool,
) -> int:
    """Run tasks and write their results; return the exit code."""
    from samkit.files import check_writable
    from samkit.predict import Predictor

    check_names(tasks, choices.formats)
    check_writable(choices.output)
    if not any(task.image.exists() for task in tasks):  # before the model is loaded
        raise ImageError(f"no such file: {tasks[0].image}")
    predictor = Predictor.load(model, text_model=text_model, **backend)
    if any(task.ask.text for task in tasks):
        _ = predictor.text_model  # one that cannot be loaded is told before anything is written
    say = _say_nothing if as_json else click.echo
    records: list[dict[str, Any]] = []
    errors: list[dict[str, str]] = []
    with progress(len(tasks), hidden=as_json) as advance:
        for task in tasks:
            try:
                records.append(segment_image(task, choices, predictor))
                say(summary(records[-1]))
            except (ImageError, PromptError) as error:
                if len(tasks) == 1:
                    raise
                errors.append({"image": str(task.image), "error": str(error)})
                click.echo(f"samkit: skipped {task.image}: {error}", err=True)
            advance()
    if not records:
        raise SamkitError("no image could be segmented")
    if "coco" in choices.formats:
        say(str(write_coco(choices.output / COCO_NAME, records)))
    if as_json:
        click.echo(json.dumps({"results": records, "errors": errors}, indent=2))
    return EXIT_SOME_FAILED if errors else 0


def _say_nothing(text: str) -> None:
    """Take the place of `click.echo` where a program reads the output."""


def check_names(tasks: Sequence[Task], formats: Collection[str]) -> None:
    """Raise a PromptError if two files would be written to the same name."""
    seen: dict[str, Path] = {}
    if {"json", "coco"} <= set(formats):
        seen["coco"] = Path(COCO_NAME)
    for task in tasks:
        stem = task.image.stem
        if stem in seen:
            raise PromptError(
                f"{seen[stem]} and {task.image} would write the same files:"
                " run them with different --output"
            )
        seen[stem] = task.image


@contextmanager
def progress(total: int, *, hidden: bool) -> Iterator[Callable[[], None]]:
    """A progress bar on standard error, where a person watches; gives what advances it."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    shown = total > 1 and console.is_terminal and not hidden
    # Else rich would send to standard error what is printed into a file.
    bar = Progress(
        console=console, disable=not shown, transient=True, redirect_stdout=sys.stdout.isatty()
    )
    with bar:
        job = bar.add_task("images", total=total)
        yield lambda: bar.advance(job)


def segment_image(task: Task, choices: Choices, predictor: Predictor) -> dict[str, Any]:
    """Segment one image and write its results; return its record, which the JSON file holds."""
    from samkit.formats import read_image

    image, prompts = read_image(task.image), task.ask.prompts
    if prompts is not None:
        prompts.check_fits(predictor.coord_map(image))  # before the expensive step
    answer = answer_image(image, task.ask, choices, predictor)
    if not choices.every_candidate:
        answer = answer.best()
    record = make_record(task.image, answer, task.ask, predictor.model_name)
    choices.output.mkdir(parents=True, exist_ok=True)
    base = choices.output / task.image.stem
    write_results(base, image, answer, prompts=prompts, formats=choices.formats, record=record)
    return record


def answer_image(
    image: RgbImage, ask: Ask, choices: Choices, predictor: Predictor
) -> MaskPrediction:
    """Embed one image and answer what it is asked."""
    multimask = choices.multimask
    if not ask.text:
        assert ask.prompts is not None
        if multimask is None:
            multimask = is_ambiguous(ask.prompts)
        return predictor.decode(predictor.embed(image), ask.prompts, multimask=multimask)
    if multimask is None:  # words alone may mean several things, the boxes of a detector do not
        multimask = ask.prompts is None and predictor.reads_as_tokens
    return predictor.predict_text(
        predictor.embed(image),
        ask.text[0] if len(ask.text) == 1 else list(ask.text),
        image=image,
        text_thresh=choices.text_thresh,
        multimask=multimask,
        **ask.parts(),
    )
