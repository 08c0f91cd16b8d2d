"""Serving a model to programs: a server with workers of its own, and a client.

with WorkerPool(lambda: ProcessWorker(spec, threads=1), size=2) as pool:
run_server(create_app(pool, ServingConfig()), host="127.0.0.1", port=8000)

with Client("http://127.0.0.1:8000") as client:
masks = client.predict("image.jpg", points=[[500, 375]]).best().masks
"""

from typing import TYPE_CHECKING

from samkit.lazy import lazy_names
from samkit.serving.config import Limits, ModelSpec, ServingConfig
from samkit.serving.errors import (
    BusyError,
    NoTextModelError,
    ServerError,
    TimedOutError,
    UnknownImageError,
)
from samkit.serving.keys import add_key, read_keys

if TYPE_CHECKING:  # FastAPI, HTTP clients and torch take a while to import
    from samkit.serving.app import create_app
    from samkit.serving.client import Client
    from samkit.serving.interface import Models
    from samkit.serving.label_studio_images import LabelStudioImages
    from samkit.serving.model import ServedModel
    from samkit.serving.pool import WorkerPool
    from samkit.serving.ray_replicas import RayReplicas
    from samkit.serving.remote_answers import EmbeddedImage, PromptAnswer
    from samkit.serving.remote_session import RemoteSession
    from samkit.serving.workers import ProcessWorker, ThreadWorker

__all__ = [
    "BusyError",
    "Client",
    "EmbeddedImage",
    "LabelStudioImages",
    "Limits",
    "ModelSpec",
    "Models",
    "NoTextModelError",
    "ProcessWorker",
    "PromptAnswer",
    "RayReplicas",
    "RemoteSession",
    "ServedModel",
    "ServerError",
    "ServingConfig",
    "ThreadWorker",
    "TimedOutError",
    "UnknownImageError",
    "WorkerPool",
    "add_key",
    "create_app",
    "read_keys",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Client": "client",
        "EmbeddedImage": "remote_answers",
        "LabelStudioImages": "label_studio_images",
        "Models": "interface",
        "ProcessWorker": "workers",
        "PromptAnswer": "remote_answers",
        "RayReplicas": "ray_replicas",
        "RemoteSession": "remote_session",
        "ServedModel": "model",
        "ThreadWorker": "workers",
        "WorkerPool": "pool",
        "create_app": "app",
    },
)
