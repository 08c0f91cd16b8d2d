"""Access: sign-in, roles, CSRF, origins, hosts, headers, and the audit log."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from time import sleep

import pytest
from fastapi.testclient import TestClient
from starlette.exceptions import HTTPException

from event_loops import run_async
from samkit.dataengine import change_user, list_actions
from samkit.errors import ConfigError
from samkit.web import WebConfig, create_app, serve
from samkit.web.routing import limited
from samkit.web.security import HEADERS, Gate, Throttle

PASSWORD = "correct horse"
UNSAFE = ("POST", "PUT", "PATCH", "DELETE")
OPEN = {
    ("GET", "/api/health"),
    ("POST", "/api/session"),
    ("GET", "/api/session/methods"),
    ("GET", "/api/session/oidc"),
    ("GET", "/api/session/oidc/callback"),
}
# What annotators may not do, and reviewers may not.
REVIEWERS_ONLY = {
    ("POST", "/api/images/{image_id}/accept"),
    ("POST", "/api/images/{image_id}/return"),
    ("POST", "/api/images/{image_id}/reopen"),
    ("PUT", "/api/annotations/{annotation_id}/verdict"),
    ("POST", "/api/images/{image_id}/restore"),
    ("GET", "/api/images/{image_id}/submissions"),
    ("PUT", "/api/images/{image_id}/num_annotators"),
    ("GET", "/api/projects/{project_id}/export"),
    ("GET", "/api/projects/{project_id}/videos/export"),
    ("POST", "/api/videos/{video_id}/accept"),
    ("POST", "/api/videos/{video_id}/return"),
    ("PUT", "/api/projects/{project_id}/learning"),
    ("POST", "/api/projects/{project_id}/learning/learn"),
    ("POST", "/api/projects/{project_id}/learning/prefill"),
    ("POST", "/api/projects/{project_id}/learning/embed"),
    ("POST", "/api/projects/{project_id}/learning/stop"),
    ("POST", "/api/projects/{project_id}/learning/serve"),
    ("POST", "/api/projects/{project_id}/audits"),
    ("POST", "/api/projects/{project_id}/images/review"),
    ("GET", "/api/projects/{project_id}/people"),
    ("GET", "/api/projects/{project_id}/members"),
    ("GET", "/api/projects/{project_id}/holders"),
    ("GET", "/api/projects/{project_id}/honey_pots"),
    ("POST", "/api/projects/{project_id}/honey_pots"),
    ("POST", "/api/projects/{project_id}/honey_pots/end"),
    ("PUT", "/api/projects/{project_id}/honey_pots/every"),
    ("POST", "/api/projects/{project_id}/images/assign"),
    ("POST", "/api/projects/{project_id}/classes"),
    ("PUT", "/api/projects/{project_id}/classes/order"),
    ("PATCH", "/api/classes/{class_id}"),
    ("DELETE", "/api/classes/{class_id}"),
    ("POST", "/api/classes/{class_id}/merge"),
    ("PUT", "/api/projects/{project_id}/labelling"),
}
ADMINS_ONLY = {
    ("GET", "/api/users"),
    ("GET", "/api/users/{user_id}/tokens"),
    ("POST", "/api/users"),
    ("PATCH", "/api/users/{user_id}"),
    ("GET", "/api/audit"),
    ("GET", "/api/projects/{project_id}/webhooks"),
    ("POST", "/api/projects/{project_id}/webhooks"),
    ("PATCH", "/api/webhooks/{webhook_id}"),
    ("DELETE", "/api/webhooks/{webhook_id}"),
    ("POST", "/api/webhooks/{webhook_id}/test"),
    ("GET", "/api/webhooks/{webhook_id}/deliveries"),
    ("POST", "/api/projects"),
    ("POST", "/api/projects/{project_id}/images"),
    ("POST", "/api/projects/{project_id}/scan"),
    ("POST", "/api/projects/{project_id}/import"),
    ("PUT", "/api/projects/{project_id}/members"),
    ("POST", "/api/projects/{project_id}/videos"),
    ("POST", "/api/projects/{project_id}/videos/import"),
    ("POST", "/api/projects/{project_id}/videos/scan"),
}


def ask(browser, method, path, **more):
    """Ask about things that are not there."""
    names = (
        "project",
        "image",
        "annotation",
        "user",
        "job",
        "audit",
        "class",
        "comment",
        "token",
        "webhook",
        "video",
        "track",
    )
    for name in names:
        path = path.replace(f"{{{name}_id}}", "99")
    return browser.request(method, path, **more)


def sign_in(browser, **body):
    answer = browser.post("/api/session", json=body)
    if answer.status_code == 200:
        browser.headers["X-CSRF-Token"] = answer.json()["csrf_token"]
    return answer


@pytest.fixture
def with_password(server):
    change_user(server.scene.store, server.scene.ann, password=PASSWORD)
    return server


def test_session_begins_and_ends(with_password):
    browser = with_password.stranger
    assert browser.get("/api/session").status_code == 401
    answer = sign_in(browser, name="ann", password=PASSWORD)
    assert answer.json()["user"]["name"] == "ann"
    cookie = answer.headers["set-cookie"]
    assert [part in cookie for part in ("HttpOnly", "SameSite=strict", "Path=/")] == [True] * 3
    assert "Secure" not in cookie
    assert browser.get("/api/session").json() == answer.json()
    cookies = dict(browser.cookies)
    done = browser.delete("/api/session")
    assert (done.status_code, done.headers["clear-site-data"]) == (204, '"cache"')
    browser.cookies.update(cookies)
    assert browser.get("/api/session").status_code == 401


def test_cookie_is_secure_over_https(with_password):
    browser = TestClient(with_password.app, base_url="https://testserver")
    answer = sign_in(browser, name="ann", password=PASSWORD)
    assert "Secure" in answer.headers["set-cookie"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"name": "ann", "password": "wrong horse"}, 401),
        ({"name": "nobody", "password": PASSWORD}, 401),
        ({"name": "bob", "password": PASSWORD}, 401),  # has none
        ({"name": "ann"}, 422),
        ({}, 422),
        ({"token": "guess"}, 401),
        ({"name": "ann", "password": PASSWORD, "role": "admin"}, 422),
        ({"name": ["ann"], "password": PASSWORD}, 422),
    ],
)
def test_wrong_sign_in(body, status, with_password):
    answer = sign_in(with_password.stranger, **body)
    assert answer.status_code == status
    assert "set-cookie" not in answer.headers
    assert PASSWORD not in answer.text


def test_deactivated_user_is_out_at_once(server):
    assert server.ann.get("/api/session").status_code == 200
    server.adm.patch(f"/api/users/{server.scene.ann}", json={"active": False})
    assert server.ann.get("/api/session").status_code == 401


def test_own_password(with_password):
    first, second = with_password.stranger, TestClient(with_password.app)
    for browser in (first, second):
        sign_in(browser, name="ann", password=PASSWORD)
    wrong = first.post("/api/session/password", json={"old": "wrong horse", "new": "battery st"})
    assert (wrong.status_code, wrong.json()["detail"]) == (403, "the old password is wrong")
    assert first.get("/api/session").status_code == 200
    done = first.post("/api/session/password", json={"old": PASSWORD, "new": "battery staple"})
    assert done.status_code == 200
    assert first.get("/api/session").json() == done.json()
    assert second.get("/api/session").status_code == 401
    assert sign_in(second, name="ann", password="battery staple").status_code == 200


def test_guessing_is_slowed_down(with_password):
    for _ in range(10):
        assert sign_in(with_password.stranger, name="ann", password="guess").status_code == 401
    answer = sign_in(with_password.stranger, name="ann", password=PASSWORD)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "300")


def at(server, address):
    """A browser at an address."""
    return TestClient(server.app, client=(address, 50_000), headers={"Origin": "http://testserver"})


def test_strangers_cannot_keep_somebody_out(with_password):
    first = at(with_password, "10.0.0.1")
    assert sign_in(first, name="ann", password=PASSWORD).status_code == 200
    with_password.studio.tries_elsewhere = Throttle(max_failures=12, window_s=300)
    for network in range(2):  # hosts of one IPv6 network are one
        guesses = [
            sign_in(at(with_password, f"2001:db8:0:{network}::{k}"), name="ann", password="guess")
            for k in range(1, 12)
        ]
        statuses = [one.status_code for one in guesses]
        assert statuses == [401] * (10, 2)[network] + [429] * (1, 9)[network]
    second = at(with_password, "10.0.0.2")
    assert sign_in(second, name="ann", password=PASSWORD).status_code == 429
    assert sign_in(at(with_password, "10.0.0.1"), name="ann", password=PASSWORD).status_code == 200


def test_strangers_cannot_fill_the_log(with_password):
    for _ in range(30):
        sign_in(with_password.stranger, name="ann", password="guess")
        sign_in(with_password.stranger)
    entries = list_actions(with_password.scene.store).items
    assert [one.status for one in entries] == [401] * 10


def test_strangers_send_no_more_than_a_sign_in_needs(with_password):
    longest = {"name": "n" * 100, "password": "\U0001f525" * 1000}
    assert with_password.stranger.post("/api/session", json=longest).status_code == 401
    for path in ("/api/session", "/api/images/1/annotations"):
        answer = with_password.stranger.post(path, json={"name": "x" * 2**14})
        assert answer.status_code == 413
        assert answer.json()["detail"] == "the request is too large: at most 8,192 bytes"
    events = [{"kind": "point", "data": {"x": "y" * 2**14}}]
    answer = with_password.bob.post("/api/images/1/annotations", json={"events": events})
    assert answer.status_code == 422  # read, since it is from somebody known


def test_bodies_that_do_not_arrive_are_given_up():
    async def never():
        await asyncio.sleep(60)

    async def receive():
        with pytest.raises(HTTPException) as refused:
            await limited(never, 100, within_s=0.01)()
        assert (refused.value.status_code, refused.value.detail) == (
            408,
            "the body did not arrive within 0.01 s",
        )
        # Whoever waits for the end of a connection is not limited.
        messages = [{"body": b"x"}, {"type": "http.disconnect"}]

        async def one():
            await asyncio.sleep(0.02 * (len(messages) == 1))
            return messages.pop(0)

        wrapped = limited(one, 100, within_s=0.01)
        assert await wrapped() == {"body": b"x"}
        assert await wrapped() == {"type": "http.disconnect"}

    run_async(receive())


def test_throttle_forgets_with_time():
    now = [0.0]
    throttle = Throttle(max_failures=2, window_s=10, clock=lambda: now[0])
    assert [throttle.begin("a") for _ in range(3)] == [True, True, False]
    assert throttle.begin("b")
    now[0] = 10.0
    assert throttle.begin("a")
    throttle.succeed("a")
    assert [throttle.begin("a") for _ in range(3)] == [True, True, False]


def test_gate_lets_some_in_and_some_wait():
    gate, inside, release = Gate(at_once=1, waiting=1), Event(), Event()

    def enter():
        with gate:
            inside.set()
            return release.wait(30)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(enter)
        assert inside.wait(30)
        second = pool.submit(enter)
        while gate._places._value:  # until the second waits
            sleep(0.001)
        with pytest.raises(HTTPException) as refused, gate:
            pass
        assert refused.value.status_code == 503
        release.set()
        assert [one.result(30) for one in (first, second)] == [True, True]
    with gate:
        pass


def test_nothing_is_open_to_strangers(shared_server, operations):
    assert len(operations) == len(set(operations)) == 150
    for method, path in operations:
        status = ask(shared_server.stranger, method, path).status_code
        assert (status != 401) == ((method, path) in OPEN), (method, path, status)


def test_roles(sqlite_server, operations):
    for key in operations:
        if key == ("DELETE", "/api/session"):  # for everybody, but only once
            continue
        refused = [
            ask(browser, *key, json={"version": 1}).status_code == 403
            for browser in (sqlite_server.ann, sqlite_server.rev, sqlite_server.adm)
        ]
        assert refused == [key in REVIEWERS_ONLY | ADMINS_ONLY, key in ADMINS_ONLY, False], key


@pytest.mark.parametrize(
    "headers",
    [
        {"X-CSRF-Token": ""},
        {"X-CSRF-Token": "forged"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://testserver.evil.example"},
        {"Origin": "http://[broken"},
    ],
)
def test_requests_from_other_sites_change_nothing(headers, shared_server, operations):
    changing = [one for one in operations if one[0] in UNSAFE]
    assert len(changing) == 81
    for method, path in changing:
        if (method, path) not in OPEN:
            answer = ask(shared_server.adm, method, path, headers=headers)
            assert answer.status_code == 403, (method, path)
    assert shared_server.adm.get("/api/session").status_code == 200


def test_token_of_another_session_is_refused(server):
    headers = {"X-CSRF-Token": server.bob.headers["X-CSRF-Token"]}
    answer = server.ann.post(f"/api/images/{server.scene.images[0].id}/lease", headers=headers)
    assert answer.status_code == 403


def test_headers_are_on_everything(shared_server):
    for path in ("/", "/api/health", "/api/session", "/api/nothing", "/nothing"):
        headers = shared_server.stranger.get(path).headers
        assert {name: headers[name] for name in HEADERS} == HEADERS
    assert "unsafe-inline" not in HEADERS["Content-Security-Policy"]
    assert shared_server.ann.get("/api/session").headers["cache-control"] == "no-store"


def test_actions_are_written_down_without_secrets(with_password):
    server = with_password
    server.bob.post(f"/api/images/{server.scene.images[0].id}/lease")
    server.bob.post("/api/users", json={"name": "eve", "password": "secret one"})
    sign_in(server.stranger, name="ann", password="secret two")
    sign_in(server.stranger, name="secret three", password="x")
    server.stranger.post("/api/users", json={"name": "eve"})
    entries = server.adm.get("/api/audit").json()["items"]
    assert [(one["user_name"], one["action"], one["target"], one["status"]) for one in entries] == [
        (None, "sign_in", "/api/session", 401),
        (None, "sign_in", "user ann", 401),
        ("bob", "add_user", "/api/users", 403),
        ("bob", "hold_image", f"/api/images/{server.scene.images[0].id}/lease", 200),
    ]
    assert {one["address"] for one in entries} == {"testclient"}
    assert "secret" not in str(list_actions(server.scene.store).items)


def test_renewed_leases_are_not_written_down(sqlite_server):
    path = f"/api/images/{sqlite_server.scene.images[0].id}/lease"
    for _ in range(5):
        assert sqlite_server.ann.post(path).status_code == 200
    sqlite_server.ann.delete(path)
    assert sqlite_server.bob.post(path).status_code == 200
    assert sqlite_server.ann.post(path).status_code == 409
    entries = list_actions(sqlite_server.scene.store).items
    assert [(one.user_name, one.action, one.status) for one in entries] == [
        ("ann", "hold_image", 409),
        ("bob", "hold_image", 200),
        ("ann", "let_go", 204),
        ("ann", "hold_image", 200),
    ]


def test_exports_are_written_down(sqlite_server):
    path = f"/api/projects/{sqlite_server.scene.project.id}/export"
    for browser in (sqlite_server.rev, sqlite_server.ann):
        browser.get(path, params={"format": "coco"})
    entries = list_actions(sqlite_server.scene.store).items
    assert [(one.user_name, one.action, one.target, one.status) for one in entries] == [
        ("ann", "export", path, 403),
        ("rev", "export", path, 200),
    ]


# --- A server for one person ---

TOKEN = "a token of one person"


@pytest.fixture
def local(sqlite_scene, tmp_path, tiny_predictor):
    config = WebConfig(
        cache_folder=tmp_path / "e", local_token=TOKEN, local_user_id=sqlite_scene.adm
    )
    app = create_app(sqlite_scene.store, load_predictor=lambda: tiny_predictor, config=config)
    with TestClient(app, base_url="http://127.0.0.1:8123") as browser:
        yield browser


def test_token_signs_in(local):
    assert sign_in(local, token=TOKEN + "x").status_code == 401
    answer = sign_in(local, token=TOKEN)
    assert (answer.json()["local"], answer.json()["user"]["name"]) == (True, "adm")
    assert TOKEN not in str(answer.headers)
    assert local.get("/api/status").json()["local"] is True


def test_others_on_the_computer_cannot_lock_the_person_out(local):
    answers = [sign_in(local, token="guess").status_code for _ in range(51)]
    assert answers == [401] * 50 + [429]
    assert sign_in(local, token=TOKEN).status_code == 200


def test_names_do_not_sign_in_locally(local):
    assert sign_in(local, name="adm", password=PASSWORD).status_code == 401


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8123", "127.0.0.1.evil.example", ""]
)
def test_other_hosts_are_refused(host, local):
    assert local.get("/api/health", headers={"Host": host}).status_code == 400
    assert local.get("/api/health", headers={"Host": "localhost:8123"}).status_code == 200


def test_local_server_does_not_listen_to_the_network(local, refusal):
    with refusal(ConfigError, "listens on 127.0.0.1 only; got 0.0.0.0"):
        serve(local.app, host="0.0.0.0", port=0)


def test_two_local_servers_have_cookies_of_their_own(tmp_path):
    names = {
        WebConfig(cache_folder=tmp_path, local_token=token, local_user_id=1).cookie_name
        for token in ("a", "b")
    }
    assert len(names) == 2


def test_settings_are_checked(tmp_path, refusal):
    with refusal(ConfigError, "belong together"):
        WebConfig(cache_folder=tmp_path, local_token="t")
    with refusal(ConfigError, "max_megapixels must be above 0; got 0"):
        WebConfig(cache_folder=tmp_path, max_megapixels=0)
    with refusal(ConfigError, "must not be negative"):
        WebConfig(cache_folder=tmp_path, cache_bytes=-1)
