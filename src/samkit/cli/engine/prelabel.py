"""`samkit engine prelabel`: automatic masks to begin with, with classes where a text model is."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from samkit.cli.automask_options import (
    automask_options,
    config_from_options,
    tiling_from_option,
)
from samkit.cli.image_job import Choices, ClassChoice
from samkit.cli.options import (
    DEFAULT_DETECTOR,
    BackendChoice,
    backend_options,
    json_option,
    model_option,
    text_options,
)
from samkit.cli.steps import image_bar
from samkit.cli.stores import (
    find_project,
    find_user,
    local_admin,
    open_store,
    project_option,
    split_names,
    store_option,
)
from samkit.errors import ConfigError, ImageError

if TYPE_CHECKING:
    from samkit.dataengine import Generate, PrelabelReport, Project, Store
    from samkit.formats.image import RgbImage
    from samkit.proposals import AutoMasker
    from samkit.types import Masks

EXIT_SOME_FAILED = 1


@click.command()
@store_option
@project_option
@click.option("--user", metavar="NAME", help="Who counts as their maker; by default the admin.")
@click.option(
    "--classes", metavar="A,B,...", help="What to look for; by default the project's own classes."
)
@click.option("--only-classes", is_flag=True, help="Leave out masks that no class fits.")
@click.option("--again", is_flag=True, help="Also images on which nothing was found before.")
@automask_options
@model_option
@text_options(DEFAULT_DETECTOR)
@backend_options
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
    as_json: bool,
    **settings: Any,
) -> int:
    """Add automatic masks to images that nobody has begun, named by the project's classes.

    A detector finds things of the classes, or a CLIP names masks of everything; without a text
    model on this disk, masks have no classes. Given again, it goes on with images that are left.

    \b
    samkit engine prelabel
    samkit engine prelabel --classes car,tree --only-classes
    """
    asked = classes is not None or text_model is not None
    if tile_px is not None and (asked or only_classes):
        raise click.UsageError("classes need whole images: they do not go with --tile")
    config = config_from_options(preset, {**settings, "adaptive": adaptive})
    tiling = tiling_from_option(tile_px)
    with open_store(where) as store:
        found = find_project(store, project)
        maker = local_admin(store) if user is None else find_user(store, user)
        choice = choose_classes(
            own_classes(store, found) if classes is None else split_names(classes),
            text_model,
            text_thresh,
            asked=asked,
            only=only_classes,
            reason=None if asked else why_no_text(tiled=tile_px is not None),
        )
        choices = Choices(
            model=model,
            backend=backend,
            config=config,
            tiling=tiling,
            output=Path(),  # results go to the store
            formats=frozenset(),
            classes=choice,
        )
        report = run(store, found.id, generator(choices), maker.id, again=again, hidden=as_json)
    words = () if choice is None else choice.classes
    tell(found.name, words, report, as_json=as_json)
    return EXIT_SOME_FAILED if report.faults else 0


def own_classes(store: Store, project: Project) -> list[str]:
    """Names of a project's classes."""
    from samkit.dataengine import list_classes

    return [one.name for one in list_classes(store, project.id)]


def choose_classes(
    words: Sequence[str],
    text_model: str | None,
    thresh: float | None,
    *,
    asked: bool,
    only: bool,
    reason: str | None,
) -> ClassChoice | None:
    """What is looked for; None for masks of everything, without classes.

    Args:
        words: the classes.
        text_model: that was asked for, if any.
        thresh: least score of a class; None for the text model's own.
        asked: whether classes or a text model were named.
        only: whether masks that no class fits are left out.
        reason: why there can be no classes, if so.

    Raises:
        ConfigError: classes were asked for, but there is none.
    """
    if not words:
        if asked or only or thresh is not None:
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
    """Why nothing is named unless it is asked for, with the way out; None if it is.

    Nothing is fetched for it.
    """
    from samkit.text.loading import check_installed
    from samkit.weights.hub import find_cached

    if tiled:
        return "they need whole images, without --tile"
    try:
        check_installed()
    except ConfigError as error:
        return str(error)
    if find_cached(DEFAULT_DETECTOR) is None:
        return f"no text model on this disk: samkit models fetch {DEFAULT_DETECTOR}"
    return None


def generator(choices: Choices) -> Generate:
    """What makes an image's masks; the models are loaded for the first one."""

    def generate(image: RgbImage) -> Masks:
        masker, tiling = choices.masker, choices.tiling
        try:
            if tiling is None:
                return masker.generate(image)
            # Tiles do not go with classes.
            return cast("AutoMasker", masker).generate_tiled(image, tiling)
        except (MemoryError, RuntimeError) as error:
            # Torch says so with a RuntimeError.
            if isinstance(error, RuntimeError) and "memory" not in str(error).lower():
                raise
            advice = "" if choices.classes is not None else ": try --tile 1024"
            raise ImageError(f"not enough memory for it{advice}") from error

    return generate


def run(
    store: Store,
    project_id: int,
    generate: Callable[[RgbImage], Masks],
    user_id: int,
    *,
    again: bool,
    hidden: bool,
) -> PrelabelReport:
    """Do all images, with a bar; tell how far it came where it is stopped."""
    from samkit.dataengine import prelabel_images

    counts = (0, 0)
    try:
        with image_bar(hidden=hidden) as bar:

            def on_image(done: int, total: int) -> None:
                nonlocal counts
                counts = done, total
                bar(done, total)

            return prelabel_images(
                store, project_id, generate, user_id=user_id, on_image=on_image, again=again
            )
    except KeyboardInterrupt:
        done, total = counts
        line = f"samkit: {done} of {total} images done; the same command goes on from here"
        click.echo(line, err=True)
        raise


def tell(project: str, words: Sequence[str], report: PrelabelReport, *, as_json: bool) -> None:
    """Tell faults and results."""
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
        f"{project}: {report.num_added} masks added, {report.num_labelled} with a class,"
        f" on {report.num_images} images; {report.num_left} left since somebody works on them,"
        f" {len(report.faults)} faults"
    )
    click.echo(json.dumps(result, indent=2) if as_json else text)
