"""The command `samkit serve`: the data engine's server for many annotators."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from samkit.backends import BackendChoice
from samkit.cli.server import leave, make_app, server_options
from samkit.cli.stores import all_users, open_store, store_option
from samkit.errors import StoreError
from samkit.weights import check_source

if TYPE_CHECKING:
    from samkit.predict import Refine

LOOPBACK = ("127.0.0.1", "::1", "localhost")


@click.command()
@store_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="Port."
)
@click.option(
    "--trusted-proxy",
    "proxies",
    multiple=True,
    metavar="ADDRESS",
    help="Address or network of a reverse proxy whose X-Forwarded-* headers are trusted;"
    " repeatable.",
)
@click.option(
    "--root",
    "roots",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Folder below which admins may create projects on the page; repeatable.",
)
@server_options
def serve(
    *,
    where: str,
    host: str,
    port: int,
    proxies: tuple[str, ...],
    roots: tuple[Path, ...],
    model: str,
    backend: BackendChoice,
    cache_gb: float,
    refine: Refine,
) -> None:
    """Serve a store's projects to annotators, who sign in with a name and a password.

    Put a reverse proxy with TLS in front of it; see docs/data-engine.md.

    \b
    samkit serve --store postgresql://samkit@db/samkit --trusted-proxy 127.0.0.1
    """
    check_source(model)
    with open_store(where) as store:
        if not any(one.active for one in all_users(store)):
            raise StoreError("nobody can sign in: samkit engine users add NAME --role admin")
        app = make_app(
            store,
            model=model,
            backend=backend,
            cache_gb=cache_gb,
            refine=refine,
            allowed_roots=tuple(root.resolve() for root in roots),
        )
        from samkit.web import serve as run_server

        if host not in LOOPBACK and not proxies:
            click.echo("samkit: passwords are sent unencrypted without a TLS proxy", err=True)
        run_server(app, host=host, port=port, trusted_proxies=proxies, on_ready=click.echo)
    leave()
