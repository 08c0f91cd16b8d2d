"""The command `samkit serve-model`: a model for programs, over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from samkit.backends import BackendChoice
from samkit.cli.options import backend_options, model_option
from samkit.cli.server import (
    BYTES_IN_GB,
    LOOPBACK,
    address_options,
    cache_option,
    leave,
    read_secret,
)
from samkit.errors import ConfigError
from samkit.extras import require_packages
from samkit.files import cache_folder
from samkit.weights import check_source

if TYPE_CHECKING:
    from samkit.serving import LabelStudioImages

PACKAGES = ("fastapi", "multipart", "prometheus_client", "uvicorn", "websockets")
GRACE_S = 30


@click.command("serve-model")
@address_options
@click.option(
    "--keys",
    "keys_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="File of API keys, of which requests must have one; needed to serve other machines.",
)
@click.option("--new-key", metavar="NAME", help="Add a key to --keys, print it, and end.")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Processes with a model each.",
)
@click.option(
    "--ray",
    "ray_address",
    metavar="ADDRESS",
    help="Run the models on a Ray cluster instead: host:port of its head, auto, or local.",
)
@click.option(
    "--max-workers",
    type=click.IntRange(min=1),
    metavar="N",
    help="With --ray, models to which load may raise their number; by default --workers.",
)
@click.option(
    "--max-queue",
    type=click.IntRange(min=0),
    default=64,
    show_default=True,
    help="Requests that may wait; further ones are refused with status 429.",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0, min_open=True),
    default=60,
    show_default=True,
    metavar="S",
    help="Seconds for an answer, and for a stream to begin.",
)
@click.option(
    "--stream-timeout",
    "stream_s",
    type=click.FloatRange(min=0, min_open=True),
    default=900,
    show_default=True,
    metavar="S",
    help="Seconds for all of a stream: automatic masks, and videos.",
)
@click.option(
    "--max-image-mb",
    type=click.IntRange(min=1),
    default=32,
    show_default=True,
    help="Maximum size of an image's file.",
)
@click.option(
    "--max-video-mb",
    type=click.IntRange(min=1),
    default=512,
    show_default=True,
    help="Maximum size of a video's file.",
)
@cache_option
@click.option(
    "--text-model",
    metavar="NAME|FOLDER",
    help="Text model, for requests with words: a detector or a CLIP; by default none.",
)
@click.option(
    "--label-studio",
    "label_studio_url",
    metavar="URL",
    help="Answer this Label Studio, too, as a backend under /label-studio.",
)
@click.option(
    "--label-studio-key-file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="File with an access token, with which its images are fetched.",
)
@click.option(
    "--label-studio-images",
    "label_studio_prefixes",
    multiple=True,
    metavar="URL",
    help="Beginning of URLs of images elsewhere that its tasks may name; may be repeated.",
)
@model_option
@backend_options
def serve_model(
    *,
    host: str,
    port: int,
    keys_file: Path | None,
    new_key: str | None,
    workers: int,
    ray_address: str | None,
    max_workers: int | None,
    cache_gb: float,
    text_model: str | None,
    label_studio_url: str | None,
    label_studio_key_file: Path | None,
    label_studio_prefixes: tuple[str, ...],
    model: str,
    backend: BackendChoice,
    **limits: Any,
) -> None:
    """Serve a model to programs: embed, predict, auto, track and text, over REST and WebSocket.

    See docs/serving.md.

    \b
    samkit serve-model --workers 2
    samkit serve-model --new-key ann --keys keys.txt
    samkit serve-model --keys keys.txt --host 0.0.0.0
    """
    keys = read_access(host, keys_file, new_key)
    if keys is None:
        return
    require_packages("a model server", PACKAGES, "serving")
    check_source(model)
    from samkit.batch import available_cores
    from samkit.http import run_server
    from samkit.serving import (
        Limits,
        ModelSpec,
        ProcessWorker,
        RayReplicas,
        ServingConfig,
        WorkerPool,
        create_app,
    )

    label_studio = label_studio_images(
        label_studio_url,
        label_studio_key_file,
        label_studio_prefixes,
        max_mb=limits["max_image_mb"],
    )

    spec = ModelSpec(
        source=model,
        backend=backend,
        text_model=text_model,
        cache_folder=cache_folder() / "embeddings",
        cache_bytes=int(cache_gb * BYTES_IN_GB),
    )
    config = ServingConfig(
        limits=Limits(**limits),
        keys=keys,
        cache_folder=spec.cache_folder,
        local_only=not keys,
    )
    running: WorkerPool | RayReplicas
    if ray_address is None:
        if max_workers is not None:
            raise ConfigError("--max-workers is for --ray ADDRESS; here --workers is the number")
        threads = backend.threads or max(1, available_cores() // workers)
        running = WorkerPool(
            lambda: ProcessWorker(spec, threads), size=workers, limits=config.limits
        )
    else:
        running = RayReplicas(
            ray_address,
            spec,
            replicas=workers,
            max_replicas=max_workers,
            threads=backend.threads or 1,
            with_gpu=(backend.device or "cpu") != "cpu",
            limits=config.limits,
        )
    with running as models:
        run_server(
            create_app(models, config, label_studio=label_studio),
            host=host,
            port=port,
            loopback_only=None if keys else "a server without --keys listens on 127.0.0.1 only",
            grace_s=GRACE_S,
            max_message_bytes=config.limits.max_image_mb * 2**20,
            on_ready=click.echo,
        )
    leave()


def label_studio_images(
    url: str | None, key_file: Path | None, prefixes: tuple[str, ...], *, max_mb: int
) -> LabelStudioImages | None:
    """Where images of Label Studio's tasks come from; None if it is not to be answered.

    Raises:
        ConfigError: the options do not go together, or the file has no token.
    """
    if url is None:
        if key_file is not None or prefixes:
            raise ConfigError("give the address of Label Studio, too: --label-studio URL")
        return None
    if key_file is None:
        raise ConfigError(
            "--label-studio needs --label-studio-key-file FILE, with an access token of a user who"
            " sees the tasks (Account & Settings in Label Studio)"
        )
    from samkit.serving import LabelStudioImages

    return LabelStudioImages(url, read_secret(key_file), prefixes=prefixes, max_mb=max_mb)


def read_access(host: str, keys_file: Path | None, new_key: str | None) -> Mapping[str, str] | None:
    """Read the keys; None if a new one was made, and nothing is to be served.

    Raises:
        ConfigError: there are none, though other machines could ask, or the file is broken.
        DataError: the file is missing.
    """
    from samkit.serving import add_key, read_keys

    if new_key is not None:
        if keys_file is None:
            raise ConfigError("--new-key needs --keys FILE, to which it adds the key")
        click.echo(add_key(keys_file, new_key))
        return None
    if keys_file is not None:
        return read_keys(keys_file)
    if host not in LOOPBACK:
        raise ConfigError(
            f"with --host {host} other machines could use the server: give --keys FILE"
        )
    return {}
