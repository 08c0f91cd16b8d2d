"""The command `samkit serve`: the data engine's server for many annotators."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from samkit.backends import BackendChoice
from samkit.cli.server import (
    LOOPBACK,
    address_options,
    check_text_model,
    leave,
    make_app,
    server_options,
)
from samkit.cli.sign_on import sign_on, sign_on_options
from samkit.cli.stores import all_users, open_store, store_option
from samkit.errors import StoreError
from samkit.weights import check_source

if TYPE_CHECKING:
    from samkit.dataengine import Role
    from samkit.predict import Refine


@click.command()
@store_option
@address_options
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
@click.option(
    "--private-webhooks",
    is_flag=True,
    help="Also send events to webhooks in private networks, and without TLS.",
)
@sign_on_options
@server_options
def serve(
    *,
    where: str,
    host: str,
    port: int,
    proxies: tuple[str, ...],
    roots: tuple[Path, ...],
    private_webhooks: bool,
    oidc_issuer: str | None,
    oidc_client: str | None,
    oidc_secret_file: Path | None,
    oidc_label: str,
    oidc_claim: str,
    oidc_roles: tuple[str, ...],
    oidc_default_role: Role | None,
    model: str,
    text_model: str | None,
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
    check_text_model(text_model)
    oidc = sign_on(
        issuer=oidc_issuer,
        client=oidc_client,
        secret_file=oidc_secret_file,
        label=oidc_label,
        claim=oidc_claim,
        roles=oidc_roles,
        default_role=oidc_default_role,
    )
    with open_store(where) as store:
        if oidc is None and not any(one.active for one in all_users(store)):
            raise StoreError("nobody can sign in: samkit engine users add NAME --role admin")
        app = make_app(
            store,
            model=model,
            text_model=text_model,
            backend=backend,
            cache_gb=cache_gb,
            refine=refine,
            allowed_roots=tuple(root.resolve() for root in roots),
            private_webhooks=private_webhooks,
            oidc=oidc,
        )
        from samkit.web import serve as run_server

        if host not in LOOPBACK and not proxies:
            click.echo("samkit: passwords are sent unencrypted without a TLS proxy", err=True)
        run_server(app, host=host, port=port, trusted_proxies=proxies, on_ready=click.echo)
    leave()
