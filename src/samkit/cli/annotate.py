"""The command `samkit annotate`: annotation of one folder by one person."""

from __future__ import annotations

import os
import secrets
import socket
import sys
import threading
import time
import webbrowser
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from samkit.backends import BackendChoice
from samkit.cli.options import ValueRangeType
from samkit.cli.progress import progress
from samkit.cli.server import check_text_model, leave, make_app, server_options
from samkit.cli.stores import (
    STORE_IN_FOLDER,
    all_projects,
    check_installed,
    local_admin,
    open_store,
    shown_place,
    split_names,
)
from samkit.errors import StoreError
from samkit.weights import check_source

if TYPE_CHECKING:
    from samkit.dataengine import Project, Store
    from samkit.predict import Refine

HOST = "127.0.0.1"
TOKEN_BYTES = 32
POLL_S = 0.3
FIRST_PORT, NUM_PORTS = 49152, 16384  # dynamic ports: no service is registered for them (RFC 6335)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--classes", default="", metavar="A,B,...", help="Classes to label with.")
@click.option(
    "--store",
    "where",
    envvar="SAMKIT_STORE",
    metavar="FILE|URL",
    help=f"Store for the masks; default: {STORE_IN_FOLDER.as_posix()} in FOLDER.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="Port of the page; by default one derived from the folder, or any free one.",
)
@click.option(
    "--range",
    "value_range",
    type=ValueRangeType(),
    help="Which values become black and white in images of more than 8 bits; by default as before,"
    " at first auto. See samkit segment.",
)
@click.option("--browser/--no-browser", default=True, help="Open the page, or only print its URL.")
@server_options
def annotate(
    *,
    folder: Path,
    classes: str,
    where: str | None,
    port: int | None,
    value_range: str | None,
    browser: bool,
    model: str,
    text_model: str | None,
    backend: BackendChoice,
    cache_gb: float,
    refine: Refine,
) -> None:
    """Annotate the images and videos of a folder on a page in the browser; Ctrl+C ends it.

    They stay where they are; masks are stored in a file in the folder. The page is private: it is
    served to this computer only, and its URL contains a key.

    \b
    samkit annotate images --classes cell,nucleus
    """
    check_installed()
    check_source(model)
    check_text_model(text_model)
    with open_store(_place(folder, where), create=True) as store:
        from samkit.dataengine import SCAN, add_class, add_job, add_videos, set_value_range

        project = _project(store, folder, is_own=where is None)
        if value_range not in (None, project.value_range):
            set_value_range(store, project.id, value_range or "auto")
        for name in split_names(classes):
            add_class(store, project.id, name)
        scan = add_job(store, project.id, SCAN, {})
        for fault in add_videos(store, project.id).faults:
            click.echo(f"samkit: {fault}", err=True)
        token = secrets.token_urlsafe(TOKEN_BYTES)
        app = make_app(
            store,
            model=model,
            text_model=text_model,
            backend=backend,
            cache_gb=cache_gb,
            refine=refine,
            local_token=token,
            local_user_id=local_admin(store).id,
            allowed_roots=(folder.resolve(),),
        )
        from samkit.web import serve

        def show(address: str) -> None:
            url = f"{address}/?token={token}"
            click.echo(url)
            threading.Thread(target=tell_left_out, args=(store, scan.id), daemon=True).start()
            if browser and _has_screen():
                # In a thread, since some browsers return only when they are closed.
                threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()

        serve(app, host=HOST, port=own_port(folder) if port is None else port, on_ready=show)
        click.echo(f"samkit: all masks are in {shown_place(store.url)}", err=True)
    leave()


def tell_left_out(store: Store, job_id: int) -> None:
    """Wait for a scan of the folder, and say which files are no images of the project, and why."""
    from samkit.dataengine import get_job
    from samkit.errors import SamkitError
    from samkit.formats import left_out_summary

    try:
        while (job := get_job(store, job_id)).state in ("waiting", "running"):
            time.sleep(POLL_S)
    except SamkitError:
        return  # the store is closed: the command has ended
    report = job.data.get("report", {})
    lines = list(report.get("faults", []))
    lines += [f"{path}: has the content of {other}" for path, other in report.get("duplicates", [])]
    if summary := left_out_summary(report.get("left_out", {})):
        lines.append(summary)
    if job.error:
        lines.append(f"the folder cannot be scanned: {job.error}")
    for line in lines:
        click.echo(f"samkit: {line}", err=True)


def own_port(folder: Path) -> int:
    """Return the folder's port, the same each time; 0 if it is taken.

    Browsers store unsent work by the page's origin, which includes the port.
    """
    port = FIRST_PORT + zlib.crc32(os.fsencode(folder.resolve())) % NUM_PORTS
    try:
        with socket.create_server((HOST, port)):
            return port
    except OSError:
        return 0


def _place(folder: Path, where: str | None) -> str:
    """Return the store's path or URL, after checking the folder.

    Raises:
        StoreError: the folder is missing, or has neither images nor videos.
    """
    from samkit.dataengine import ImageSource, find_videos

    images = ImageSource(folder).paths()
    if next(images, None) is None and next(find_videos(folder), None) is None:
        raise StoreError(f"no image or video in the folder {folder}")
    return where or str(folder / STORE_IN_FOLDER)


def _project(store: Store, folder: Path, *, is_own: bool) -> Project:
    """Return the folder's project, creating it if there is none.

    The only project of a store in the folder belongs to the folder: if both were moved together,
    the images are found again.
    """
    from samkit.dataengine import create_project, get_project, move_project

    root = folder.resolve()
    projects = all_projects(store)
    for one in projects:
        if one.root == str(root):
            return one
    if is_own and len(projects) == 1:
        click.echo(f"samkit: {projects[0].root} is now {root}: looking for its images", err=True)
        with progress("image") as meter:
            move_project(store, projects[0].id, root, allow_missing=True, on_image=meter.update)
        return get_project(store, projects[0].id)
    return create_project(store, name=root.name or "images", root=root)


def _has_screen() -> bool:
    """Whether a browser would open a window rather than run in this terminal."""
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
