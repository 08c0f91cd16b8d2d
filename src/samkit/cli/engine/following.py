"""The command `samkit engine follow`: tracks of videos, as jobs ask for them."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

import click

from samkit.backends import BackendChoice
from samkit.cli.engine.learning import background_option
from samkit.cli.exit_codes import EXIT_SOME_FAILED
from samkit.cli.options import backend_options, json_option, model_option
from samkit.cli.server import load_predictor
from samkit.cli.stores import open_store, store_option
from samkit.cli.wording import counted

if TYPE_CHECKING:
    from samkit.dataengine import Job

LINGER_S = 120.0  # a server's child waits for more work, since loading the model takes seconds
POLL_S = 0.3
BELOW_CLICKS = 5  # of Unix's niceness: somebody waits for it, but others wait for a click


@click.command()
@store_option
@background_option
@model_option
@backend_options
@json_option
def follow(
    *, where: str, background: bool, model: str, backend: BackendChoice, as_json: bool
) -> int:
    """Follow the tracks of videos, as the studio was asked to, and end when nothing waits.

    The studio does so by itself; this is for another machine with the same store. Results are
    stored every few frames. Stopped with Ctrl+C, the job waits for another run.

    \b
    samkit engine follow --store images
    """
    if background and hasattr(os, "nice"):
        os.nice(BELOW_CLICKS)
    with open_store(where) as store:
        from samkit.batch import follow_next
        from samkit.dataengine import get_job, worker_name
        from samkit.video import VideoPredictor

        tracker = VideoPredictor(load_predictor(model, backend))
        done: list[Job] = []
        idle_since = time.monotonic()
        while True:
            job = follow_next(store, tracker, worker=worker_name(os.getpid()))
            if job is not None:
                done.append(get_job(store, job.id))
                idle_since = time.monotonic()
            elif not background or time.monotonic() - idle_since > LINGER_S:
                break
            else:
                time.sleep(POLL_S)
    failed = [one for one in done if one.state == "failed"]
    if as_json:
        rows = [{"job": one.id, "state": one.state, "error": one.error} for one in done]
        click.echo(json.dumps(rows, indent=2))
    else:
        for one in failed:
            click.echo(f"job {one.id}: {one.error}", err=True)
        click.echo(f"{counted(len(done), 'job')} done, {len(failed)} of them failed")
    return EXIT_SOME_FAILED if failed else 0
