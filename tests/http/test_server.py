"""The server's connections: sent at once, closed if idle, fewer than there are descriptors."""

import asyncio
import errno
import logging
import resource
import socket
from contextlib import asynccontextmanager

import pytest
import uvicorn
from websockets.asyncio.client import connect

from event_loops import run_async
from samkit.http import server
from samkit.http.server import _Connection, _listen, _LoopErrors, max_connections

HEADERS_S = 0.15
REQUEST = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"


def test_answers_are_not_held_back():
    """Each connection sends at once: 40 ms an answer otherwise."""
    with (
        _listen("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname()),
    ):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def app(scope, receive, send):
    """Answer later than headers have to come; echo one message of a WebSocket."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        message = await receive()
        await send({"type": "websocket.send", "text": message["text"]})
        return
    await asyncio.sleep(2 * HEADERS_S)
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}
    )
    await send({"type": "http.response.body", "body": b"ok"})


@asynccontextmanager
async def running():
    """Address of a server."""
    with _listen("127.0.0.1", 0) as listener:
        config = uvicorn.Config(
            app, http=_Connection, ws="websockets-sansio", lifespan="off", log_config=None
        )
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:
            await asyncio.sleep(0.01)
        yield listener.getsockname()
        server.should_exit = True
        await task


async def read_answer(reader):
    return (await asyncio.wait_for(reader.readuntil(b"ok"), 20)).startswith(b"HTTP/1.1 200")


async def is_closed(reader):
    """Wait until the other side closes a connection that it answers nothing on."""
    try:
        return await asyncio.wait_for(reader.read(), 20) == b""
    except ConnectionResetError:
        return True


@pytest.fixture(autouse=True)
def short_time(monkeypatch):
    monkeypatch.setattr(server, "HEADERS_S", HEADERS_S)


@pytest.mark.parametrize("sent", [b"", REQUEST[:20]])
@pytest.mark.parametrize("num_before", [0, 2])
def test_connection_without_a_request_is_closed(sent, num_before):
    async def use():
        async with running() as address:
            reader, writer = await asyncio.open_connection(*address)
            for _ in range(num_before):
                writer.write(REQUEST)
                assert await read_answer(reader)
            writer.write(sent)
            assert await is_closed(reader)
            writer.close()

    run_async(use())


def test_websocket_is_not_closed_for_being_silent():
    async def use():
        async with running() as (host, port), connect(f"ws://{host}:{port}/") as page:
            await asyncio.sleep(3 * HEADERS_S)
            await page.send("still here")
            assert await asyncio.wait_for(page.recv(), 20) == "still here"

    run_async(use())


def test_more_connections_than_descriptors_allow_are_closed(monkeypatch):
    monkeypatch.setattr(server, "HEADERS_S", 20)
    monkeypatch.setattr(server, "max_connections", lambda: 3)

    async def use():
        async with running() as address:
            pages = []
            for _ in range(3):
                pages.append(await asyncio.open_connection(*address))
                await asyncio.sleep(0.02)
            for _ in range(2):
                reader, writer = await asyncio.open_connection(*address)
                assert await is_closed(reader)
                writer.close()
            reader, writer = pages[0]
            writer.write(REQUEST)
            assert await read_answer(reader)
            for _, writer in pages:
                writer.close()

    run_async(use())


def test_connections_take_half_of_the_descriptors():
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert max_connections() == soft // 2


def test_missing_descriptors_are_reported_once_a_minute(caplog):
    now = [0.0]
    loop, handle = asyncio.new_event_loop(), _LoopErrors(clock=lambda: now[0])
    context = {"message": "accept()", "exception": OSError(errno.EMFILE, "Too many open files")}
    try:
        with caplog.at_level(logging.ERROR):
            for _ in range(1000):
                handle(loop, context)
            assert len(caplog.records) == 1
            now[0] = 60.0
            handle(loop, context)
            assert [one.getMessage() for one in caplog.records] == [
                "connections cannot be accepted now: Too many open files"
            ] * 2
            handle(loop, {"message": "other", "exception": ValueError("x")})
            assert caplog.records[2].name == "asyncio"
    finally:
        loop.close()
