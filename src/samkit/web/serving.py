"""Running the studio's server."""

from collections.abc import Callable, Sequence

from fastapi import FastAPI

from samkit.http import run_server


def serve(
    app: FastAPI,
    *,
    host: str,
    port: int,
    trusted_proxies: Sequence[str] = (),
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Run an app of `create_app`; see `samkit.http.run_server`.

    Raises:
        ConfigError: it cannot listen there, or a server for one person would be open to others.
    """
    is_local = app.state.studio.config.is_local
    run_server(
        app,
        host=host,
        port=port,
        trusted_proxies=trusted_proxies,
        loopback_only="a server for one person listens on 127.0.0.1 only" if is_local else None,
        on_ready=on_ready,
    )
