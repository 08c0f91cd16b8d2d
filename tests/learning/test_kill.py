"""Processes that are killed at random moments: work goes on, and nothing is lost or there twice.

SAMKIT_KILLS sets how often (default 4).
"""

import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import text

from learning.conftest import Team
from samkit.dataengine import (
    Store,
    add_images,
    all_items,
    create_project,
    list_annotations,
    list_images,
    list_learned_models,
    list_promotions,
    read_decoder,
    serving_version,
)
from samkit.learning import unpack_decoder
from samkit.weights import save_checkpoint, weights_sha256

pytestmark = pytest.mark.slow

logger = logging.getLogger(__name__)

KILLS = int(os.environ.get("SAMKIT_KILLS", "4"))
KINDS = ["server", "learner", "owner", "worker"]
# Promotes everything, and takes few steps: the judge is not what is tried here. It saves often, so
# that many moments are during or just after that.
LEARN = """
import sys
from dataclasses import replace
from samkit.cli.main import main
from samkit.learning import learn_recipe, learner
learn_recipe.MIN_STEPS = learn_recipe.MAX_STEPS = 30
judge, training = learner.Learner.judge, learner.LearnRecipe.training
def saves_often(*args, **options):
    recipe = training(*args, **options)
    return replace(recipe, run=replace(recipe.run, save_every=5))
learner.LearnRecipe.training = saves_often
learner.Learner.judge = lambda *a: replace(judge(*a), is_better=True)
sys.exit(main(["engine", "learn", *sys.argv[1:]]))
"""
OWNER = Path(__file__).with_name("prelabel_owner.py")
SMALL_HW = (60, 80)
PEOPLE = 2
THINK_S = 0.1  # before each action
MAX_PAUSE_S = 4.0  # before a kill
IMAGES_PER_KILL = 12  # more than are done in that time


@pytest.fixture
def model(tiny, tmp_path):
    """Options that choose a tiny model."""
    path = tmp_path / "tiny.safetensors"
    save_checkpoint(tiny.model, path, name="tiny")
    return ["--model", str(path), "--backend", "torch"]


