"""Encoding: once, requested images first, ahead of annotators, within memory limits."""

import platform
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest

from samkit.dataengine import list_model_versions
from samkit.errors import SamkitError, StoreError, WeightsError
from samkit.web.embedder import Embedder
from samkit.web.tiles import TileCache
from samkit.web.workers import PriorityPool


class Counting:
    """A predictor that notes what it encodes, and waits at a gate before."""

    def __init__(self, predictor):
        self._predictor = predictor
        self.encoded = []  # the value of the images' pixels
        self.gate = threading.Event()
        self.gate.set()
        self.begun = threading.Event()

    def embed(self, pixels):
        if pixels.shape[0] > 8:  # not the picture to warm up with
            self.encoded.append(int(pixels[0, 0, 0]))
            self.begun.set()
            assert self.gate.wait(30)
        return self._predictor.embed(pixels)

    def __getattr__(self, name):
        return getattr(self._predictor, name)


@pytest.fixture
def counting(tiny_predictor):
    return Counting(tiny_predictor)


@pytest.fixture
def start(sqlite_scene, config, counting):
    """Run embedders until the test ends."""
    running = []

    def run(**changes):
        settings = replace(config, **changes)
        tiles = TileCache(sqlite_scene.store, settings)
        embedder = Embedder(sqlite_scene.store, settings, lambda: counting, tiles)
        embedder.start()
        running.append(embedder)
        return embedder

    yield run
    counting.gate.set()
    for embedder in running:
        embedder.stop()


def test_image_is_encoded_once(start, sqlite_scene, counting):
    embedder, image = start(), sqlite_scene.images[1]
    first, second = embedder.ask(image), embedder.ask(image)
    assert first.result(60) is second.result(60)
    assert embedder.ask(image).result(60) is first.result()
    assert counting.encoded == [20]
    assert list_model_versions(sqlite_scene.store)[0] == embedder.model


def test_embedding_is_cached_on_disk(start, sqlite_scene, counting):
    image = sqlite_scene.images[1]
    made, found = (start().ask(image).result(60) for _ in range(2))
    assert counting.encoded == [20]
    assert made.encode_ms > 0
    assert found.encode_ms == 0
    assert (made.embedding.features.grid == found.embedding.features.grid).all()


def test_image_that_somebody_waits_for_goes_first(start, sqlite_scene, counting):
    counting.gate.clear()
    embedder, images = start(), sqlite_scene.images
    embedder.ask(images[0])
    assert counting.begun.wait(60)
    embedder.encode_ahead([images[1], images[2]])
    asked = embedder.ask(images[2])
    counting.gate.set()
    asked.result(60)
    embedder.ask(images[1]).result(60)
    assert counting.encoded == [0, 40, 20]


def test_memory_is_bounded(start, sqlite_scene, counting):
    embedder = start(embeddings_cached=2)
    for image in sqlite_scene.images:
        embedder.ask(image).result(60)
    assert len(embedder._cached) == 2
    assert len(counting.encoded) == 4
    embedder.ask(sqlite_scene.images[0]).result(60)  # from the disk
    assert len(counting.encoded) == 4


def test_next_images_are_encoded_ahead(sqlite_server):
    server = sqlite_server
    lease = server.ann.post(f"/api/projects/{server.scene.project.id}/next").json()["lease"]
    held = lease["image"]["id"]
    server.studio.embedder._pool.submit(9, lambda: None).result(60)  # after them
    cached = {key for key, _, _ in server.studio.embedder._cached}
    assert cached == {one.pixels_key for one in server.scene.images if one.id != held}


def test_full_disk_does_not_stop_the_work(start, sqlite_scene, counting, config, monkeypatch):
    from samkit.errors import OutputError
    from samkit.predict import EmbeddingCache

    def refuse(*_):
        raise OutputError("no space left")

    monkeypatch.setattr(EmbeddingCache, "put", refuse)
    assert start().ask(sqlite_scene.images[0]).result(60).encode_ms > 0


def test_image_that_has_changed_is_not_encoded(start, sqlite_scene, counting):
    image = replace(sqlite_scene.images[0], sha256="0" * 64)
    with pytest.raises(StoreError, match="has changed"):
        start().ask(image).result(60)
    assert counting.encoded == []


def test_model_that_cannot_be_loaded_is_told(sqlite_scene, config):
    def fail():
        raise WeightsError("no such model")

    embedder = Embedder(sqlite_scene.store, config, fail, TileCache(sqlite_scene.store, config))
    embedder.start()
    with pytest.raises(WeightsError, match="no such model"):
        embedder.ask(sqlite_scene.images[0]).result(60)
    assert embedder.model is None
    embedder.stop()


def test_model_that_fails_to_load_in_another_way_is_told_too(sqlite_scene, config, caplog):
    embedder = Embedder(
        sqlite_scene.store, config, lambda: 1 / 0, TileCache(sqlite_scene.store, config)
    )
    embedder.start()
    with pytest.raises(SamkitError, match="cannot be loaded: see the server's log"):
        embedder.ask(sqlite_scene.images[0]).result(60)
    assert "ZeroDivisionError" in caplog.text
    embedder.stop()


def test_what_nobody_waits_for_is_not_encoded(start, sqlite_scene, counting):
    counting.gate.clear()
    embedder, images = start(), sqlite_scene.images
    embedder.ask(images[0])
    assert counting.begun.wait(60)
    embedder.give_up(images[1], embedder.ask(images[1]))
    first, second = embedder.ask(images[2]), embedder.ask(images[2])
    assert first is second
    embedder.give_up(images[2], first)  # the other one still waits
    last = embedder.ask(images[3])
    counting.gate.set()
    last.result(60)
    assert counting.encoded == [0, 40, 60]
    assert embedder._requests == {}


def test_urgent_work_is_done_first():
    pool, gate, done = PriorityPool(1, "test"), threading.Event(), []
    pool.start()
    pool.submit(0, gate.wait)
    futures = [
        pool.submit(priority, lambda name=name: done.append(name))
        for priority, name in ((2, "a"), (1, "b"), (2, "c"), (1, "d"))
    ]
    assert futures[3].cancel()
    gate.set()
    for future in futures[:3]:
        future.result(30)
    assert done == ["b", "a", "c"]
    broken = pool.submit(0, lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        broken.result(30)
    assert pool.submit(0, lambda: np.int64(3)).result(30) == 3
    pool.stop()


HOLES = """
import numpy as np
from pathlib import Path
from samkit.web.embedder import release_freed_memory

def resident_mb():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

before = resident_mb()
blocks = [np.ones(100_000, np.uint8) for _ in range(2000)]  # 191 MB
blocks = blocks[::20]
holes = resident_mb() - before
release_freed_memory()
print(holes, resident_mb() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc holds on to freed memory")
def test_freed_holes_between_used_blocks_return_to_the_system():
    done = subprocess.run([sys.executable, "-c", HOLES], capture_output=True, text=True, check=True)
    holes_mb, left_mb = map(float, done.stdout.split())
    assert holes_mb > 150
    assert left_mb < 40  # 10 are in use
