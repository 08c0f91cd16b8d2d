"""API tokens by REST: what they may do, what only the page may, and what the audit log says."""

import pytest
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect


def with_token(server, browser, **body):
    """A program with a token of a browser's person, and what is known of the token."""
    made = browser.post("/api/session/tokens", json={"name": "nightly", **body})
    assert made.status_code == 201, made.text
    headers = {"Authorization": f"Bearer {made.json()['secret']}"}
    return TestClient(server.app, headers=headers), made.json()["token"]


def test_programs_need_neither_cookie_nor_csrf_token(server):
    image_id = server.scene.images[0].id
    program, token = with_token(server, server.ann)
    assert program.get("/api/session").json()["user"]["name"] == "ann"
    assert program.post(f"/api/images/{image_id}/lease").status_code == 200
    with program.websocket_connect(f"/api/images/{image_id}/prompt") as socket:
        socket.send_text("{}")
        assert socket.receive_json()["type"] in ("state", "error")
    entries = server.adm.get("/api/audit").json()["items"]
    assert [(one["action"], one["user_name"], one["token_name"]) for one in entries] == [
        ("hold_image", "ann", "nightly"),
        ("post_token", "ann", None),
    ]
    (listed,) = server.adm.get(f"/api/users/{server.scene.ann}/tokens").json()["items"]
    assert (listed["id"], listed["last_used_at"] is None) == (token["id"], False)
    assert "secret" not in str(listed)
    assert "hash" not in str(listed)
    assert server.bob.post(f"/api/tokens/{token['id']}/revoke").status_code == 403
    assert server.ann.post(f"/api/tokens/{token['id']}/revoke").json()["revoked"]
    assert program.get("/api/session").status_code == 401
    with program.websocket_connect(f"/api/images/{image_id}/prompt") as socket:
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_json()
        assert closed.value.code == 4401


def test_a_header_counts_instead_of_the_cookie(server):
    for wrong in ("Bearer samkit_guess", "Basic YTpi", ""):
        answer = server.adm.get("/api/session", headers={"Authorization": wrong})
        assert answer.status_code == 401, wrong


def test_a_token_does_no_more_than_its_role(sqlite_server, operations):
    server = sqlite_server
    program, _ = with_token(server, server.adm, role="annotator", days=1)
    assert program.get("/api/session").json()["user"]["role"] == "annotator"
    image_id = server.scene.hold(server.scene.ann)
    server.ann.post(f"/api/images/{image_id}/submit")
    refused = program.post(f"/api/images/{image_id}/lease")
    assert (refused.status_code, "only a reviewer" in refused.json()["detail"]) == (403, True)
    for method, path in operations:
        if path.startswith("/api/users") or path == "/api/audit":
            answer = program.request(method, path.replace("{user_id}", "1"))
            assert answer.status_code == 403, path
    too_high = {"name": "x", "role": "admin"}
    assert server.ann.post("/api/session/tokens", json=too_high).status_code == 403


def test_a_token_makes_no_tokens(sqlite_server):
    program, token = with_token(sqlite_server, sqlite_server.adm)
    for method, path in (
        ("GET", "/api/session/tokens"),
        ("POST", "/api/session/tokens"),
        ("POST", f"/api/tokens/{token['id']}/revoke"),
        ("POST", "/api/session/password"),
        ("DELETE", "/api/session"),
    ):
        body = {"old": "x", "new": "x" * 8} if "password" in path else {"name": "x"}
        answer = program.request(method, path, json=body)
        assert answer.status_code == 403, path
        assert answer.json()["detail"] == "not with an API token: sign in on the page", path
