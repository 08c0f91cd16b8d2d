"""Replicas by Ray Serve on a cluster of this machine, of which one is killed under load."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from event_loops import run_async
from samkit.backends import BackendChoice
from samkit.errors import PromptError
from samkit.predict import Predictor
from samkit.proposals import AutoMaskConfig
from samkit.serving import Limits, ModelSpec, RayReplicas
from samkit.serving.jobs import AutoJob, ImageFile, PredictJob, TrackJob
from samkit.serving.remote_answers import image_bytes
from samkit.weights import save_checkpoint
from serving.conftest import draw
from video.clips import write_clip

pytest.importorskip("grpc_reflection", reason="Ray Serve is not installed")
SCRIPT = Path(__file__).with_name("ray_replicas.py")


@pytest.mark.filterwarnings("ignore")  # Ray Serve's own
def test_answers_and_streams_come_through_ray_serve(tmp_path, tiny_sam, monkeypatch):
    """By Ray Serve's own handles and replica, in its mode for tests, without a cluster."""
    import ray
    from ray import serve

    run = serve.run
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(serve, "start", lambda **options: None)
    monkeypatch.setattr(serve, "delete", lambda name: None)
    monkeypatch.setattr(
        serve, "run", lambda app, **options: run(app, _local_testing_mode=True, **options)
    )
    spec = write_model(tmp_path, tiny_sam)
    image = ImageFile(sha256="0" * 64, content=image_bytes(draw(0, (40, 56))))
    job = PredictJob(image=image, parts={"points": [[20, 10]]})
    outside = PredictJob(image=image, parts={"points": [[999, 1]]})
    auto = AutoJob(image=image, config=AutoMaskConfig(points_per_side=2))
    prompts = ({"index": 0, "points": [[48, 32]]},)
    track = TrackJob(path=tmp_path / "clip.mp4", prompts=prompts)

    async def use(models):
        answers = await asyncio.gather(*(models.ask(job) for _ in range(8)))
        with pytest.raises(PromptError, match="lies outside"):
            await models.ask(outside)
        masks = [json.loads(line)["type"] async for line in models.stream(auto)]
        frames = [json.loads(line)["type"] async for line in models.stream(track)]
        left = models.stream(auto)
        await anext(left)
        await left.aclose()
        return answers, masks, frames

    with RayReplicas("local", spec, limits=Limits(timeout_s=100)) as models:
        answers, masks, frames = run_async(use(models))
    own = own_rles(tmp_path / "tiny.safetensors", [20, 10])
    assert [rles_of(answer) for answer in answers] == [own] * 8
    assert (masks[0], masks[-1]) == ("begin", "end")
    assert frames == ["begin", "frame", "frame", "frame", "end"]


def write_model(folder, model):
    """Write a model and a clip; return what replicas load."""
    save_checkpoint(model, folder / "tiny.safetensors", name="tiny")
    pixels = draw(3, (64, 96))
    write_clip(folder / "clip.mp4", [np.roll(pixels, shift, axis=1) for shift in range(3)])
    return ModelSpec(
        source=str(folder / "tiny.safetensors"),
        backend=BackendChoice(backend="torch", precision="float32"),
        cache_folder=folder / "embeddings",
    )


def own_rles(checkpoint, point):
    """The masks of a local predictor."""
    predictor = Predictor.load(checkpoint, backend="torch", precision="float32")
    embedding = predictor.embed(draw(0, (40, 56)))
    return predictor.predict(embedding, points=[point]).rles()


def rles_of(answer):
    masks = json.loads(answer)["answers"][0]["masks"]
    return tuple(mask["segmentation"] for mask in masks)


def test_a_replica_that_is_killed_is_replaced_and_loses_no_request(tmp_path, tiny_sam):
    write_model(tmp_path, tiny_sam)
    checkpoint = tmp_path / "tiny.safetensors"
    done = subprocess.run(
        [sys.executable, SCRIPT, tmp_path, checkpoint], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["size_hw"] == [40, 56]
    assert report["num_answers"] == 60
    assert report["ready"] == 2
    assert report["processes"] >= 2  # without the killed one; Ray may hold another ready
    assert "lies outside" in report["refused"]
    assert report["last_lines"][0]["type"] == "end"
    assert report["last_lines"][1] == {"type": "end", "frames": 3}
    # All replicas give the answers of a local predictor.
    assert {kind for kind, _ in report["answers"]} == {0, 1, 2}
    for kind, answer in report["answers"]:
        assert rles_of(answer) == own_rles(checkpoint, [20 + kind, 10])
