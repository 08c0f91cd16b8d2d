"""The pool, with workers that do as they are told: queue, batches, losses, limits of time."""

import asyncio
import json
import os
import pickle
import signal
import threading
import time
from multiprocessing import Pipe

import pytest

from event_loops import run_async
from samkit.backends import BackendChoice
from samkit.errors import PromptError, WeightsError, WorkerError
from samkit.image_spec import ImageSpec
from samkit.serving import (
    BusyError,
    Limits,
    ModelSpec,
    ProcessWorker,
    TimedOutError,
    WorkerPool,
)
from samkit.serving.jobs import (
    Answer,
    AutoJob,
    EmbedJob,
    Failure,
    ImageFile,
    Line,
    ModelInfo,
    PredictJob,
)
from samkit.serving.workers import CANCEL, Idle
from serving.conftest import draw, png

INFO = ModelInfo(description={}, encoder_checksum="", image_spec=ImageSpec(), reads_text=False)
WAIT_S = 20


class Puppet:
    """A worker whose strings a test pulls."""

    def __init__(self, *, info=INFO):
        self.connection, self.strings = Pipe()
        self.is_killed = self.is_dead = False
        self.lock = threading.Lock()
        self.send(info)

    def send(self, message):
        self.strings.send_bytes(pickle.dumps(message))

    def jobs(self):
        """The jobs that it is given next."""
        assert self.strings.poll(WAIT_S), "no jobs came"
        return pickle.loads(self.strings.recv_bytes())

    def answer(self, jobs, value=b"done"):
        for number in range(len(jobs)):
            self.send((number, Answer(value=value)))
        self.send(Idle())

    def die(self):
        with self.lock:
            if not self.is_dead:
                self.strings.close()
            self.is_dead = True

    def kill(self):
        self.is_killed = True
        self.die()

    def end(self):
        self.connection.close()
        return "ended"


class Puppets:
    """All workers that a pool has started."""

    def __init__(self):
        self.all = []
        self.news = threading.Condition()

    def launch(self):
        with self.news:
            self.all.append(Puppet())
            self.news.notify_all()
        return self.all[-1]

    async def number(self, index):
        """Wait for the worker that is started as number `index`."""
        with self.news:
            assert self.news.wait_for(lambda: len(self.all) > index, WAIT_S)
        return self.all[index]


def predict(image, **options):
    return PredictJob(image=ImageFile(sha256=image), parts={}, **options)


def embed(image):
    return EmbedJob(image=ImageFile(sha256=image))


AUTO = AutoJob(image=ImageFile(sha256="a", content=b""))


def use(play, *, size=1, **limits):
    """Play with a pool and its puppets."""

    async def run():
        puppets = Puppets()
        with WorkerPool(puppets.launch, size=size, limits=Limits(**limits)) as pool:
            try:
                await play(pool, puppets)
            finally:
                for puppet in puppets.all:
                    puppet.die()

    run_async(run())


async def begun(*coroutines):
    """Begin to ask, in this order."""
    tasks = []
    for coroutine in coroutines:
        tasks.append(asyncio.create_task(coroutine))
        await asyncio.sleep(0)
    return tasks


async def jobs_of(puppet):
    return await asyncio.to_thread(puppet.jobs)


def test_prompts_on_the_same_image_that_wait_go_together():
    async def play(pool, puppets):
        puppet = puppets.all[0]
        asked = await begun(pool.ask(embed("first")))
        await jobs_of(puppet)
        kinds = [predict("a"), predict("b"), embed("a"), predict("a"), predict("a", fine=True)]
        asked += await begun(*map(pool.ask, kinds))
        puppet.answer([0])
        batches = []
        for _ in range(4):
            batches.append(await jobs_of(puppet))
            puppet.answer(batches[-1], value=b"batch %d" % len(batches))
        assert batches == [[kinds[0], kinds[3]], [kinds[1]], [kinds[2]], [kinds[4]]]
        answers = [b"done", *(b"batch %d" % number for number in (1, 2, 3, 1, 4))]
        assert await asyncio.gather(*asked) == answers

    use(play)


