"""Sending to webhooks: signatures, refusals, redirects, private networks; and the routes."""

import base64
import hashlib
import hmac
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from samkit.dataengine import add_comment, list_deliveries
from samkit.web.webhooks import WebhookSender, sign


class Receiver(HTTPServer):
    """A program that takes events on this computer, and answers with `status`."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.status, self.taken = 204, []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/samkit?team=1"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.taken.append((self.path, dict(self.headers), body))
        self.send_response(self.server.status)
        self.send_header("Location", "http://127.0.0.1:1/")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def receiver():
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def add(server, url):
    """Add a webhook; return its secret and its number."""
    path = f"/api/projects/{server.scene.project.id}/webhooks"
    body = {"url": url, "events": ["comment.added"]}
    made = server.adm.post(path, json=body)
    assert made.status_code == 201, made.text
    return made.json()["secret"], made.json()["webhook"]["id"]


def latest(server, number):
    return list_deliveries(server.scene.store, number).items[0]


def test_events_are_signed(sqlite_server, receiver):
    secret, number = add(sqlite_server, receiver.url)
    scene = sqlite_server.scene
    add_comment(scene.store, scene.images[0].id, scene.ann, "\u00e9t\u00e9")
    WebhookSender(scene.store, private=True).check()
    ((path, headers, body),) = receiver.taken
    assert path == "/samkit?team=1"
    headers = {name.lower(): value for name, value in headers.items()}
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    key = base64.b64decode(secret.removeprefix("whsec_"))
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert (headers["content-type"], headers["host"]) == ("application/json", receiver.url[7:-14])
    assert latest(sqlite_server, number).delivered_at == scene.store.clock()
    # An example that another implementation has made, of the specification.
    assert (
        sign(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1614265330,
            b'{"test": 2432232314}',
        )
        == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


@pytest.mark.parametrize(
    ("status", "why"), [(500, "answered 500"), (302, "answered 302: redirects are not followed")]
)
def test_refusals_are_tried_again(status, why, sqlite_server, receiver, clock):
    _, number = add(sqlite_server, receiver.url)
    receiver.status = status
    sender = WebhookSender(sqlite_server.scene.store, private=True)
    assert sqlite_server.adm.post(f"/api/webhooks/{number}/test").status_code == 202
    sender.check()
    assert latest(sqlite_server, number).error == why
    sender.check()
    assert len(receiver.taken) == 1
    receiver.status = 200
    clock.advance(seconds=10)
    sender.check()
    found = latest(sqlite_server, number)
    assert (found.error, found.attempts, len(receiver.taken)) == ("", 2, 2)


def test_nothing_is_sent_into_private_networks(sqlite_server, receiver):
    sender = WebhookSender(sqlite_server.scene.store, private=False)
    tls = receiver.url.replace("http:", "https:")
    for url, why in (
        (receiver.url, "only https is sent to"),
        (tls, "127.0.0.1 is in a private network"),
        ("https://[::1]/", "::1 is in a private network"),
        ("https://169.254.169.254/latest", "is in a private network"),
    ):
        _, number = add(sqlite_server, url)
        sqlite_server.adm.post(f"/api/webhooks/{number}/test")
        sender.check()
        assert why in latest(sqlite_server, number).error, url
    assert receiver.taken == []


def test_unreachable_receivers_say_why(sqlite_server, receiver):
    receiver.server_close()
    _, number = add(sqlite_server, receiver.url)
    sqlite_server.adm.post(f"/api/webhooks/{number}/test")
    WebhookSender(sqlite_server.scene.store, private=True).check()
    assert "refused" in latest(sqlite_server, number).error


def test_routes(server):
    secret, number = add(server, "https://hooks.example.org/")
    assert secret.startswith("whsec_")
    path = f"/api/projects/{server.scene.project.id}/webhooks"
    (listed,) = server.adm.get(path).json()["items"]
    assert (listed["url"], listed["active"]) == ("https://hooks.example.org/", True)
    assert "secret" not in listed
    own = f"/api/webhooks/{number}"
    assert not server.adm.patch(own, json={"active": False}).json()["active"]
    assert server.adm.post(f"{own}/test").json()["event"] == "webhook.test"
    (waiting,) = server.adm.get(f"{own}/deliveries").json()["items"]
    assert (waiting["attempts"], waiting["delivered_at"]) == (0, None)
    for url in ("file:///etc/passwd", "https://u:p@x/"):
        wrong = server.adm.post(path, json={"url": url, "events": ["comment.added"]})
        assert wrong.status_code == 422, url
    assert server.adm.delete(own).status_code == 204
    assert server.adm.get(f"{own}/deliveries").status_code == 404
