"""Fairness: one process, person or stranger does not stop the others."""

import asyncio
import sqlite3
import threading
from contextlib import closing

import pytest

from event_loops import run_async
from samkit.dataengine import Store, create_user, database, list_actions, note_action
from samkit.dataengine.schema import SignInRow
from samkit.errors import DatabaseError
from samkit.web.workers import PriorityPool

NUM_SAVING = 60  # more than there are threads


@pytest.fixture
def lock(sqlite_server):
    """Locks the store as another process that writes to it; returns how to release it."""
    path = sqlite_server.scene.store.path
    assert sqlite_server.ann.cookies  # people sign in before, since that is a write
    assert sqlite_server.bob.cookies
    # Released from the thread of `run_async`.
    opened = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    with closing(opened) as other:
        other.execute("BEGIN IMMEDIATE")
        yield lambda: other.execute("ROLLBACK")


async def ask(browser, method, path):
    """Status of the answer to a signed-in person's request, in the running event loop."""
    cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    headers = {**browser.headers, "host": "testserver", "cookie": cookies}
    statuses, is_read = [], False

    async def receive():
        nonlocal is_read
        if is_read:
            await asyncio.Event().wait()
        is_read = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        statuses.append(message.get("status"))

    scope = {"type": "http", "method": method, "path": path, "query_string": b"", "client": None}
    scope["headers"] = [(k.lower().encode(), v.encode()) for k, v in headers.items()]
    await browser.app(scope, receive, send)
    return statuses[0]


def test_saving_that_waits_for_a_locked_store_stops_no_reading(sqlite_server, lock):
    browser, image = sqlite_server.ann, f"/api/images/{sqlite_server.scene.images[0].id}"

    async def use():
        saving = [
            asyncio.create_task(ask(browser, "POST", f"{image}/lease")) for _ in range(NUM_SAVING)
        ]
        await asyncio.sleep(0.3)  # until all threads that may wait do so
        for _ in range(5):
            assert await asyncio.wait_for(ask(browser, "GET", image), 20) == 200
        assert not any(one.done() for one in saving)
        lock()
        return await asyncio.gather(*saving)

    assert run_async(use()) == [200] * NUM_SAVING


def test_what_the_audit_log_cannot_hold_is_in_the_servers(sqlite_server, lock, caplog):
    answer = sqlite_server.bob.post("/api/users", json={"name": "eve"})
    assert answer.status_code == 403
    assert "not in the audit log" in caplog.text
    assert "'action': 'add_user'" in caplog.text
    lock()
    assert list_actions(sqlite_server.scene.store).items == ()


def test_sign_ins_are_found_while_the_store_is_locked(sqlite_server, lock):
    """Also those that would be extended, which is a write."""
    lock()
    store = sqlite_server.scene.store
    with store.write() as session:
        found = session.query(SignInRow).all()
        assert found
        for row in found:
            row.expires_at = store.clock() + (row.expires_at - store.clock()) / 2
    with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert sqlite_server.ann.get("/api/session").status_code == 200
        other.execute("ROLLBACK")


def test_impatient_writers_give_up(tmp_path, monkeypatch, refusal):
    monkeypatch.setattr(database, "IMPATIENT_S", 0)
    with Store.open(tmp_path / "store.db") as store:
        user = create_user(store, name="ann").id
        entry = {"user_id": user, "action": "a", "target": "", "status": 200, "address": ""}
        with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with refusal(DatabaseError, "database is locked"):
                note_action(store, **entry)
            other.execute("ROLLBACK")
        note_action(store, **entry)
        assert len(list_actions(store).items) == 1
        create_user(store, name="bob")  # who writes next is patient again
        with store.write() as session:
            assert session.connection().exec_driver_sql("PRAGMA busy_timeout").scalar() == 60_000


@pytest.fixture
def pool():
    """One thread that is busy until `begin` is set."""
    pool, begin, busy = PriorityPool(1, "test"), threading.Event(), threading.Event()
    pool.start()

    def wait():
        busy.set()
        begin.wait(30)

    pool.submit(0, wait)
    busy.wait(30)
    yield pool, begin
    begin.set()
    pool.stop()


def test_work_goes_round_its_owners(pool):
    pool, begin = pool
    done, futures = [], []

    def add(owner, count, priority=0):
        for number in range(count):
            work = lambda name=f"{owner}{number}": done.append(name)  # noqa: E731
            futures.append(pool.submit(priority, work, owner=owner))

    add("flood", 6)
    add("late", 1, priority=1)
    add("ann", 2)
    add("bob", 1)
    begin.set()
    for future in futures:
        future.result(30)
    assert done == [
        *("flood0", "ann0", "bob0", "flood1", "ann1"),
        *("flood2", "flood3", "flood4", "flood5", "late0"),
    ]


def test_who_comes_later_does_not_wait_for_a_flood(pool):
    pool, begin = pool
    done, gate = [], threading.Event()
    flood = [pool.submit(0, lambda: done.append("flood"), owner="flood") for _ in range(20)]
    pool.submit(0, lambda: gate.wait(30), owner="flood")
    later_flood = [pool.submit(0, lambda: done.append("flood"), owner="flood") for _ in range(20)]
    begin.set()
    for one in flood:
        one.result(30)
    other = pool.submit(0, lambda: done.append("ann"), owner="ann")
    gate.set()
    other.result(30)
    for one in later_flood:
        one.result(30)
    assert done.index("ann") == 20  # straight after what was running
    assert not pool._last_turns or max(pool._last_turns.values()) <= pool._turn