def test_a_full_queue_refuses_and_loses_nothing():
    async def play(pool, puppets):
        async def ask(image):
            with pool.queue.place():
                return await pool.ask(embed(image))

        asked = await begun(*(ask(str(number)) for number in range(5)))
        for refused in asked[3:]:
            with pytest.raises(BusyError, match="2 requests wait for 1 worker") as caught:
                await refused
            assert caught.value.retry_after_s >= 1
        for number in range(3):
            jobs = await jobs_of(puppets.all[0])
            puppets.all[0].answer(jobs, value=b"%d" % number)
        assert await asyncio.gather(*asked[:3]) == [b"0", b"1", b"2"]
        assert pool.metrics.registry.get_sample_value("samkit_refused_total") == 2
        again = await begun(ask("again"))
        puppets.all[0].answer(await jobs_of(puppets.all[0]))
        assert await again[0] == b"done"

    use(play, max_queue=2)


def test_a_lost_worker_is_replaced_and_its_jobs_are_done():
    async def play(pool, puppets):
        asked = await begun(pool.ask(predict("a")), pool.ask(predict("b")))
        assert await jobs_of(puppets.all[0]) == [predict("a")]
        puppets.all[0].die()
        second = await puppets.number(1)
        for image in "ab":  # in their order
            jobs = await jobs_of(second)
            assert jobs == [predict(image)]
            second.answer(jobs)
        assert await asyncio.gather(*asked) == [b"done", b"done"]
        assert pool.metrics.registry.get_sample_value("samkit_workers_lost_total") == 1

    use(play)


def test_a_job_that_ends_two_workers_is_given_up():
    async def play(pool, puppets):
        asked = await begun(pool.ask(predict("a")))
        for number in range(2):
            puppet = await puppets.number(number)
            await jobs_of(puppet)
            puppet.die()
        with pytest.raises(WorkerError, match="was lost"):
            await asked[0]
        await puppets.number(2)

    use(play)


def test_a_worker_that_hangs_is_killed():
    async def play(pool, puppets):
        with pytest.raises(TimedOutError, match=r"within 0\.3 s"):
            await pool.ask(predict("a"))
        await puppets.number(1)  # in its place
        assert puppets.all[0].is_killed

    use(play, timeout_s=0.3)


def test_a_job_that_waits_too_long_is_never_begun():
    async def play(pool, puppets):
        stream = pool.stream(AUTO)
        asked = await begun(anext(stream))
        await jobs_of(puppets.all[0])
        with pytest.raises(TimedOutError):
            await pool.ask(embed("late"))
        assert not pool._waiting
        puppets.all[0].send((0, Line(text=b"{}\n")))
        assert await asked[0] == b"{}\n"
        await stream.aclose()

    use(play, timeout_s=1)


def test_a_stream_ends_by_its_limit_of_time():
    async def play(pool, puppets):
        with pytest.raises(TimedOutError, match=r"within 0\.3 s"):
            await anext(pool.stream(AUTO))
        await puppets.number(1)
        assert puppets.all[0].is_killed

    use(play, stream_s=0.3)


def test_a_stream_whose_worker_is_lost_ends_after_its_first_line():
    async def play(pool, puppets):
        stream = pool.stream(AUTO)
        asked = await begun(anext(stream))
        await jobs_of(puppets.all[0])
        puppets.all[0].die()  # before the first line: begun again
        second = await puppets.number(1)
        await jobs_of(second)
        second.send((0, Line(text=b"{}\n")))
        assert await asked[0] == b"{}\n"
        second.die()
        with pytest.raises(WorkerError):
            await anext(stream)

    use(play)


def test_a_stream_that_nobody_reads_is_cancelled():
    async def play(pool, puppets):
        stream = pool.stream(AUTO)
        asked = await begun(anext(stream))
        await jobs_of(puppets.all[0])
        puppets.all[0].send((0, Line(text=b"{}\n")))
        await asked[0]
        await stream.aclose()
        told = await asyncio.to_thread(puppets.all[0].strings.recv_bytes)
        assert told == CANCEL

    use(play)


