"""A learner that is killed at random moments: it goes on, and the store has whole models only.

SAMKIT_KILLS sets how often (default 5).
"""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from samkit.dataengine import (
    list_learned_models,
    list_promotions,
    read_decoder,
    serving_version,
)
from samkit.learning import unpack_decoder
from samkit.weights import save_checkpoint, weights_sha256

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("SAMKIT_KILLS", "5"))
# Promotes everything, and takes some steps: the judge is not what is tried here.
LEARN = """
import dataclasses, sys
from samkit.cli.main import main
from samkit.learning import learner
learner.MIN_STEPS = learner.MAX_STEPS = 120
judge = learner.Learner.judge
learner.Learner.judge = lambda *a: dataclasses.replace(judge(*a), is_better=True)
sys.exit(main(["engine", "learn", *sys.argv[1:]]))
"""


def test_killed_learners_lose_nothing(team, tiny, tmp_path):
    team.finish(team.images)
    model = tmp_path / "tiny.safetensors"
    save_checkpoint(tiny.model, model, name="tiny")
    command = [sys.executable, "-c", LEARN, "--store", team.store.url.removeprefix("sqlite:///")]
    command += ["--model", str(model), "--general", "scenes:count=2,size=64,seed=9"]
    environment = os.environ | {"SAMKIT_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    moments = random.Random(0)
    killed = finished = 0
    seconds = 600.0  # then what a run takes here
    while killed < KILLS or not finished:
        started = time.monotonic()
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
        try:
            limit = moments.uniform(0.3, 1.1) * seconds if finished else seconds
            _, errors = process.communicate(timeout=limit)
            assert process.returncode == 0, errors.decode()
            finished += 1
            seconds = time.monotonic() - started
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            killed += 1
        learned = list_learned_models(team.store, team.project.id)
        assert len(learned) >= finished  # killed after its last commit, it counts as well
        promoted = [one.model_version_id for one in list_promotions(team.store, team.project.id)]
        assert len(promoted) == len(set(promoted)) == (len(learned) + 1 if learned else 0)
        for one in learned:
            whole = unpack_decoder(read_decoder(team.store, one.version.id), tiny.model)
            assert weights_sha256(whole) == one.version.checksum
        if learned:
            assert serving_version(team.store, team.project.id) == learned[-1].version.id
            parents = [one.parent_id for one in learned]
            assert parents == promoted[:-1]
