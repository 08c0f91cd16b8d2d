"""The model server's app."""

from __future__ import annotations

import asyncio

from fastapi import FastAPI

import samkit
from samkit.http import answer_local_names_only
from samkit.serving import label_studio as label_studio_routes
from samkit.serving import routes, sessions
from samkit.serving.access import Measured
from samkit.serving.config import ServingConfig
from samkit.serving.interface import Models
from samkit.serving.label_studio_images import LabelStudioImages
from samkit.serving.problems import add_error_handlers


def create_app(
    models: Models, config: ServingConfig, *, label_studio: LabelStudioImages | None = None
) -> FastAPI:
    """Create the app of a model server.

    Args:
        models: what answers jobs; the caller starts and stops it.
        label_studio: images of the Label Studio that may ask, too.
    """
    app = FastAPI(
        title="samkit model server",
        version=samkit.__version__,
        docs_url=None,  # these pages load scripts from other sites
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.models, app.state.config = models, config
    app.state.sessions = asyncio.Semaphore(config.limits.max_sessions)
    add_error_handlers(app)
    # Not include_router(), which makes all routes once more for each app.
    for router in (routes.open_router, routes.router, sessions.router):
        app.router.routes.extend(router.routes)
    if label_studio is not None:
        app.state.label_studio = label_studio
        app.router.routes.extend(label_studio_routes.router.routes)
    if config.local_only:
        answer_local_names_only(app)
    app.add_middleware(Measured, metrics=models.metrics)
    return app