def test_streams_leave_a_worker_for_others():
    async def play(pool, puppets):
        streams = [pool.stream(AUTO), pool.stream(AUTO)]
        asked = await begun(*map(anext, streams), pool.ask(embed("a")))
        found = [await jobs_of(puppet) for puppet in puppets.all]
        assert sorted(type(jobs[0]).__name__ for jobs in found) == ["AutoJob", "EmbedJob"]
        for puppet, jobs in zip(puppets.all, found, strict=True):
            if jobs[0] == AUTO:
                puppet.send((0, Line(text=b"{}\n")))
            puppet.answer(jobs)
        assert await asked[2] == b"done"
        second = next(task for task in asked[:2] if not task.done() or task.result())
        assert await second == b"{}\n"
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)

    use(play, size=2)


def masks_of(answer):
    """RLEs of an answer; its scores may differ in the last digit when it was decoded in a batch."""
    return [mask["segmentation"] for mask in json.loads(answer)["answers"][0]["masks"]]


def test_of_two_idle_workers_the_one_with_the_image_answers():
    async def play(pool, puppets):
        with pool._news:  # both wait for jobs
            assert pool._news.wait_for(lambda: all(slot.is_idle for slot in pool._slots), WAIT_S)
        for _ in range(5):
            asked = await begun(pool.ask(predict("a")))
            while not any(puppet.strings.poll() for puppet in puppets.all):
                await asyncio.sleep(0.01)
            busy = [puppet for puppet in puppets.all if puppet.strings.poll()]
            jobs = await jobs_of(busy[0])
            busy[0].answer(jobs)
            await asked[0]
            puppets.seen = {*getattr(puppets, "seen", ()), busy[0]}
            while not all(slot.is_idle for slot in pool._slots):
                await asyncio.sleep(0.01)
        assert len(puppets.seen) == 1

    use(play, size=2)


def test_errors_of_a_job_are_raised():
    async def play(pool, puppets):
        asked = await begun(pool.ask(predict("a")))
        await jobs_of(puppets.all[0])
        puppets.all[0].send((0, Failure(error=PromptError("no such point"))))
        puppets.all[0].send(Idle())
        with pytest.raises(PromptError, match="no such point"):
            await asked[0]

    use(play)


def test_a_model_that_cannot_be_loaded_is_an_error_at_the_start(refusal):
    failed = Failure(error=WeightsError("damaged"))
    with refusal(WeightsError, "damaged"), WorkerPool(lambda: Puppet(info=failed), size=2):
        pass


def test_a_pool_that_stops_ends_what_waits():
    async def run():
        puppets = Puppets()
        pool = WorkerPool(puppets.launch)
        pool.__enter__()
        asked = await begun(pool.ask(embed("a")), pool.ask(embed("b")))
        jobs = await jobs_of(puppets.all[0])
        stopping = asyncio.create_task(asyncio.to_thread(pool.__exit__))
        with pytest.raises(WorkerError, match="being stopped"):
            await asked[1]
        puppets.all[0].answer(jobs)
        assert await asked[0] == b"done"
        await stopping
        with pytest.raises(WorkerError, match="being stopped"):
            await pool.ask(embed("c"))

    run_async(run())


@pytest.mark.slow  # starts processes that import torch
def test_a_process_that_is_killed_is_replaced_and_no_request_hangs(tmp_path):
    spec = ModelSpec(
        source="mobile_sam", backend=BackendChoice(backend="torch"), cache_folder=tmp_path
    )
    workers = []

    def launch():
        workers.append(ProcessWorker(spec, 1))
        return workers[-1]

    async def run():
        content = png(draw(0))
        image = ImageFile(sha256="0" * 64, content=content)
        job = PredictJob(image=image, parts={"points": [[20, 10]]})
        with WorkerPool(launch, limits=Limits(timeout_s=300)) as pool:
            before = await pool.ask(job)
            asked = await begun(*(pool.ask(job) for _ in range(4)))
            while not pool._slots[0].num_jobs:
                time.sleep(0.001)
            os.kill(workers[0].pid, signal.SIGKILL)
            for answer in await asyncio.gather(*asked):
                assert masks_of(answer) == masks_of(before)
        assert len(workers) == 2

    run_async(run())
