"""Use a predictor in other processes; run as a process, which the test stops if it hangs.

    python run_processes.py CHECKPOINT BACKEND CASE

Prints "equal" if the answers in the other processes are those of this one.
"""

import multiprocessing
import os
import signal
import sys
import threading
import traceback

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from samkit import AutoMaskConfig, AutoMasker, Predictor
from samkit.compat.segment_anything import SamAutomaticMaskGenerator, SamPredictor
from samkit.compat.segment_anything.build_sam import from_network
from samkit.errors import BackendError

# Large enough that torch computes on several threads.
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 400, 500, 3), np.uint8)
ATOL = 1e-4
ALARM_S = 200


def answer(predictor, index=0):
    embedding = predictor.embed(IMAGES[index])
    return predictor.predict(embedding, points=[[250, 200]]).logits


class Answers(Dataset):
    """Answers as samples, made in the workers."""

    def __init__(self, predictor):
        self.predictor = predictor

    def __len__(self):
        return len(IMAGES)

    def __getitem__(self, index):
        return torch.from_numpy(answer(self.predictor, index))


def in_child(check):
    """Run a function in a forked process; return whether it succeeds there."""
    child = os.fork()
    if child == 0:
        signal.alarm(ALARM_S)  # it outlives a parent that is stopped
        code = 1
        try:
            check()
            code = 0
        except BaseException:  # noqa: BLE001 - printed, and the process must not go on
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1] == 0


def assert_close(got, expected):
    np.testing.assert_allclose(got, expected, rtol=0, atol=ATOL)


def fork_after_use(predictor):
    """The child answers as the parent, which goes on."""
    expected, embedding = answer(predictor), predictor.embed(IMAGES[0])

    def check():
        assert_close(predictor.predict(embedding, points=[[250, 200]]).logits, expected)
        assert_close(answer(predictor), expected)
        assert torch.get_num_threads() == 1

    assert in_child(check)
    assert_close(answer(predictor), expected)


def fork_refused(predictor):
    """A backend that cannot be renewed says so; the automatic choice is another one."""
    answer(predictor)
    backend = predictor.backend.info.backend

    def check():
        for use in (lambda: answer(predictor), lambda: Predictor.load(PATH, backend=backend)):
            with pytest.raises(BackendError, match="spawn"):
                use()
        loaded = Predictor.load(PATH)
        assert loaded.backend.info.backend == "torch"
        answer(loaded)

    assert in_child(check)
    answer(predictor)


def fork_before_use(predictor):
    """Nothing has to be renewed where only the child uses it."""
    assert in_child(lambda: answer(predictor))


def fork_while_busy(predictor):
    """Locks that threads of the parent hold are free in the child."""
    expected, embedding = answer(predictor), predictor.embed(IMAGES[1])
    parent, go_on = os.getpid(), threading.Event()
    busy = threading.Semaphore(0)

    def waiting(method):
        def wait(*args):
            if os.getpid() == parent:
                busy.release()
                assert go_on.wait(100)
            return method(*args)

        return wait

    for name in ("encode", "attend"):
        setattr(predictor.backend, name, waiting(getattr(predictor.backend, name)))
    uses = [
        lambda: predictor.encode(IMAGES[1]),
        lambda: predictor.predict(embedding, points=[[1, 1]]),
    ]
    threads = [threading.Thread(target=use) for use in uses]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert busy.acquire(timeout=100)
    succeeded = in_child(lambda: assert_close(answer(predictor), expected))
    go_on.set()
    for thread in threads:
        thread.join(100)
    assert succeeded


def pool(predictor, method):
    """A pool of processes answers."""
    expected = [answer(predictor, index) for index in range(len(IMAGES))]
    with multiprocessing.get_context(method).Pool(1) as workers:
        got = workers.starmap(answer, [(predictor, index) for index in range(len(IMAGES))])
    assert_close(np.stack(got), np.stack(expected))


def loader(predictor, method):
    """The workers of a DataLoader answer."""
    expected = [answer(predictor, index) for index in range(len(IMAGES))]
    batches = DataLoader(
        Answers(predictor), batch_size=None, num_workers=1, multiprocessing_context=method
    )
    assert_close(torch.stack(list(batches)).numpy(), np.stack(expected))


def generate(masker):
    return [rle["counts"] for rle in masker.generate(IMAGES[0][:90, :120]).rles]


def masker(predictor, method):
    """An AutoMasker goes to other processes with its predictor."""
    config = AutoMaskConfig(points_per_side=2, iou_thresh=0, stability_thresh=0)
    own = AutoMasker(predictor, config)
    expected = generate(own)
    assert expected
    with multiprocessing.get_context(method).Pool(1) as workers:
        assert workers.apply(generate, (own,)) == expected


def drop_in(predictor):
    """The drop-in's predictor and generator in a child."""
    sam = from_network(predictor.model)
    generator = SamAutomaticMaskGenerator(sam, points_per_side=2)
    predictor = SamPredictor(sam)

    def answers():
        predictor.set_image(IMAGES[0])
        masks = generator.generate(IMAGES[0])
        click = predictor.predict(np.array([[250, 200]]), np.array([1]))
        return click[2], [mask["predicted_iou"] for mask in masks]

    (expected, ious) = answers()

    def check():
        predictor.predict(np.array([[250, 200]]), np.array([1]))
        logits, in_child_ious = answers()
        np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-3)
        np.testing.assert_allclose(in_child_ious, ious, rtol=0, atol=1e-3)

    assert in_child(check)


CASES = {
    "drop-in": drop_in,
    "fork after use": fork_after_use,
    "fork refused": fork_refused,
    "fork before use": fork_before_use,
    "fork while busy": fork_while_busy,
    "forked pool": lambda predictor: pool(predictor, "fork"),
    "spawned pool": lambda predictor: pool(predictor, "spawn"),
    "forked loader": lambda predictor: loader(predictor, "fork"),
    "spawned loader": lambda predictor: loader(predictor, "spawn"),
    "spawned masker": lambda predictor: masker(predictor, "spawn"),
}

if __name__ == "__main__":
    PATH, chosen, case = sys.argv[1:]
    torch.set_num_threads(2)
    CASES[case](Predictor.load(PATH, backend=chosen, precision="float32"))
    sys.stdout.write("equal\n")
