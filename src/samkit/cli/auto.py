"""The command `samkit auto`: masks of everything in images, without prompts."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from samkit.backends import BackendChoice
from samkit.batch import (
    COCO_NAME,
    COPY_SUFFIX,
    DEFAULT_FORMATS,
    DEFAULT_SHARD_IMAGES,
    FORMATS,
    SUFFIXES,
    AutoWork,
    ClassChoice,
    Executor,
    InputImage,
    MaskGenerator,
    PageChoice,
    Record,
    Skipped,
    find_images,
    name_results,
    run_with_retries,
    split_into_pages,
)
from samkit.cli.executors import ExecutorChoice, executor_options
from samkit.cli.exit_codes import EXIT_SOME_FAILED
from samkit.cli.mask_options import (
    config_from_options,
    mask_options,
    tiling_from_option,
)
from samkit.cli.options import (
    DEFAULT_DETECTOR,
    backend_options,
    json_option,
    model_option,
    output_option,
    pages_option,
    range_option,
    text_options,
)
from samkit.cli.progress import Meter, progress
from samkit.cli.wording import counted
from samkit.errors import SamkitError
from samkit.urls import is_url

# Fields of an image's record that are printed.
REPORTED = ("width", "height", "masks", "seconds", "files")


@click.command()
@click.argument("inputs", nargs=-1, metavar="INPUTS...")
@click.option(
    "--format",
    "formats",
    type=click.Choice(FORMATS),
    multiple=True,
    default=DEFAULT_FORMATS,
    show_default=True,
    help="File format of the results; repeatable.",
)
@click.option(
    "--shard-images",
    type=click.IntRange(min=1),
    default=DEFAULT_SHARD_IMAGES,
    show_default=True,
    metavar="N",
    help="With --format shards: number of images in each tar file.",
)
@click.option(
    "--classes",
    metavar="WORDS,WORDS",
    help="What to segment, such as car,tree; by default everything. A detector finds these objects,"
    " or a CLIP names masks of everything; see --text-model.",
)
@click.option(
    "--others",
    is_flag=True,
    help="With --classes: also write masks that no class fits, without a class.",
)
@click.option(
    "--calibration",
    type=click.Path(path_type=Path),
    metavar="FILE.json",
    help="Calibration of a CLIP's scores (docs/text.md).",
)
@mask_options
@model_option
@text_options(DEFAULT_DETECTOR)
@backend_options
@executor_options
@range_option
@pages_option
@output_option("samkit-output")
@json_option
def auto(
    *,
    inputs: tuple[str, ...],
    formats: tuple[str, ...],
    shard_images: int,
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
    where_to_run: ExecutorChoice,
    value_range: str,
    pages: PageChoice | None,
    output: Path,
    as_json: bool,
    **settings: Any,
) -> int:
    """Segment everything in images, or all objects of some classes, without prompts.

    INPUTS are images, folders (searched recursively) and quoted patterns, as paths or fsspec URLs.
    Images whose results are in the output folder are not repeated: an interrupted run resumes where
    it stopped.

    \b
    samkit auto image.jpg
    samkit auto images --classes car,tree --format coco
    samkit auto images --preset paper --format sa1b --format coco
    samkit auto 'images/**/*.png' --points-per-side 16 --iou-thresh 0.8
    samkit auto s3://bucket/images --format shards --ray auto
    """
    if not inputs:
        raise click.UsageError("give at least one image, folder or pattern")
    if classes is None and (others or calibration or text_model or text_thresh is not None):
        raise click.UsageError("--others, --calibration and --text-... need --classes")
    if classes is not None and tile_px is not None:
        raise click.UsageError("--classes cannot be combined with --tile")
    generator = MaskGenerator(
        model=model,
        backend=where_to_run.backend_of_workers(backend),
        config=config_from_options(preset, {**settings, "adaptive": adaptive}),
        tiling=tiling_from_option(tile_px),
        classes=class_choice(classes, text_model, text_thresh, others, calibration),
        value_range=value_range,
    )
    images, skipped = find_images(inputs, output)
    if pages is not None:
        images, without = split_into_pages(images, pages)
        skipped += without
    images = name_results(images, [*SUFFIXES.values(), COPY_SUFFIX], reserved=[COCO_NAME])
    work = AutoWork(
        generator=generator,
        output=output,
        formats=frozenset(formats),
        shard_images=shard_images,
    )
    return run_auto(work, images, skipped, where_to_run=where_to_run, as_json=as_json)


def class_choice(
    classes: str | None,
    text_model: str | None,
    thresh: float | None,
    others: bool,  # noqa: FBT001
    calibration: Path | None,
) -> ClassChoice | None:
    """Make the class choice from options; None for masks of everything.

    Raises:
        PromptError: there is no class, or an empty one.
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
    work: AutoWork,
    images: Sequence[InputImage],
    skipped: Sequence[Skipped],
    *,
    where_to_run: ExecutorChoice,
    as_json: bool,
) -> int:
    """Generate masks of images, write and print the results; return the exit code."""
    from samkit.files import check_writable

    generator, output = work.generator, work.output
    check_writable(output)
    report = RunReport(output, len(images) + len(skipped), as_json=as_json)
    with progress("image", len(images), bar=not as_json) as meter:
        if where_to_run.is_here:
            work = replace(work, on_progress=meter.part)
        for one in skipped:
            report.skip(one.image, SamkitError(one.error))
        to_do = [image for image in images if work.run.finished(image) is None]
        # os.path, since pathlib raises errors for names that no file can have.
        if any(is_url(image.file) or os.path.exists(image.file) for image in to_do):  # noqa: PTH110
            generator.check()
            if where_to_run.is_here:
                _ = generator.masker  # loads the model: errors come before anything is written
            if len(images) > 1 and not as_json:
                click.echo(f"samkit: {plan(generator, len(to_do), len(images), output)}", err=True)
        with work.run.writing(), where_to_run.start(generator.backend) as executor:
            try:
                do_images(work, images, executor, report, meter)
            except KeyboardInterrupt:
                report.interrupted()
                raise
            report.check_any()
            report.sort(images)
            if "coco" in work.formats:
                report.coco = work.write_coco(report.done)
            if "shards" in work.formats:
                report.shards = work.write_shards()
    return report.finish(meter)