@pytest.fixture
def environment(tmp_path, monkeypatch):
    monkeypatch.setenv("SAMKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def learn_command(where, model):
    command = [sys.executable, "-c", LEARN, "--store", str(where), "--project", "scenes"]
    return [*command, *model, "--general", "scenes:count=2,size=64,seed=9"]


def check_models(store, project_id, base):
    """Every promoted model is whole, promoted once, and a child of the one before."""
    learned = list_learned_models(store, project_id)
    promoted = [one.model_version_id for one in list_promotions(store, project_id)]
    assert len(promoted) == len(set(promoted)) == (len(learned) + 1 if learned else 0)
    for one in learned:
        whole = unpack_decoder(read_decoder(store, one.version.id), base)
        assert weights_sha256(whole) == one.version.checksum
    if learned:
        assert serving_version(store, project_id) == learned[-1].version.id
        assert [one.parent_id for one in learned] == promoted[:-1]
    return len(learned)


def test_killed_learners_lose_nothing(team, tiny, tmp_path, model, environment):
    team.finish(team.images)
    command = learn_command(tmp_path / "store.db", model)
    moments = random.Random(0)
    killed = finished = 0
    seconds = 600.0  # then what a run takes here
    while killed < KILLS or not finished:
        started = time.monotonic()
        process = subprocess.Popen(command, stderr=subprocess.PIPE)
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
        # Killed after its last commit, it counts as well.
        assert check_models(team.store, team.project.id, tiny.model) >= finished


class Crew:
    """A server with people at work, a learner, and a process with two workers.

    Attributes:
        acknowledged: what people were told is stored.
        finished: how often each process ended by itself.
    """

    def __init__(self, annotator, server, commands, serve, *, project_id, names, log):
        self.annotator, self.server_of = annotator, server
        self.commands, self.serve, self.log = commands, serve, log
        self.project_id, self.names = project_id, names
        self.acknowledged = annotator.Acknowledged()
        self.finished = Counter()
        self.server = None
        self.processes = {}
        self.people, self.threads, self.refused = [], [], []

    def start_missing(self):
        """Start what is not there, and check what has ended by itself."""
        for name, command in self.commands.items():
            process = self.processes.get(name)
            if process is not None and process.poll() is not None:
                assert process.returncode == 0, self.log.read_text()[-2000:]
                self.finished[name] += 1
            if process is None or process.poll() is not None:
                with self.log.open("ab") as log:
                    self.processes[name] = subprocess.Popen(command, stdout=log, stderr=log)
        if self.server is None:
            self.start_server()

    def start_server(self):
        self.server = self.server_of.Server(self.serve, self.log)
        self.threads = [
            threading.Thread(target=self._work, args=(name, self.server.url)) for name in self.names
        ]
        for thread in self.threads:
            thread.start()

    def _work(self, name, url):
        with suppress(httpx2.TransportError):  # the server's death; a refusal before it is an error
            try:
                one = self.annotator.Annotator(
                    url,
                    name,
                    project_id=self.project_id,
                    seed=time.time_ns(),
                    prompts=False,
                    think_s=THINK_S,
                )
                self.people.append(one)
                one.work(lambda: False)
            except RuntimeError as error:
                self.refused.append(str(error))

    def kill(self, name, choose):
        """Kill a process as by kill -9; return which. A worker is one of the owner's, if any."""
        if name == "server":
            self.stop_people()
            return name
        if name == "worker":
            owner = self.processes["owner"]
            while not (workers := workers_of(owner.pid)) and owner.poll() is None:
                time.sleep(0.05)
            if workers:
                with suppress(ProcessLookupError):
                    os.kill(choose(workers), signal.SIGKILL)
                return name
            name = "owner"
        process = self.processes.pop(name)
        process.kill()
        process.wait()
        return name

    def stop_people(self):
        self.server.kill()
        self.server = None
        for thread in self.threads:
            thread.join()
        for one in self.people:
            self.acknowledged.merge(one.acknowledged)
        self.people = []
        assert self.refused == []

    def wait_for_end(self):
        """Let the learner and the workers end what they do."""
        self.stop_people()
        for name, process in self.processes.items():
            assert process.wait() == 0, self.log.read_text()[-2000:]
            self.finished[name] += 1

    def close(self):
        for process in self.processes.values():
            process.kill()
            process.wait()
        if self.server is not None:
            self.server.kill()


def workers_of(pid):
    """Workers among the processes that an owner has started."""
    with suppress(FileNotFoundError, ProcessLookupError):
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [
            int(child)
            for child in found
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()
        ]
    return []


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_killed_servers_learners_and_workers_lose_nothing(
    database, request, monkeypatch, scene_folder, scenes, tiny, model, environment, tmp_path
):
    if database == "postgresql" and "SAMKIT_TEST_POSTGRES" not in os.environ:
        pytest.skip("SAMKIT_TEST_POSTGRES has no URL of a server")
    monkeypatch.syspath_prepend(request.config.rootpath / "benchmarks")
    import studio_annotator
    import studio_server

    num_images = 60 + KILLS * IMAGES_PER_KILL
    images = tmp_path / "images"
    images.mkdir()
    studio_server.make_images(images, num_images, SMALL_HW)
    with studio_server.empty_database(studio_server.postgres_url(database)) as where:
        people_id, names = studio_server.make_store(where, images, PEOPLE)
        with Store.open(where) as store:
            team = Team(store, scene_folder, scenes)
            team.finish(team.images)
            automatic = create_project(store, name="automatic", root=images)
            added = add_images(store, automatic.id).num_added
            commands = {
                "learner": learn_command(where, model),
                "owner": [sys.executable, OWNER, where, str(automatic.id), str(team.robot)],
            }
            crew = Crew(
                studio_annotator,
                studio_server,
                commands,
                [*studio_server.serve_command(where), *model],
                project_id=people_id,
                names=names,
                log=tmp_path / "log",
            )
            moments = random.Random(0)
            killed, waiting = Counter(), []
            try:
                while killed.total() < KILLS:
                    crew.start_missing()
                    time.sleep(moments.uniform(0, MAX_PAUSE_S))
                    # Each kind once, in a random order; then again.
                    waiting = waiting or moments.sample(KINDS, len(KINDS))
                    killed[crew.kill(waiting.pop(), moments.choice)] += 1
                    if crew.server is None:
                        check_store(store, crew, studio_annotator)
                    check_models(store, team.project.id, tiny.model)
                crew.start_missing()
                crew.wait_for_end()
            finally:
                crew.close()
            check_store(store, crew, studio_annotator)
            assert check_models(store, team.project.id, tiny.model) >= crew.finished["learner"] > 0
            check_each_image_once(store, automatic.id, added)
            counts = (dict(killed), dict(crew.finished), len(crew.acknowledged))
            logger.info("killed %s, ended by themselves %s, acknowledged %d", *counts)


def check_store(store, crew, annotator):
    """What people were told is stored, is; and the database is sound."""
    assert annotator.faults(store, crew.acknowledged, exactly=False) == []
    if store.path is not None:
        with store.read() as session:
            assert session.execute(text("PRAGMA integrity_check")).scalar() == "ok"


def check_each_image_once(store, project_id, num_images):
    """Each image has the one mask that was found on it."""
    images = list(all_items(lambda after: list_images(store, project_id, after=after)))
    assert len(images) == num_images
    counts = Counter(len(list_annotations(store, image.id)) for image in images)
    assert counts == {1: num_images}
