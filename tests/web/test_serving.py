"""The server's listening socket."""

import socket

from samkit.web.serving import _listen


def test_answers_are_not_held_back():
    """Each connection sends at once: 40 ms an answer otherwise."""
    with (
        _listen("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname()),
    ):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