def plan(generator: MaskGenerator, to_do: int, total: int, output: Path) -> str:
    """Describe the run in one line: images, settings, model, output."""
    before = f", {total - to_do} done before" if to_do < total else ""
    choice, config = generator.classes, generator.config
    if choice is not None:
        what = f"masks of {', '.join(choice.classes)} by {choice.text_model}"
    elif config.proposer == "grid":
        what = f"masks of everything, {config.points_per_side} x {config.points_per_side} points"
    else:
        what = f"masks of everything, up to {config.max_proposals} boxes"
    if generator.tiling is not None:
        what += f" in each tile of {generator.tiling.tile_px} pixels"
    return f"{counted(to_do, 'image')} to do{before}; {what}; {generator.model}; into {output}"


def do_images(
    work: AutoWork,
    images: Sequence[InputImage],
    executor: Executor,
    report: RunReport,
    meter: Meter,
) -> None:
    """Process all images, and report each."""

    def start(image: InputImage) -> None:
        meter.start(image.name)

    for outcome in run_with_retries(executor, work, images, on_start=start):
        is_new = False
        if outcome.error is not None:
            report.skip(outcome.item.source, outcome.error)
        elif outcome.result is not None:
            is_new = outcome.result.is_new
            report.add(outcome.item, outcome.result.record, is_new=is_new)
        meter.advance(worked=is_new)
        meter.note = report.rates(meter)


class RunReport:
    """RunReport of a run: as text while it runs, or as JSON at its end.

    Attributes:
        done: images with results, including those of earlier runs.
        masks: number of masks generated by this run.
        coco: path of the COCO file of all images; None if it was not written.
        shards: paths of all tar shards; None if none were to be written.
    """

    def __init__(self, output: Path, inputs_count: int, *, as_json: bool) -> None:
        self.done: list[tuple[InputImage, Record]] = []
        self.masks = 0
        self.coco: Path | None = None
        self.shards: list[Path] | None = None
        self._output = output
        self._inputs_count = inputs_count
        self._as_json = as_json
        self._new: set[InputImage] = set()
        self._errors: list[tuple[str, SamkitError]] = []

    def add(self, image: InputImage, record: Record, *, is_new: bool) -> None:
        """Add a finished image; `is_new` is false if an earlier run finished it."""
        self.done.append((image, {key: record[key] for key in REPORTED}))
        if is_new:
            self._new.add(image)
            self.masks += record["masks"]
            if record["files"].get("overlay") == []:
                click.echo(f"samkit: no overlay of {image.source}: it is too large", err=True)
            if not self._as_json:
                masks = counted(record["masks"], "mask")
                click.echo(f"{image.source}: {masks}, {record['seconds']:.1f} s")

    def skip(self, image: str, error: SamkitError) -> None:
        """Add an input that failed."""
        self._errors.append((image, error))
        if self._inputs_count > 1:
            click.echo(f"samkit: skipped {image}: {error}", err=True)

    def sort(self, images: Sequence[InputImage]) -> None:
        """Sort the results as the images are given: workers end in any order."""
        order = {image: index for index, image in enumerate(images)}
        self.done.sort(key=lambda one: order[one[0]])

    def interrupted(self) -> None:
        """RunReport that the user interrupted the run."""
        counts = f"{len(self.done)} of {counted(self._inputs_count, 'image')}"
        click.echo(f"samkit: {counts} done; run the same command again to resume", err=True)

    def check_any(self) -> None:
        """Raise an error if all images failed."""
        if self.done:
            return
        if len(self._errors) == 1:
            raise self._errors[0][1]
        raise SamkitError("no image could be segmented")

    def rates(self, meter: Meter) -> str:
        """Describe images and masks per second since the first image."""
        elapsed_s = max(meter.elapsed_s, 1e-9)
        return f"{len(self._new) / elapsed_s:.2f} images/s, {self.masks / elapsed_s:.1f} masks/s"

    def finish(self, meter: Meter) -> int:
        """Print the results; return the exit code."""
        if self._as_json:
            click.echo(json.dumps(self._as_record(), indent=2))
        else:
            click.echo(self._summary(meter))
        if self._errors and not self._as_json:
            names = ", ".join(image for image, _ in self._errors)
            click.echo(f"samkit: {len(self._errors)} skipped: {names}", err=True)
        return EXIT_SOME_FAILED if self._errors else 0

    def _summary(self, meter: Meter) -> str:
        parts = [f"{counted(len(self._new), 'image')} done"]
        if before := len(self.done) - len(self._new):
            parts.append(f"{before} done before")
        if self._new:
            parts.append(f"{counted(self.masks, 'mask')} in {meter.elapsed_s:.1f} s")
            parts.append(self.rates(meter))
        parts.append(f"results in {self._output}")
        return ", ".join(parts)

    def _as_record(self) -> dict[str, Any]:
        results = [
            {
                "image": image.source,
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
        shards = None if self.shards is None else list(map(str, self.shards))
        return {"results": results, "errors": errors, "coco": coco, "shards": shards}
