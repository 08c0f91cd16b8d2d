"""Process that serves a tiny model by two replicas of Ray Serve, and kills one under load.

    python ray_replicas.py FOLDER CHECKPOINT

writes report.json: the answers, how many replicas there were before and after, what streams gave.
"""

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import numpy as np
import ray

from samkit.backends import BackendChoice
from samkit.errors import PromptError
from samkit.proposals import AutoMaskConfig
from samkit.serving import Limits, ModelSpec, RayReplicas
from samkit.serving.jobs import AutoJob, EmbedJob, ImageFile, PredictJob, TrackJob
from samkit.serving.remote_answers import image_bytes

REPLICA = b"ray::ServeReplica:samkit:ModelReplica"
REQUESTS, KILLED_AFTER = 60, 20
WAIT_S = 240


def replicas():
    """Process ids of the replicas."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(REPLICA):
                found.append(int(path.parent.name))
        except OSError:  # noqa: PERF203 - it has ended
            continue
    return found


def others(killed):
    """Number of replicas without the killed ones."""
    return len(set(replicas()) - set(killed))


async def use(models, clip):
    """Ask, kill, ask on."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)
    image = ImageFile(sha256="0" * 64, content=image_bytes(pixels))
    embedded = json.loads(await models.ask(EmbedJob(image=image)))
    killed, answers = [], []

    async def ask(number):
        parts = {"points": [[20 + number % 3, 10]]}
        answers.append((number % 3, await models.ask(PredictJob(image=image, parts=parts))))
        if len(answers) == KILLED_AFTER:
            killed.append(replicas()[0])
            os.kill(killed[0], signal.SIGKILL)

    await asyncio.gather(*map(ask, range(REQUESTS)))
    end = time.monotonic() + WAIT_S
    # Ray counts a killed replica as ready until it has noticed.
    while (models.num_ready < 2 or others(killed) < 2) and time.monotonic() < end:
        await asyncio.sleep(0.5)
    refused = None
    try:
        await models.ask(PredictJob(image=image, parts={"points": [[999, 1]]}))
    except PromptError as error:
        refused = str(error)
    config = AutoMaskConfig(points_per_side=2)
    masks = [line async for line in models.stream(AutoJob(image=image, config=config))]
    prompts = ({"index": 0, "points": [[48, 32]]},)
    frames = [line async for line in models.stream(TrackJob(path=clip, prompts=prompts))]
    return {
        "size_hw": embedded["size_hw"],
        "answers": sorted({(kind, answer.decode()) for kind, answer in answers}),
        "num_answers": len(answers),
        "ready": models.num_ready,
        "processes": others(killed),
        "refused": refused,
        "last_lines": [json.loads(lines[-1]) for lines in (masks, frames)],
    }


def begin():
    """Start a cluster; Ray gives each attempt half a minute, too little on a busy machine."""
    for attempt in range(5):
        try:
            ray.init(num_cpus=2, include_dashboard=False, object_store_memory=80_000_000)
        except Exception:  # noqa: PERF203
            if attempt == 4:
                raise
            ray.shutdown()
        else:
            return


def main():
    folder, checkpoint = map(Path, sys.argv[1:])
    spec = ModelSpec(
        source=str(checkpoint),
        backend=BackendChoice(backend="torch", precision="float32"),
        cache_folder=folder / "embeddings",
    )
    begin()
    limits = Limits(timeout_s=WAIT_S, stream_s=WAIT_S)
    with RayReplicas("local", spec, replicas=2, limits=limits) as models:
        end = time.monotonic() + WAIT_S
        while models.num_ready < 2 and time.monotonic() < end:
            time.sleep(0.5)
        report = asyncio.run(use(models, folder / "clip.mp4"))
    (folder / "report.json").write_text(json.dumps(report))


if __name__ == "__main__":
    main()
