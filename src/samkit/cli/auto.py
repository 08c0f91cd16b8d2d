"""`samkit auto`: masks of everything in images, without prompts."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from samkit.cli.automask_options import (
    automask_options,
    config_from_options,
    tiling_from_option,
)
from samkit.cli.image_job import Choices, ClassChoice, ImageJob
from samkit.cli.inputs import InputImage, Skipped, find_images, name_results
from samkit.cli.mask_files import COCO_NAME, DEFAULT_FORMATS, FORMATS, SUFFIXES
from samkit.cli.options import (
    DEFAULT_DETECTOR,
    BackendChoice,
    backend_options,
    json_option,
    model_option,
    output_option,
    text_options,
)
from samkit.cli.progress import RunProgress, run_progress
from samkit.cli.runs import Record, RunFolder
from samkit.errors import FormatError, ImageError, OutputError, SamkitError

if TYPE_CHECKING:
    from samkit.types import Masks

EXIT_SOME_FAILED = 1
# Of an image's record, for the report and the data set of all images.
TOLD_FACTS = ("width", "height", "masks", "seconds", "files")


@click.command()
@click.argument("inputs", nargs=-1, metavar="INPUTS...")
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
    "--classes",
    metavar="WORDS,WORDS",
    help="Only things of these classes: car,tree. A detector finds them, or a CLIP names masks of"
    " everything; see --text-model.",
)
@click.option(
    "--others", is_flag=True, help="With --classes: also everything else, without a class."
)
@click.option(
    "--calibration",
    type=click.Path(path_type=Path),
    metavar="FILE.json",
    help="How far a CLIP's scores are to be believed (docs/text.md).",
)
@automask_options
@model_option
@text_options(DEFAULT_DETECTOR)
@backend_options
@output_option("samkit-output")
@json_option
def auto(
    *,
    inputs: tuple[str, ...],
    formats: tuple[str, ...],
    classes: str | None,
    others: bool,
    calibration: Path | None,
    preset: str | None,
    adaptive: bool | None,
    tile_px: int | None,
    model: str,
    text_model: str | None,
    text_thresh: float | None,
    backend: BackendChoice,
    output: Path,
    as_json: bool,
    **settings: Any,
) -> int:
    """Cut out everything in images, or all things of some classes, without prompts.

    INPUTS are images, folders with all that is in them, and patterns in quotes. What is in the
    output folder already is not done again: a stopped run goes on where it was.

    \b
    samkit auto image.jpg
    samkit auto images --classes car,tree --format coco
    samkit auto images --preset paper --format sa1b --format coco
    samkit auto 'images/**/*.png' --points-per-side 16 --iou-thresh 0.8
    """
    if not inputs:
        raise click.UsageError("give at least one image, folder or pattern")
    if classes is None and (others or calibration or text_model or text_thresh is not None):
        raise click.UsageError("--others, --calibration and --text-... go with --classes")
    if classes is not None and tile_px is not None:
        raise click.UsageError("--classes looks at whole images: it does not go with --tile")
    choices = Choices(
        classes=class_choice(classes, text_model, text_thresh, others, calibration),
        model=model,
        backend=backend,
        config=config_from_options(preset, {**settings, "adaptive": adaptive}),
        tiling=tiling_from_option(tile_px),
        output=output,
        formats=frozenset(formats),
    )
    images, skipped = find_images(inputs, output)
    images = name_results(images, list(SUFFIXES.values()), reserved=[COCO_NAME])
    return run_auto(choices, images, skipped, as_json=as_json)


def class_choice(
    classes: str | None,
    text_model: str | None,
    thresh: float | None,
    others: bool,  # noqa: FBT001
    calibration: Path | None,
) -> ClassChoice | None:
    """What options say of classes; None for masks of everything.

    Raises:
        PromptError: no class, or an empty one.
        FormatError: the calibration cannot be read.
    """
    if classes is None:
        return None
    from samkit.text import Calibration, check_texts

    words = tuple(dict.fromkeys(word.strip() for word in classes.split(",")))
    check_texts(words)
    return ClassChoice(
        classes=words,
        text_model=text_model or DEFAULT_DETECTOR,
        thresh=thresh,
        others=others,
        calibration=None if calibration is None else Calibration.load(calibration),
    )


def run_auto(
    choices: Choices, images: Sequence[InputImage], skipped: Sequence[Skipped], *, as_json: bool
) -> int:
    """Do images, write their results and tell them; return the exit code."""
    from samkit.files import check_writable

    check_writable(choices.output)
    run = RunFolder(choices.output, choices.settings())
    report = Report(choices.output, len(images) + len(skipped), as_json=as_json)
    with run_progress(len(images), hidden=as_json) as progress:
        for one in skipped:
            report.skip(one.image, SamkitError(one.error))
        to_do = (image.path for image in images if run.finished(image) is None)
        if any(os.path.exists(path) for path in to_do):  # noqa: PTH110 - takes names that cannot be
            _ = choices.masker  # a model that cannot be loaded is told before anything is written
        with run.writing():
            try:
                for image in images:
                    do_image(image, run, choices, report, progress)
            except KeyboardInterrupt:
                report.tell_interruption()
                raise
            report.check_any()
            if "coco" in choices.formats:
                report.coco = write_coco_file(run, choices, report.done)
    return report.finish(progress)


def do_image(
    image: InputImage, run: RunFolder, choices: Choices, report: Report, progress: RunProgress
) -> None:
    """Bring one image's results to their places, unless they are there; or skip it."""
    new_masks = None
    try:
        job = ImageJob(image=image, run=run, choices=choices, earlier=run.finished(image))
        if job.earlier is not None and not job.missing:
            report.add(image, job.earlier, is_new=False)
        else:
            progress.start_image(image.name)
            record, is_new = job.do(progress.within_image)
            new_masks = int(record["masks"]) if is_new else None
            report.add(image, record, is_new=is_new)
    except (ImageError, FormatError) as error:
        report.skip(str(image.path), error)
    except OutputError as error:
        # Only an image's name may be too long for its results; the disk is full for all images.
        if getattr(error.__cause__, "errno", None) != errno.ENAMETOOLONG:
            raise
        report.skip(str(image.path), error)
    except (MemoryError, RuntimeError) as error:
        # Torch says so with a RuntimeError.
        if isinstance(error, RuntimeError) and "memory" not in str(error).lower():
            raise
        advice = "try --tile 1024" if choices.classes is None else "make it smaller"
        report.skip(str(image.path), ImageError(f"not enough memory for {image.path}: {advice}"))
    progress.finish_image(new_masks)


