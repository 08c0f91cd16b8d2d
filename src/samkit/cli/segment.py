"""The command `samkit segment`: masks from text, clicks, boxes and earlier masks."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from samkit.backends import BackendChoice
from samkit.batch import (
    COCO_NAME,
    DEFAULT_SEGMENT_FORMATS,
    SEGMENT_FORMATS,
    ImagePrompt,
    InProcess,
    PageChoice,
    PromptedImage,
    SegmentOptions,
    SegmentWork,
    SelectWork,
    Skipped,
    check_models,
    check_result_names,
    prompts_from_options,
    read_prompted_images,
    selection_summary,
    summary,
)
from samkit.cli.exit_codes import EXIT_SOME_FAILED
from samkit.cli.options import (
    DEFAULT_DETECTOR,
    Numbers,
    backend_options,
    json_option,
    model_option,
    output_option,
    pages_option,
    range_option,
    refine_option,
    text_options,
)
from samkit.cli.progress import progress
from samkit.errors import ImageError, PromptError, SamkitError

if TYPE_CHECKING:
    from samkit.batch import Work
    from samkit.predict import Refine

    Prompting = Work[PromptedImage, PromptedImage, Any, dict[str, Any]]


@click.command()
@click.argument("images", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--text",
    "texts",
    multiple=True,
    metavar="WORDS",
    help='What to segment, such as "a red car"; repeatable. Points correct the answer.',
)
@click.option(
    "--point",
    "points",
    type=Numbers("x", "y"),
    multiple=True,
    help="A point inside of the object; repeatable.",
)
@click.option(
    "--background",
    "backgrounds",
    type=Numbers("x", "y"),
    multiple=True,
    help="A point outside of the object; repeatable.",
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
    metavar="FILE",
    help="A mask to be refined: an image of the same size, a .npy file of booleans, or one of mask"
    " logits, which --format logits writes.",
)
@click.option(
    "--prompts",
    "prompts_file",
    type=click.Path(path_type=Path),
    metavar="FILE.json",
    help='Prompts by image: {"a.jpg": {"points": [[x, y]], "labels": [1], "box": [x0, y0, x1, y1],'
    ' "mask": "prev.npy", "text": "a red car"}}. Without IMAGES, all images that it names,'
    " relative to its folder.",
)
@click.option(
    "--from",
    "masks_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Select among masks of everything, such as those of `samkit auto`, by points, boxes or a"
    " CLIP, instead of asking a model: any annotation file.",
)
@model_option
@text_options(f"the model's own CLIP if it takes text, else {DEFAULT_DETECTOR}")
@backend_options
@output_option("samkit-output")
@click.option(
    "--format",
    "formats",
    type=click.Choice(SEGMENT_FORMATS),
    multiple=True,
    default=DEFAULT_SEGMENT_FORMATS,
    show_default=True,
    help="File format of the results; repeatable.",
)
@click.option(
    "--multimask/--single-mask",
    default=None,
    help="Take the best of three candidates, or the single answer. By default the best of three"
    " for a single point, which may mean a part or the whole, and the single answer otherwise.",
)
@refine_option()
@click.option("--fine", is_flag=True, help="Masks follow the image's edges at full resolution.")
@range_option
@pages_option
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
    masks_file: Path | None,
    model: str,
    text_model: str | None,
    text_thresh: float | None,
    backend: BackendChoice,
    output: Path,
    formats: tuple[str, ...],
    multimask: bool | None,
    refine: Refine,
    fine: bool,
    value_range: str,
    pages: PageChoice | None,
    every_candidate: bool,
    as_json: bool,
) -> int:
    """Segment objects given by text, clicks, boxes or earlier masks.

    \b
    samkit segment image.jpg --point 500,375
    samkit segment image.jpg --text "a red car"
    samkit segment image.jpg --box 100,100,400,300 --background 10,10
    samkit segment --prompts prompts.json --format coco
    samkit segment image.jpg --from samkit-output/image.json --point 500,375
    samkit segment stack.tif --pages 2-5 --box 100,100,400,300 --range 0,4095
    """
    if masks_file is not None and (
        refine != "none" or fine or every_candidate or multimask is not None or "logits" in formats
    ):
        raise click.UsageError("--from selects finished masks: no --refine, --fine or candidates")
    if texts and refine != "none":
        raise click.UsageError("--refine is for clicks and boxes, not for --text")
    skipped: list[Skipped] = []
    has_prompt = bool(points or backgrounds or boxes or mask)
    from_options = has_prompt or bool(texts)
    if not texts and prompts_file is None and (text_model or text_thresh is not None):
        raise click.UsageError("--text-model and --text-thresh need --text")
    if pages is not None:
        images = tuple(page for image in images for page in pages.pages_of(image))
    if prompts_file is not None:
        if from_options:
            raise click.UsageError("give prompts either as options or as a file, not both")
        prompted, skipped = read_prompted_images(prompts_file, images)
    elif not images:
        raise click.UsageError("give at least one image")
    elif not from_options:
        raise click.UsageError(
            "give a prompt: --point X,Y, --box X0,Y0,X1,Y1, --text WORDS or --mask FILE"
        )
    else:
        prompts = prompts_from_options(points, backgrounds, boxes, mask) if has_prompt else None
        prompt = ImagePrompt(prompts=prompts, text=texts)
        prompted = [PromptedImage(image=image, prompt=prompt) for image in images]
    if masks_file is not None:
        return select_masks(
            prompted,
            masks_file,
            output=output,
            formats=frozenset(formats),
            text_model=text_model,
            value_range=value_range,
            as_json=as_json,
            skipped=skipped,
        )
    return segment_images(
        prompted,
        SegmentOptions(
            multimask=True if every_candidate else multimask,
            every_candidate=every_candidate,
            text_thresh=text_thresh,
            value_range=value_range,
            refine=refine,
            fine=fine,
        ),
        output=output,
        formats=frozenset(formats),
        model=model,
        text_model=text_model,
        backend=backend,
        as_json=as_json,
        skipped=skipped,
    )


def segment_images(
    images: Sequence[PromptedImage],
    options: SegmentOptions,
    *,
    output: Path,
    formats: frozenset[str],
    model: str,
    text_model: str | None = None,
    backend: BackendChoice,
    as_json: bool,
    skipped: Sequence[Skipped] = (),
) -> int:
    """Answer the prompts of images, write and print the results; return the exit code.

    Args:
        skipped: images without a valid prompt, which are printed and count as errors.
    """
    from samkit.files import check_writable
    from samkit.formats import page_file
    from samkit.predict import Predictor

    if len(skipped) == 1 and not images:
        raise PromptError(f"{skipped[0].image}: {skipped[0].error}")
    for one in skipped:
        _print_skipped(one)
    if not images:
        raise SamkitError("no image has a valid prompt")
    check_result_names(images, formats)
    check_writable(output)
    if not any(page_file(one.image).exists() for one in images):  # before the model is loaded
        raise ImageError(f"no such file: {page_file(images[0].image)}")
    check_models(images, model=model, text_model=text_model)
    predictor = Predictor.load(model, text_model=text_model, **backend.options())
    if any(one.prompt.text for one in images):
        _ = predictor.text_model  # loads it: errors must come before anything is written
    work = SegmentWork(predictor=predictor, output=output, formats=formats, options=options)
    return run_and_report(
        work, images, output=output, formats=formats, as_json=as_json, skipped=skipped
    )


def select_masks(
    images: Sequence[PromptedImage],
    masks_file: Path,
    *,
    output: Path,
    formats: frozenset[str],
    text_model: str | None,
    value_range: str,
    as_json: bool,
    skipped: Sequence[Skipped],
) -> int:
    """Select among masks of a file, write and print the results; return the exit code."""
    from samkit.files import check_writable

    for one in skipped:
        _print_skipped(one)
    if not images:
        raise SamkitError("no image has a valid prompt")
    check_result_names(images, formats)
    check_writable(output)
    work = SelectWork.open(
        masks_file, output=output, formats=formats, text_model=text_model, value_range=value_range
    )
    return run_and_report(
        work, images, output=output, formats=formats, as_json=as_json, skipped=skipped
    )


def run_and_report(
    work: Prompting,
    images: Sequence[PromptedImage],
    *,
    output: Path,
    formats: frozenset[str],
    as_json: bool,
    skipped: Sequence[Skipped],
) -> int:
    """Process all images, and print their results; return the exit code."""
    say = _print_nothing if as_json else click.echo
    records, failed = run_work(work, images, say, as_json=as_json, is_only=not skipped)
    errors = [asdict(one) for one in (*skipped, *failed)]
    if not records:
        raise SamkitError("no image could be segmented")
    if "coco" in formats:
        from samkit.formats import write_coco_records

        say(str(write_coco_records(output / COCO_NAME, records)))
    if as_json:
        click.echo(json.dumps({"results": records, "errors": errors}, indent=2))
    return EXIT_SOME_FAILED if errors else 0


def run_work(
    work: Prompting,
    images: Sequence[PromptedImage],
    say: Callable[[str], None],
    *,
    as_json: bool,
    is_only: bool,
) -> tuple[list[dict[str, Any]], list[Skipped]]:
    """Process all images, with progress; return the records of results, and the failed images.

    Args:
        is_only: whether there are no images but these; the error of a single one is raised.

    Raises:
        ImageError, PromptError: the only image failed.
    """
    records: list[dict[str, Any]] = []
    failed: list[Skipped] = []
    with progress("image", len(images), bar=len(images) > 1 and not as_json) as meter:
        meter.start()
        for outcome in InProcess().run(work, images):
            if outcome.error is not None:
                if is_only and len(images) == 1:
                    raise outcome.error
                failed.append(Skipped(image=str(outcome.item.image), error=str(outcome.error)))
                _print_skipped(failed[-1])
            elif outcome.result is not None:
                records.append(outcome.result)
                say(summary_of(work, outcome.result))
            meter.advance(worked=outcome.error is None)
    return records, failed


def summary_of(work: Prompting, record: dict[str, Any]) -> str:
    """Describe one image's masks and files."""
    return selection_summary(record) if isinstance(work, SelectWork) else summary(record)


def _print_skipped(image: Skipped) -> None:
    click.echo(f"samkit: skipped {image.image}: {image.error}", err=True)


def _print_nothing(text: str) -> None:
    """Replaces `click.echo` when a program reads the output."""
