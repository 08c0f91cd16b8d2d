"""`ProcessPool`: the results of `InProcess`, and processes that are killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from samkit.batch import InProcess, ProcessPool, run_with_retries
from samkit.errors import ConfigError, OutputError, SamkitError, WorkerError
from stub_work import Fatal, Generate, Unloadable, Work

OWNER = Path(__file__).with_name("pool_owner.py")


@pytest.fixture
def pool():
    with ProcessPool(2, threads_per_worker=1) as pool:
        yield pool


def by_item(outcomes):
    return {one.item: (one.result, str(one.error or "")) for one in outcomes}


def process_ids(folder):
    return {int(path.name[7:]) for path in folder.glob("process*")}


def is_running(pid):
    """Whether a process is there, and no zombie that nobody has waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(is_so):
    while not is_so():
        time.sleep(0.05)


def test_results_are_those_of_one_process(pool, tmp_path):
    items = [2, 3, 0, 4, -1, 6, 8]
    here, there = Work(Generate(tmp_path)), Work(Generate(tmp_path))
    expected = by_item(InProcess().run(here, items))
    started = []
    found = by_item(pool.run(there, items, on_start=started.append))
    assert found == expected
    assert found[3] == (None, "3 is odd")
    assert sorted(there.committed) == here.committed == [2, 4, 6, 8]
    assert started == [2, 3, 4, 6, 8]
    pids = process_ids(tmp_path) - {os.getpid()}
    assert 1 <= len(pids) <= 2
    # They stay for further items.
    assert by_item(pool.run(there, [10])) == {10: ((5, "1"), "")}
    assert len(process_ids(tmp_path) - {os.getpid()}) <= 2


def test_an_error_of_all_items_ends_the_run(pool, tmp_path):
    with pytest.raises(OutputError, match="the disk is full"):
        list(pool.run(Work(Generate(tmp_path)), [99]))


def test_a_mistake_is_raised_with_its_traceback(pool, tmp_path):
    with pytest.raises(RuntimeError, match="UnreadableError: a mistake") as caught:
        list(pool.run(Work(Generate(tmp_path)), [101]))
    assert "stub_work.py" in str(caught.value.__cause__)


def test_what_killed_its_process_once_is_done_by_another(pool, tmp_path):
    work = Work(Generate(tmp_path, lethal=(4, 8)))
    found = by_item(run_with_retries(pool, work, [2, 4, 6, 8]))
    assert found == {number: ((number // 2, "1"), "") for number in (2, 4, 6, 8)}
    assert sorted(work.committed) == [2, 4, 6, 8]
    assert len(list(tmp_path.glob("death*"))) == 2


def test_what_kills_its_process_three_times_is_a_failure(pool, tmp_path):
    work = Work(Generate(tmp_path, lethal=(4,), deaths=99))
    found = by_item(run_with_retries(pool, work, [2, 4, 6]))
    assert found[2] == ((1, "1"), "")
    assert found[4][0] is None
    assert "the process that worked on it was killed (signal 9)" in found[4][1]
    assert sorted(work.committed) == [2, 6]
    assert len(list(tmp_path.glob("death4_*"))) == 3


def test_a_model_that_cannot_be_loaded_is_told(pool):
    with pytest.raises(SamkitError, match="this model is damaged"):
        list(pool.run(Work(Unloadable()), [2, 4]))


def test_processes_that_die_while_they_start_end_the_run(pool):
    with pytest.raises(WorkerError, match=r"end while they start.*signal 9"):
        list(pool.run(Work(Fatal()), [2]))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_processes_end_with_their_owner(how, tmp_path):
    owner = subprocess.Popen([sys.executable, OWNER, tmp_path, "1000"], stderr=subprocess.PIPE)
    wait_until(lambda: len(process_ids(tmp_path)) == 2)
    owner.send_signal(how)
    told = owner.communicate()[1].decode()
    assert ("KeyboardInterrupt" in told) == (how == signal.SIGINT)
    wait_until(lambda: not any(map(is_running, process_ids(tmp_path))))


def test_numbers_are_checked():
    for numbers in ({"workers": 0}, {"workers": 2, "threads_per_worker": 0}):
        with pytest.raises(ConfigError, match="must be at least 1"):
            ProcessPool(**numbers)
    assert ProcessPool(10**6).threads_per_worker == 1
