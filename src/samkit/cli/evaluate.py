"""The command `samkit evaluate`: measurement of models by the paper's protocols."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from samkit.backends import BackendChoice
from samkit.cli.exit_codes import EXIT_SOME_FAILED
from samkit.cli.options import (
    POLICY_NAMES,
    backend_options,
    json_option,
    output_option,
    refine_option,
)
from samkit.cli.progress import Meter, progress
from samkit.cli.wording import counted, folder_name
from samkit.errors import ConfigError, DataError
from samkit.extras import install_hint, require_packages
from samkit.weights import DEFAULT_MODEL, check_source

if TYPE_CHECKING:
    from samkit.datasets import SampleSource
    from samkit.evaluation import (
        EvaluationProtocol,
        FirstPrompt,
        ModelReport,
        Report,
        SkippedImage,
    )

PROTOCOLS = ("one-click", "noc", "text", "recall", "boxes", "edges")
VIDEO_PROTOCOL = "vos"
DEFAULT_PROTOCOLS = ("one-click", "noc")
CHOSEN = {"one-click", "noc", "text"}  # protocols that measure a selection of an image's masks
# The protocols that each option is for; others would ignore it in silence.
PROTOCOLS_OF_OPTIONS: Mapping[str, Collection[str]] = {
    "masks_per_image": CHOSEN,
    "min_area": CHOSEN,
    "seed": CHOSEN,
    "max_clicks": {"noc"},
    "feedback": {"noc"},
    "refine": {"noc"},
    "recall_points": {"recall"},
    "detections": {"boxes"},
    "edge_thresholds": {"edges"},
    "text_model": {"text"},
    "first": {VIDEO_PROTOCOL},
    "policies": {VIDEO_PROTOCOL},
}


@click.command()
@click.argument("data", metavar="DATA")
@click.option(
    "--model",
    "models",
    multiple=True,
    default=(DEFAULT_MODEL,),
    show_default=True,
    metavar="NAME|FILE",
    help="Model: a name or a checkpoint file; repeatable, to compare several.",
)
@click.option(
    "--protocol",
    "protocols",
    type=click.Choice((*PROTOCOLS, VIDEO_PROTOCOL)),
    multiple=True,
    default=DEFAULT_PROTOCOLS,
    show_default=True,
    help="What to measure; repeatable. vos, on videos in DAVIS layout, stands alone.",
)
@click.option(
    "--images",
    type=click.IntRange(min=1),
    metavar="N",
    help="Number of images, or of sequences, the first ones of the data set; by default all.",
)
@click.option(
    "--masks-per-image",
    type=int,
    default=10,
    show_default=True,
    metavar="N",
    help="one-click, noc, text: number of masks per image, chosen at random; 0 for all.",
)
@click.option(
    "--min-area",
    type=int,
    default=100,
    show_default=True,
    metavar="PX",
    help="one-click, noc, text: minimum area of a mask in pixels.",
)
@click.option(
    "--seed",
    type=int,
    default=0,
    show_default=True,
    metavar="N",
    help="one-click, noc, text: seed for choosing masks.",
)
@click.option(
    "--max-clicks",
    type=int,
    default=20,
    show_default=True,
    metavar="N",
    help="noc: maximum number of clicks per mask.",
)
@click.option(
    "--feedback/--no-feedback",
    default=True,
    show_default=True,
    help="noc: feed the logits of each answer back with the next click.",
)
@refine_option("noc: ")
@click.option(
    "--recall-points",
    type=int,
    default=64,
    show_default=True,
    metavar="N",
    help="recall: points along each side of the grid; 64 take half a minute per image on a CPU.",
)
@click.option(
    "--detections",
    type=click.Path(path_type=Path),
    metavar="FILE.json",
    help="boxes: COCO results whose boxes are the prompts; by default the ground-truth boxes.",
)
@click.option(
    "--edge-thresholds",
    type=int,
    default=99,
    show_default=True,
    metavar="N",
    help="edges: number of thresholds to compare edges at; fewer are faster.",
)
@click.option(
    "--text-model",
    metavar="NAME|FOLDER",
    help="text: text model, a detector or a CLIP; by default the model's own.",
)
@click.option(
    "--first",
    type=click.Choice(("mask", "box", "click")),
    default="mask",
    show_default=True,
    help="vos: how objects are shown in the first frame.",
)
@click.option(
    "--policy",
    "policies",
    type=click.Choice(POLICY_NAMES),
    multiple=True,
    help="vos: rules of a SAM 2's memory, repeatable; default plain.",
)
@backend_options
@output_option("samkit-evaluation")
@json_option
def evaluate(
    *,
    data: str,
    models: tuple[str, ...],
    protocols: tuple[str, ...],
    images: int | None,
    backend: BackendChoice,
    output: Path,
    as_json: bool,
    first: FirstPrompt,
    policies: tuple[str, ...],
    **settings: Any,
) -> int:
    """Measure the quality of models, side by side.

    DATA is a COCO file, an SA-1B folder, a folder with images/ and masks/, or scenes:count=20; for
    vos a folder of sequences, JPEGImages/ and Annotations/ with a folder for each. Images with
    results in the output folder are not repeated: an interrupted run resumes where it stopped.

    \b
    samkit evaluate val.json --images 40
    samkit evaluate val.json --model mobile_sam --model tuned.safetensors --protocol noc
    samkit evaluate named:count=100 --protocol text --model mine.safetensors
    samkit evaluate val.json --protocol recall --recall-points 32 --protocol boxes
    samkit evaluate davis --protocol vos --first click
    """
    from samkit.evaluation import Report
    from samkit.files import check_writable

    check_options(click.get_current_context(), protocols)
    labels = model_labels(models)
    check_writable(output)
    check_extras(protocols, settings["text_model"])
    for model in models:
        check_source(model)
    if VIDEO_PROTOCOL in protocols:
        if set(protocols) != {VIDEO_PROTOCOL}:
            raise click.UsageError("vos measures videos: give it alone")
        from samkit.cli.evaluate_video import evaluate_videos

        return evaluate_videos(
            Path(data),
            labels,
            first=first,
            sequences=images,
            policies=policies,
            backend=backend,
            output=output,
            as_json=as_json,
        )
    source = open_source(data)
    run = Run(
        source=source,
        protocols=make_protocols(protocols, source, settings),
        images=images,
        backend=backend,
        text_model=settings["text_model"],
        output=output,
    )
    count = len(source) if images is None else min(images, len(source))
    reported: set[str] = set()
    reports: dict[str, ModelReport] = {}
    if not as_json:
        click.echo(f"samkit: {plan(count, run.protocols, labels, settings)}", err=True)
    with progress("image", count * len(labels), bar=not as_json) as meter:
        try:
            for label, model in labels.items():
                reports[label] = run.measure(label, model, meter, reported)
        except KeyboardInterrupt:
            done = counted(run.done, "image")
            click.echo(f"samkit: {done} measured; run the same command again to resume", err=True)
            raise
    check_any(reports, protocols)
    report = Report(data=data, models=reports)
    pictures = write_report(report, output)
    if as_json:
        click.echo(json.dumps(report.to_json(), indent=1))
    else:
        click.echo(report.to_markdown())
        click.echo(f"results in {output}: report.md, report.json{pictures}")
    return EXIT_SOME_FAILED if reported else 0


def check_options(context: click.Context, protocols: Collection[str]) -> None:
    """Check that a protocol is measured for each option that was given.

    Raises:
        click.UsageError: an option would be ignored.
    """
    for parameter in context.command.params:
        own = PROTOCOLS_OF_OPTIONS.get(parameter.name or "")
        given = context.get_parameter_source(parameter.name or "") == ParameterSource.COMMANDLINE
        if own is not None and given and not {*own} & {*protocols}:
            raise click.UsageError(
                f"{parameter.opts[0]} is for {' and '.join(sorted(own))}, which"
                f" {'is' if len(own) == 1 else 'are'} not measured: add --protocol {min(own)}"
            )


def check_extras(protocols: Sequence[str], text_model: str | None) -> None:
    """Check that the protocols' packages and text model are available.

    Raises:
        ConfigError: packages are missing.
        DownloadError: the text model is not on this disk and cannot be downloaded.
    """
    if "edges" in protocols:
        require_packages("edges", ("scipy",), "bench")
    if "text" in protocols:
        from samkit.text import check_text_installed, find_text_model

        check_text_installed()
        if text_model is not None:
            find_text_model(text_model)


def plan(
    images: int,
    protocols: Sequence[EvaluationProtocol],
    models: Iterable[str],
    settings: dict[str, Any],
) -> str:
    """Describe the run in one line: images, protocols, models, masks."""
    names = [protocol.name for protocol in protocols]
    line = f"{counted(images, 'image')} by {', '.join(names)} for {', '.join(models)}"
    masks = settings["masks_per_image"]
    if masks and CHOSEN.intersection(names):
        line += f"; up to {counted(masks, 'mask')} an image"
    return line


@dataclass(kw_only=True)
class Run:
    """One evaluation: data, protocols and output, the same for all models.

    Attributes:
        images: number of images, the first ones; None for all.
        text_model: text model; None for the models' own.
        output: output folder.
        done: number of images measured, by this run or an earlier one, of all models together.
    """

    source: SampleSource
    protocols: list[EvaluationProtocol]
    images: int | None
    backend: BackendChoice
    text_model: str | None
    output: Path
    done: int = 0

    def measure(self, label: str, model: str, meter: Meter, reported: set[str]) -> ModelReport:
        """Measure one model; report skipped images that are not in `reported` yet."""
        from samkit.evaluation import evaluate_model, model_identity, report_model
        from samkit.predict import Predictor

        predictor = Predictor.load(model, text_model=self.text_model, **self.backend.options())
        meter.start(label)

        def count(_: str, new_masks: int) -> None:
            self.done += 1
            meter.advance(worked=new_masks > 0)

        def report_skipped(skipped: SkippedImage) -> None:
            meter.advance(worked=False)
            if skipped.image not in reported:
                reported.add(skipped.image)
                click.echo(f"samkit: skipped {skipped.image}: {skipped.error}", err=True)

        result = evaluate_model(
            predictor,
            self.source,
            self.protocols,
            images=self.images,
            folder=self.output / "records" / folder_name(label),
            on_image=count,
            on_skipped=report_skipped,
        )
        return report_model(result, self.protocols, model_identity(predictor))


def model_labels(models: Sequence[str]) -> dict[str, str]:
    """Map each model to a short label: a file's name without suffix, or its path if ambiguous.

    Raises:
        click.UsageError: a model is given twice.
    """
    if len(set(models)) < len(models):
        raise click.UsageError("give each --model once")
    stems = [Path(model).stem if Path(model).suffix else model for model in models]
    names = [
        stem if stems.count(stem) == 1 else model for stem, model in zip(stems, models, strict=True)
    ]
    return dict(zip(names, models, strict=True))


def open_source(data: str) -> SampleSource:
    """Open a data set whose images can be read by index.

    Raises:
        DataError: it is missing or invalid.
        ConfigError: it is a stream.
    """
    from samkit.datasets import SampleSource, open_data

    source = open_data(data)
    if not isinstance(source, SampleSource):
        raise ConfigError(f"{data} is a stream of shards: unpack them into a folder to evaluate")
    return source


def make_protocols(
    names: Sequence[str], source: SampleSource, settings: dict[str, Any]
) -> list[EvaluationProtocol]:
    """Create the chosen protocols in the order of `PROTOCOLS`, each once.

    Raises:
        ConfigError: a setting is out of range.
        DataError: the detections cannot be read.
    """
    from samkit.datasets import AnnotatedImages
    from samkit.evaluation import (
        ONE_ANNOTATOR,
        BoxPrompts,
        Edges,
        Interactive,
        MaskChoice,
        OneClick,
        Recall,
        TextToMask,
        read_annotators,
        read_detections,
        read_image_names,
    )

    choice = MaskChoice(
        masks_per_image=settings["masks_per_image"] or None,
        min_area_px=settings["min_area"],
        seed=settings["seed"],
    )
    path = None
    if isinstance(source, AnnotatedImages) and source.annotations.format_name == "coco":
        path = source.path if source.path.is_file() else None
    annotators = ONE_ANNOTATOR
    if path is not None and not CHOSEN.issuperset(names):
        annotators = read_annotators(path)
    detections = None
    if settings["detections"] is not None:
        image_keys = None if path is None else read_image_names(path)
        detections = read_detections(settings["detections"], image_keys)
    makers: dict[str, Callable[[], EvaluationProtocol]] = {
        "one-click": lambda: OneClick(choice=choice),
        "noc": lambda: Interactive(
            choice=choice,
            max_clicks=settings["max_clicks"],
            feed_back=settings["feedback"],
            refine=settings["refine"],
        ),
        "text": lambda: TextToMask(choice=choice, text_model=settings["text_model"]),
        "recall": lambda: Recall(points_per_side=settings["recall_points"], annotators=annotators),
        "boxes": lambda: BoxPrompts(detections=detections, annotators=annotators),
        "edges": lambda: Edges(thresholds=settings["edge_thresholds"], annotators=annotators),
    }
    return [makers[name]() for name in PROTOCOLS if name in names]


def check_any(reports: dict[str, ModelReport], protocols: Sequence[str]) -> None:
    """Check that anything was measured.

    Raises:
        DataError: no image could be read, or they have no masks.
    """
    for report in reports.values():
        for name in protocols:
            own = report.protocols[name]
            if own.images == 0:
                raise DataError("no image could be measured")
            if own.masks == 0:
                advice = " of --min-area or more" if name in CHOSEN else ""
                kind = "mask with a name" if name == "text" else "mask"
                raise DataError(f"no {kind}{advice} in {own.images} images to measure by {name}")


def write_report(report: Report, output: Path) -> str:
    """Write the report and its plots; return the plots' names, to be appended to a message."""
    from samkit.evaluation import write_plots
    from samkit.files import write_bytes

    write_bytes(output / "report.json", json.dumps(report.to_json(), indent=1).encode())
    write_bytes(output / "report.md", report.to_markdown().encode())
    try:
        return "".join(f", {path.name}" for path in write_plots(report, output))
    except ImportError:
        return f"; no plots, which need matplotlib: {install_hint('bench')}"