def write_coco_file(
    run: RunFolder, choices: Choices, done: Sequence[tuple[InputImage, Record]]
) -> Path:
    """Write one COCO data set of all images that are done, from their masks on disk."""
    from samkit.formats import read_sa1b, write_coco

    def images() -> Iterator[tuple[str, Masks]]:
        for image, record in done:
            job = ImageJob(image=image, run=run, choices=choices, earlier=record)
            yield image.name, read_sa1b(job.masks_path(record))

    with run.publishing() as staging:
        classes = () if choices.classes is None else choices.classes.classes
        write_coco(staging / COCO_NAME, images(), classes=classes)
    return choices.output / COCO_NAME


class Report:
    """What a run tells: people while it runs, programs at its end.

    Attributes:
        done: images with results, those of earlier runs too.
        coco: the data set of all images, if it was written.
    """

    def __init__(self, output: Path, inputs_count: int, *, as_json: bool) -> None:
        self.done: list[tuple[InputImage, Record]] = []
        self.coco: Path | None = None
        self._output = output
        self._inputs_count = inputs_count
        self._as_json = as_json
        self._new: set[InputImage] = set()
        self._errors: list[tuple[str, SamkitError]] = []

    def add(self, image: InputImage, record: Record, *, is_new: bool) -> None:
        """An image is done, now or (not `is_new`) by an earlier run."""
        self.done.append((image, {key: record[key] for key in TOLD_FACTS}))
        if is_new:
            self._new.add(image)
            if record["files"].get("overlay") == []:
                click.echo(f"samkit: no overlay of {image.path}: it is too large", err=True)
            if not self._as_json:
                masks = _count(record["masks"], "mask")
                click.echo(f"{image.path}: {masks}, {record['seconds']:.1f} s")

    def skip(self, image: str, error: SamkitError) -> None:
        """An input cannot be done."""
        self._errors.append((image, error))
        if self._inputs_count > 1:
            click.echo(f"samkit: skipped {image}: {error}", err=True)

    def tell_interruption(self) -> None:
        """The user stopped the run."""
        counts = f"{len(self.done)} of {_count(self._inputs_count, 'image')}"
        click.echo(f"samkit: {counts} done; the same command goes on from here", err=True)

    def check_any(self) -> None:
        """Raise the error, or one for all, if nothing could be done."""
        if self.done:
            return
        if len(self._errors) == 1:
            raise self._errors[0][1]
        raise SamkitError("no image could be segmented")

    def finish(self, progress: RunProgress) -> int:
        """Tell the results; return the exit code."""
        if self._as_json:
            click.echo(json.dumps(self._as_record(), indent=2))
        else:
            click.echo(self._summary(progress))
        if self._errors and not self._as_json:
            names = ", ".join(image for image, _ in self._errors)
            click.echo(f"samkit: {len(self._errors)} skipped: {names}", err=True)
        return EXIT_SOME_FAILED if self._errors else 0

    def _summary(self, progress: RunProgress) -> str:
        parts = [f"{_count(len(self._new), 'image')} done"]
        if before := len(self.done) - len(self._new):
            parts.append(f"{before} done before")
        if self._new:
            parts.append(f"{_count(progress.masks, 'mask')} in {progress.elapsed_s:.1f} s")
            parts.append(progress.rates())
        parts.append(f"results in {self._output}")
        return ", ".join(parts)

    def _as_record(self) -> dict[str, Any]:
        results = [
            {
                "image": str(image.path),
                **record,
                "done_before": image not in self._new,
                "files": {
                    name: [str(self._output / file) for file in files]
                    for name, files in record["files"].items()
                },
            }
            for image, record in self.done
        ]
        errors = [{"image": image, "error": str(error)} for image, error in self._errors]
        coco = None if self.coco is None else str(self.coco)
        return {"results": results, "errors": errors, "coco": coco}


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
