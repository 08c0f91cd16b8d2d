"""The commands `samkit engine learn | prefill | choose | embed | versions`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from samkit.backends import BackendChoice
from samkit.cli.exit_codes import EXIT_SOME_FAILED
from samkit.cli.options import backend_options, json_option, model_option
from samkit.cli.progress import progress
from samkit.cli.stores import (
    find_project,
    find_user,
    local_admin,
    open_store,
    project_option,
    store_option,
)
from samkit.cli.wording import counted
from samkit.errors import StoreError

if TYPE_CHECKING:
    from samkit.dataengine import LearnedModel, Learnt, Store
    from samkit.learning import Confidence, Learner

background_option = click.option(
    "--background", is_flag=True, hidden=True, help="Run at low priority, as a server's child."
)
LEARNS = {"decoder": "", "lora": ", image encoder too"}
LOWEST = 19  # of Unix; higher gives way to lower
general_option = click.option(
    "--general",
    metavar="DATA",
    help="Images that must not be forgotten, such as coco:FILE; by default drawn scenes.",
)
lora_option = click.option(
    "--lora",
    is_flag=True,
    help="Train the image encoder, too, by low-rank corrections: on images, so that it takes much"
    " longer, and all images are encoded anew if it is promoted.",
)


@click.command()
@store_option
@project_option
@general_option
@lora_option
@background_option
@model_option
@backend_options
@json_option
def learn(
    *,
    where: str,
    project: str | None,
    general: str | None,
    lora: bool,
    background: bool,
    model: str,
    backend: BackendChoice,
    as_json: bool,
) -> None:
    """Train the project's model further on its finished images, and let it answer if it is better.

    Every third image or so is held back. There robots click with both models, and the new one is
    promoted only if masks cost fewer clicks beyond chance, and general images are not forgotten.
    Stopped with Ctrl+C, the training is resumed next time.

    \b
    samkit engine learn --store images
    samkit engine learn --store images --lora
    """
    if background:
        lower_priority()
    with open_store(where) as store:
        found = find_project(store, project)
        learner = open_learner(store, model, backend, general, learns="lora" if lora else "decoder")
        with progress("step", bar=not as_json) as meter:
            learned = learner.learn(
                found.id, on_step=lambda step: meter.update(step.step, step.steps)
            )
    if as_json:
        click.echo(json.dumps(learned_row(learned), indent=2))
    else:
        click.echo(f"{learned.version.name} is {learned.verdict}: {learned.reason}")


@click.command()
@store_option
@project_option
@click.option(
    "--user", metavar="NAME", help="User recorded as the masks' author; by default the admin."
)
@click.option(
    "--limit", type=click.IntRange(1), metavar="N", help="Number of images; by default all."
)
@click.option(
    "--target-precision",
    type=click.FloatRange(0, 1, min_open=True),
    help="Fraction of masks that people shall accept as they are; by default the project's.",
)
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Draw how many masks people accepted by how sure the model was, as PNG.",
)
@background_option
@model_option
@backend_options
@json_option
def prefill(
    *,
    where: str,
    project: str | None,
    user: str | None,
    limit: int | None,
    target_precision: float | None,
    plot: Path | None,
    background: bool,
    model: str,
    backend: BackendChoice,
    as_json: bool,
) -> int:
    """Put confident masks on images that nobody has started: people confirm and complete them.

    How sure the model must be is learned from held-back images that people have finished, once for
    each version, and again when many more are finished. Run it again to go on with the remaining
    images.

    \b
    samkit engine prefill --store images --limit 50
    """
    from samkit.dataengine import unstarted_images
    from samkit.learning import known_confidence, plot_reliability, prefill_images

    if background:
        lower_priority()
    with open_store(where) as store:
        found = find_project(store, project)
        maker = local_admin(store) if user is None else find_user(store, user)
        learner = open_learner(store, model, backend, None)
        if not unstarted_images(store, found.id):
            click.echo(f"samkit: all images of {found.name} have been started", err=True)
            return 0
        _, version = learner.serving(found.id)
        with progress("image", bar=not as_json) as meter:
            confidence = known_confidence(learner, found.id, target=target_precision)
            if plot is not None and confidence is not None:
                plot_reliability(confidence, plot, title=found.name)
            check_confidence(confidence, found.name)
            assert confidence is not None

            def show_tile(path: str, tile: int, tiles: int) -> None:
                if meter.label != path:
                    meter.start(path)
                meter.part(tile, tiles)

            report = prefill_images(
                learner,
                found.id,
                confidence,
                user_id=maker.id,
                limit=limit,
                on_image=meter.update,
                on_tile=show_tile,
            )
    for fault in report.faults:
        click.echo(fault, err=True)
    result = {
        "project": found.name,
        "model_version": version,
        "images": report.num_images,
        "added": report.num_added,
        "confidence": confidence.figures(),
        "faults": list(report.faults),
    }
    text = (
        f"{found.name}: {counted(report.num_added, 'mask')} on"
        f" {counted(report.num_images, 'image')}; expected precision {confidence.precision:.2f}"
    )
    click.echo(json.dumps(result, indent=2) if as_json else text)
    return EXIT_SOME_FAILED if report.faults else 0


@click.command()
@store_option
@project_option
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    metavar="N",
    help="Number of images to choose.",
)
@background_option
@model_option
@backend_options
@json_option
def choose(
    *,
    where: str,
    project: str | None,
    limit: int,
    background: bool,
    model: str,
    backend: BackendChoice,
    as_json: bool,
) -> int:
    """Choose the images that people annotate next: those that teach the model most.

    They are those on which its answers disagree and are unsure, and that are unlike each other and
    those that are finished. The queue offers them first if the project is set so.

    \b
    samkit engine choose --store images
    """
    if background:
        lower_priority()
    with open_store(where) as store:
        from samkit.learning import choose_images, known_confidence

        found = find_project(store, project)
        learner = open_learner(store, model, backend, None)
        with progress("image", bar=not as_json) as meter:
            confidence = known_confidence(learner, found.id)
            choice = choose_images(
                learner, found.id, confidence, limit=limit, on_image=meter.update
            )
    for fault in choice.faults:
        click.echo(fault, err=True)
    result = {
        "project": found.name,
        "chosen": list(choice.image_ids),
        "waiting": choice.num_waiting,
        "offered": found.learning.choose_next,
        "faults": list(choice.faults),
    }
    note = "" if found.learning.choose_next else "; the project does not offer them first"
    text = (
        f"{found.name}: {len(choice.image_ids):,} of {counted(choice.num_waiting, 'waiting image')}"
        f" chosen{note}"
    )
    click.echo(json.dumps(result, indent=2) if as_json else text)
    return EXIT_SOME_FAILED if choice.faults else 0


@click.command()
@store_option
@project_option
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=500,
    show_default=True,
    metavar="N",
    help="Number of images that shall have an embedding, 4 MB each.",
)
@background_option
@model_option
@backend_options
@json_option
def embed(
    *,
    where: str,
    project: str | None,
    limit: int,
    background: bool,
    model: str,
    backend: BackendChoice,
    as_json: bool,
) -> int:
    """Encode the images that people will be offered, by the model that answers.

    So nobody waits for it when opening them. Those that have an embedding are left out: run it
    again to go on. The server does it by itself for a version that has learned with --lora.

    \b
    samkit engine embed --store images --limit 200
    """
    if background:
        lower_priority()
    with open_store(where) as store:
        from samkit.learning import embed_waiting

        found = find_project(store, project)
        learner = open_learner(store, model, backend, None)
        with progress("image", bar=not as_json) as meter:
            report = embed_waiting(learner, found.id, limit=limit, on_image=meter.update)
    for fault in report.faults:
        click.echo(fault, err=True)
    result = {
        "project": found.name,
        "encoded": report.num_encoded,
        "known": report.num_known,
        "faults": list(report.faults),
    }
    text = (
        f"{found.name}: {counted(report.num_encoded, 'image')} encoded,"
        f" {report.num_known:,} had an embedding"
    )
    click.echo(json.dumps(result, indent=2) if as_json else text)
    return EXIT_SOME_FAILED if report.faults else 0


@click.command()
@store_option
@project_option
@click.option(
    "--serve", "chosen", type=int, metavar="N", help="Let this version answer, one that did before."
)
@click.option("--user", metavar="NAME", help="Who chooses it; by default the admin.")
@json_option
def versions(
    *, where: str, project: str | None, chosen: int | None, user: str | None, as_json: bool
) -> None:
    """List a project's models with their figures, or go back to one.

    A running server changes over within seconds; drafts go on with the version they began with.

    \b
    samkit engine versions
    samkit engine versions --serve 3
    """
    from samkit.dataengine import (
        list_learned_models,
        list_promotions,
        serve_version,
        serving_version,
    )

    with open_store(where) as store:
        found = find_project(store, project)
        if chosen is not None:
            maker = local_admin(store) if user is None else find_user(store, user)
            serve_version(store, found.id, chosen, user_id=maker.id)
        serving = serving_version(store, found.id)
        learned = list_learned_models(store, found.id)
        promotions = list_promotions(store, found.id)
    if as_json:
        rows = [learned_row(one) for one in learned]
        history = [
            {"version": one.model_version_id, "at": one.at.isoformat(), "user": one.user_id}
            for one in promotions
        ]
        result = {"project": found.name, "serving": serving, "learned": rows, "history": history}
        click.echo(json.dumps(result, indent=2))
        return
    for one in learned:
        mark = "*" if one.version.id == serving else " "
        click.echo(
            f"{mark} {one.version.id}  {one.version.name}  from {one.parent_id},"
            f" {counted(one.num_masks, 'mask')}{LEARNS[one.learns]}  {one.verdict}: {one.reason}"
        )
    if serving is None:
        click.echo(f"{found.name}: the server's own model answers")
    elif not any(one.version.id == serving for one in learned):
        click.echo(f"* {serving}  the server's own model")


def open_learner(
    store: Store,
    model: str,
    backend: BackendChoice,
    general: str | None,
    *,
    folder: Path | None = None,
    judged: bool = True,
    learns: Learnt = "decoder",
) -> Learner:
    """Make a learner with the server's model and its embedding cache.

    Args:
        general: data set that must not be forgotten; None for drawn scenes.
        folder: for trainings in progress; None for one in the cache folder.
        judged: False promotes every candidate.
        learns: what a round trains.
    """
    from samkit.files import cache_folder
    from samkit.formats import MAX_PIXELS
    from samkit.learning import GENERAL, Learner, LearnRecipe
    from samkit.predict import EmbeddingCache, Predictor

    return Learner(
        store,
        Predictor.load(model, **backend.options()),
        EmbeddingCache(cache_folder() / "embeddings"),
        folder or cache_folder() / "learning",
        recipe=LearnRecipe(general=general or GENERAL, judged=judged, learns=learns),
        max_pixels=MAX_PIXELS,
    )


def lower_priority() -> None:
    """Let every other process go first, where the system can.

    Linux's idle class steps aside at once for whoever wakes; the lowest niceness alone does not,
    which cost people 60 ms of 260 at the 95th percentile of clicks.
    """
    nice = getattr(os, "nice", None)
    if nice is not None:
        nice(LOWEST)
    if hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def check_confidence(confidence: Confidence | None, project: str) -> None:
    """Check that masks can be prefilled.

    Raises:
        StoreError: there is too little to learn from, or the precision is out of reach.
    """
    if confidence is None:
        raise StoreError(
            f"{project} has too few finished images that are held back to know how sure to be:"
            " finish more images first"
        )
    if confidence.threshold is None:
        raise StoreError(
            f"no automatic mask of {project} is sure enough yet: finish more images and learn, or"
            " lower --target-precision"
        )


def learned_row(learned: LearnedModel) -> dict[str, Any]:
    """A learned model as JSON."""
    return {
        "version": learned.version.id,
        "name": learned.version.name,
        "parent": learned.parent_id,
        "learns": learned.learns,
        "images": learned.num_images,
        "masks": learned.num_masks,
        "verdict": learned.verdict,
        "reason": learned.reason,
        "figures": dict(learned.figures),
        "at": learned.created_at.isoformat(),
    }
