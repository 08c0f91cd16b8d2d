"""The server's app over one store."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.staticfiles import StaticFiles

import samkit
from samkit.dataengine import Store, work_once
from samkit.http import answer_local_names_only
from samkit.web import prompting
from samkit.web.activity import Activity
from samkit.web.config import WebConfig
from samkit.web.decoders import DecoderFiles
from samkit.web.embedder import Embedder
from samkit.web.followers import FollowerProcess
from samkit.web.learning import LearnerProcesses
from samkit.web.oidc import OidcClient
from samkit.web.problems import add_error_handlers
from samkit.web.routes import (
    annotations,
    audits,
    classes,
    clips,
    comments,
    decoding,
    exchange,
    honey_pots,
    images,
    labelling,
    learning,
    leases,
    oidc,
    people,
    pictures,
    projects,
    proposals,
    selection,
    team,
    tokens,
    tracks,
    video_reviews,
    videos,
    webhooks,
)
from samkit.web.security import SecurityHeaders
from samkit.web.served_models import ServedModels
from samkit.web.state import ServerState
from samkit.web.text import TextSource
from samkit.web.tiles import TileCache
from samkit.web.video_frames import VideoFrames
from samkit.web.video_prompts import VideoPrompter
from samkit.web.webhooks import WebhookSender
from samkit.web.workers import PriorityPool

if TYPE_CHECKING:  # torch takes seconds to import
    from samkit.predict import Predictor

PICTURES_AT_ONCE = 2  # decoding an image of 100 megapixels takes 300 MB
PAGE_FOLDER = Path(__file__).parent / "page"


def create_app(
    store: Store, *, load_predictor: Callable[[], "Predictor"], config: WebConfig
) -> FastAPI:
    """Create the server's app: the page, the REST API below /api, and the WebSocket for prompts.

    Args:
        store: the store to serve; the caller closes it.
        load_predictor: called once, on the encoder's thread, when the app starts.
    """
    tiles = TileCache(store, config)
    embedder = Embedder(store, config, load_predictor, tiles)
    activity = Activity()
    frames = VideoFrames(store)
    studio = ServerState(
        store=store,
        config=config,
        embedder=embedder,
        models=ServedModels(store, embedder),
        decoders=DecoderFiles(config, tiles),
        learners=LearnerProcesses(
            store,
            config.learner_options,
            idle_s=activity.idle_s,
            most_embedded=config.most_embedded,
        ),
        webhooks=WebhookSender(store, private=config.private_webhooks),
        oidc=None if config.oidc is None else OidcClient(config.oidc),
        activity=activity,
        prompts=PriorityPool(config.prompt_threads, "prompts"),
        pictures=PriorityPool(PICTURES_AT_ONCE, "pictures"),
        background=PriorityPool(1, "background"),
        text=TextSource(config.text_model),
        reading=PriorityPool(PICTURES_AT_ONCE, "frames"),
        tracking=PriorityPool(1, "tracking"),
        followers=FollowerProcess(store, config.learner_options),
        frames=frames,
        prompter=VideoPrompter(frames),
        tiles=tiles,
    )

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        with studio.running():
            studio.background.submit(0, lambda: work_all(store))
            yield

    app = FastAPI(
        title="samkit",
        version=samkit.__version__,
        lifespan=lifespan,
        openapi_url="/api/openapi.json",
        docs_url=None,  # these pages load scripts from other sites
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.studio = studio
    add_error_handlers(app)
    # Not include_router(), which makes all routes once more for each app: a tenth of a second.
    for router in (
        people.router,
        oidc.router,
        projects.router,
        classes.router,
        labelling.router,
        learning.router,
        audits.router,
        images.router,
        images.files,
        pictures.router,
        leases.router,
        decoding.router,
        selection.router,
        annotations.router,
        comments.router,
        proposals.router,
        videos.router,
        video_reviews.router,
        tracks.router,
        clips.router,
        exchange.router,
        team.router,
        tokens.router,
        webhooks.router,
        honey_pots.router,
        prompting.router,
    ):
        app.router.routes.extend(router.routes)
    app.mount("/", StaticFiles(directory=PAGE_FOLDER, html=True), name="page")
    if config.is_local:
        answer_local_names_only(app)
    app.add_middleware(SecurityHeaders)
    return app


def work_all(store: Store) -> None:
    """Run the jobs left over from the server's last run."""
    while work_once(store) is not None:
        pass
