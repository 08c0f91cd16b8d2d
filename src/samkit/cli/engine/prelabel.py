"""The command `samkit engine prelabel`: automatic masks for people to correct."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from samkit.backends import BackendChoice
from samkit.batch import ClassChoice, Executor, MaskGenerator, prelabel_images
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
    text_options,
)
from samkit.cli.progress import progress
from samkit.cli.stores import (
    find_project,
    find_user,
    local_admin,
    open_store,
    project_option,
    split_names,
    store_option,
)
from samkit.cli.wording import counted
from samkit.errors import ConfigError

if TYPE_CHECKING:
    from samkit.dataengine import PrelabelReport, Project, Store


@click.command()
@store_option
@project_option
@click.option(
    "--user", metavar="NAME", help="User recorded as the masks' author; by default the admin."
)
@click.option(
    "--classes",
    metavar="A,B,...",
    help="What to segment; by default the project's own classes.",
)
@click.option("--only-classes", is_flag=True, help="Leave out masks that no class fits.")
@click.option(
    "--again",
    is_flag=True,
    help="Retry images on which nothing was found, or three runs have ended, before.",
)
@mask_options
@model_option
@text_options(DEFAULT_DETECTOR)
@backend_options
@executor_options
@json_option
def prelabel(
    *,
    where: str,
    project: str | None,
    user: str | None,
    classes: str | None,
    only_classes: bool,
    again: bool,
    preset: str | None,
    adaptive: bool | None,
    tile_px: int | None,
    model: str,
    text_model: str | None,
    text_thresh: float | None,
    backend: BackendChoice,
    where_to_run: ExecutorChoice,
    as_json: bool,
    **settings: Any,
) -> int:
    """Add automatic masks to images that nobody has started, with the project's classes.

    A detector finds objects of these classes, or a CLIP names masks of everything; without a text
    model on this disk, masks get no classes. Run it again to resume with the remaining images;
    runs at the same time, on any machines, share them.

    \b
    samkit engine prelabel
    samkit engine prelabel --classes car,tree --only-classes
    """
    requested = classes is not None or text_model is not None
    if tile_px is not None and (requested or only_classes):
        raise click.UsageError("classes cannot be combined with --tile")
    config = config_from_options(preset, {**settings, "adaptive": adaptive})
    tiling = tiling_from_option(tile_px)
    with open_store(where) as store:
        found = find_project(store, project)
        maker = local_admin(store) if user is None else find_user(store, user)
        choice = choose_classes(
            own_classes(store, found) if classes is None else split_names(classes),
            text_model,
            text_thresh,
            requested=requested,
            only=only_classes,
            reason=None if requested else why_no_text(tiled=tile_px is not None),
        )
        generator = MaskGenerator(
            model=model,
            backend=where_to_run.backend_of_workers(backend),
            config=config,
            tiling=tiling,
            classes=choice,
        )
        generator.check()
        with where_to_run.start(generator.backend) as executor:
            report = run(
                store, found.id, generator, executor, maker.id, again=again, as_json=as_json
            )
    words = () if choice is None else choice.classes
    print_report(found.name, words, report, as_json=as_json)
    return EXIT_SOME_FAILED if report.faults else 0


def own_classes(store: Store, project: Project) -> list[str]:
    """List the names of a project's classes."""
    from samkit.dataengine import list_classes

    return [one.name for one in list_classes(store, project.id)]


def choose_classes(
    words: Sequence[str],
    text_model: str | None,
    thresh: float | None,
    *,
    requested: bool,
    only: bool,
    reason: str | None,
) -> ClassChoice | None:
    """Choose the classes to segment; None for masks of everything, without classes.

    Args:
        requested: whether --classes or --text-model was given.
        only: leave out masks that no class fits.
        reason: reason why masks get no classes; None if they can.

    Raises:
        ConfigError: classes were requested, but there are none.
    """
    if not words:
        if requested or only or thresh is not None:
            raise ConfigError("no classes to look for: give --classes, such as car,tree")
        return None
    if reason is not None:
        if only:
            raise ConfigError(f"--only-classes needs a text model: {reason}")
        click.echo(f"samkit: masks get no classes: {reason}", err=True)
        return None
    return ClassChoice(
        classes=tuple(dict.fromkeys(words)),
        text_model=text_model or DEFAULT_DETECTOR,
        thresh=thresh,
        others=not only,
        calibration=None,
    )


def why_no_text(*, tiled: bool) -> str | None:
    """Return why masks get no classes by default, with advice; None if they do.

    Nothing is downloaded to find out.
    """
    from samkit.text import check_text_installed
    from samkit.weights import find_cached

    if tiled:
        return "classes cannot be combined with --tile"
    try:
        check_text_installed()
    except ConfigError as error:
        return str(error)
    if find_cached(DEFAULT_DETECTOR) is None:
        return f"no text model on this disk: samkit models fetch {DEFAULT_DETECTOR}"
    return None


def run(
    store: Store,
    project_id: int,
    generator: MaskGenerator,
    executor: Executor,
    user_id: int,
    *,
    again: bool,
    as_json: bool,
) -> PrelabelReport:
    """Generate the masks of all images, with progress; if interrupted, print how many are done."""
    with progress("image", bar=not as_json) as meter:
        try:
            return prelabel_images(
                store,
                project_id,
                generator.generate_within_memory,
                user_id=user_id,
                on_image=meter.update,
                again=again,
                executor=executor,
            )
        except KeyboardInterrupt:
            counts = f"{meter.done} of {counted(meter.total or 0, 'image')}"
            click.echo(f"samkit: {counts} done; run the same command again to resume", err=True)
            raise


def print_report(
    project: str, words: Sequence[str], report: PrelabelReport, *, as_json: bool
) -> None:
    """Print faults and results."""
    for fault in report.faults:
        click.echo(fault, err=True)
    result = {
        "project": project,
        "classes": list(words),
        "images": report.num_images,
        "added": report.num_added,
        "labelled": report.num_labelled,
        "left": report.num_left,
        "faults": list(report.faults),
    }
    text = (
        f"{project}: {counted(report.num_added, 'mask')} added, {report.num_labelled} with a class,"
        f" on {counted(report.num_images, 'image')}; {report.num_left} left since somebody works on"
        f" them, {counted(len(report.faults), 'fault')}"
    )
    click.echo(json.dumps(result, indent=2) if as_json else text)
