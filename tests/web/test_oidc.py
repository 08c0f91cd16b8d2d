"""Single sign-on against a small provider on this computer, honest or not."""

import base64
import hashlib
import json
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from fastapi.testclient import TestClient
from joserfc import jwt
from joserfc.jwk import RSAKey

from samkit.dataengine import (
    Store,
    change_user,
    create_user,
    link_identity,
    list_actions,
    list_users,
    user_of_identity,
)
from samkit.errors import ConfigError, ConflictError, RoleError, StoreError
from samkit.web import OidcConfig, create_app
from samkit.web.oidc import OidcClient, OidcError
from web.conftest import HOST, settings

BACK = f"{HOST}/api/session/oidc/callback"
KEY = RSAKey.generate_key(2048, {"kid": "k", "use": "sig"}, private=True)
NEW_KEY = RSAKey.generate_key(2048, {"kid": "new", "use": "sig"}, private=True)
OTHER_KEY = RSAKey.generate_key(2048, {"kid": "k", "use": "sig"}, private=True)


class Provider(HTTPServer):
    """Recognises everybody as `claims` says; checks what a provider has to check."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self.server_port}"
        self.claims, self.key, self.codes = {"sub": "s-1", "preferred_username": "eve"}, KEY, {}
        self.refusals, self.published = [], [KEY]

    def authorize(self, url):
        """What the person's browser does there: returns the address that it is sent back to."""
        asked = {name: one for name, (one,) in parse_qs(urlsplit(url).query).items()}
        assert url.startswith(f"{self.issuer}/authorize?")
        assert (asked["client_id"], asked["response_type"]) == ("samkit", "code")
        assert (asked["code_challenge_method"], asked["redirect_uri"]) == ("S256", BACK)
        assert "openid" in asked["scope"].split()
        code = f"code-{len(self.codes)}"
        self.codes[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"

    def token(self, headers, form):
        asked = self.codes.pop(form["code"], None)
        if asked is None:
            return {"error": "invalid_grant"}
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        basic = base64.b64encode(b"samkit:client secret").decode()
        if challenge != asked["code_challenge"] or headers["authorization"] != f"Basic {basic}":
            self.refusals.append(form)
            return {"error": "invalid_client"}
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": "samkit",
            "iat": now,
            "exp": now + 60,
            "nonce": asked["nonce"],
        } | self.claims
        token = jwt.encode({"alg": "RS256", "kid": self.key.kid}, claims, self.key)
        return {"access_token": "a", "token_type": "Bearer", "id_token": token}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        issuer = self.server.issuer
        facts = {
            "issuer": issuer,
            "authorization_endpoint": f"{issuer}/authorize",
            "token_endpoint": f"{issuer}/token",
            "jwks_uri": f"{issuer}/keys",
        }
        keys = {"keys": [one.as_dict(private=False) for one in self.server.published]}
        self.answer({"/.well-known/openid-configuration": facts, "/keys": keys}[self.path])

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        form = {name: one for name, (one,) in parse_qs(body).items()}
        found = self.server.token(self.headers, form)
        self.answer(found, 400 if "error" in found else 200)

    def answer(self, found, status=200):
        body = json.dumps(found).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def provider():
    with Provider() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def config(provider):
    return OidcConfig(
        issuer=provider.issuer,
        client_id="samkit",
        client_secret="client secret",
        label="Example",
        roles={"leads": "reviewer", "bosses": "admin"},
        default_role="annotator",
    )


@pytest.fixture
def browser(config, tmp_path, tiny_predictor):
    """A stranger's browser; `browser.store` is the server's store."""
    with Store.open(tmp_path / "s.db") as store:
        web = replace(settings(tmp_path), oidc=config)
        app = create_app(store, load_predictor=lambda: tiny_predictor, config=web)
        with TestClient(app, base_url=HOST, follow_redirects=False) as opened:
            opened.store = store
            yield opened


def sign_in(browser, provider):
    """Go through all of it; return where the browser ends."""
    begun = browser.get("/api/session/oidc")
    assert begun.status_code == 303
    ended = browser.get(provider.authorize(begun.headers["location"]))
    assert ended.status_code == 303
    return ended.headers["location"]


def test_people_sign_in_and_get_the_role_of_their_claims(browser, provider):
    methods = browser.get("/api/session/methods").json()
    assert methods == {"password": True, "provider": "Example"}
    assert browser.get("/api/session").status_code == 401
    assert sign_in(browser, provider) == "/"
    session = browser.get("/api/session").json()
    assert (session["user"]["name"], session["user"]["role"]) == ("eve", "annotator")
    provider.claims |= {"groups": ["staff", "leads", "bosses"], "preferred_username": "evelyn"}
    assert sign_in(browser, provider) == "/"
    again = browser.get("/api/session").json()["user"]
    assert (again["id"], again["name"], again["role"]) == (session["user"]["id"], "eve", "admin")
    create_user(browser.store, name="ada", role="admin")
    provider.claims |= {"groups": "leads"}
    assert sign_in(browser, provider) == "/"
    assert browser.get("/api/session").json()["user"]["role"] == "reviewer"
    assert [one.name for one in list_users(browser.store).items] == ["eve", "ada"]
    entries = list_actions(browser.store).items
    assert {(one.action, one.user_name) for one in entries} == {("come_from_provider", "eve")}
    assert provider.refusals == []


def test_cookies_of_the_flow_and_of_the_session(browser, provider):
    begun = browser.get("/api/session/oidc")
    cookie = begun.headers["set-cookie"]
    assert "SameSite=lax" in cookie
    assert "HttpOnly" in cookie
    assert "Path=/api/session/oidc" in cookie
    ended = browser.get(provider.authorize(begun.headers["location"]))
    cookies = ended.headers.get_list("set-cookie")
    assert any("samkit_session=" in one and "SameSite=strict" in one for one in cookies)


@pytest.mark.parametrize(
    "wrong",
    [
        {"aud": "another"},
        {"iss": "https://elsewhere.example.org"},
        {"nonce": "replayed"},
        {"exp": 1000},
        {"azp": "another"},
        {"sub": None},
    ],
)
def test_tokens_that_are_not_for_this_sign_in_are_refused(wrong, browser, provider):
    provider.claims |= wrong
    assert sign_in(browser, provider) == "/?sign-in=failed"
    assert browser.get("/api/session").status_code == 401
    assert list_users(browser.store).items == ()


def test_tokens_of_another_key_are_refused(browser, provider):
    provider.key = OTHER_KEY
    assert sign_in(browser, provider) == "/?sign-in=failed"
    assert browser.get("/api/session").status_code == 401


def test_a_provider_may_change_its_keys(browser, provider):
    assert sign_in(browser, provider) == "/"
    provider.key = NEW_KEY
    assert sign_in(browser, provider) == "/?sign-in=failed"
    provider.published = [NEW_KEY]
    assert sign_in(browser, provider) == "/"


def test_a_flow_is_of_one_browser_and_ends_once(browser, provider):
    begun = browser.get("/api/session/oidc")
    back = provider.authorize(begun.headers["location"])
    other = TestClient(browser.app, base_url=HOST, follow_redirects=False)
    assert other.get(back).headers["location"] == "/?sign-in=ended"  # a link from somebody else
    assert browser.get(back).headers["location"] == "/"
    state = parse_qs(urlsplit(back).query)["state"][0]
    again = TestClient(browser.app, base_url=HOST, follow_redirects=False)
    again.cookies.set("samkit_oidc", state)
    assert again.get(back).headers["location"] == "/?sign-in=failed"
    begun = browser.get("/api/session/oidc")
    state = parse_qs(urlsplit(begun.headers["location"]).query)["state"][0]
    refused = browser.get(f"{BACK}?error=access_denied&state={state}")
    assert refused.headers["location"] == "/?sign-in=refused"


def test_who_is_known_otherwise_is_not_taken_over(browser, provider):
    own = create_user(browser.store, name="eve", role="admin", password="correct horse")
    assert sign_in(browser, provider) == "/?sign-in=taken"
    link_identity(browser.store, own.id, issuer=provider.issuer, subject="s-1")
    create_user(browser.store, name="ada", role="admin")
    assert sign_in(browser, provider) == "/"
    assert browser.get("/api/session").json()["user"]["id"] == own.id
    change_user(browser.store, own.id, active=False)
    assert sign_in(browser, provider) == "/?sign-in=role"


def test_the_last_admin_keeps_the_role(store, refusal):
    one = {"issuer": "https://x", "name": "eve"}
    user = user_of_identity(store, subject="1", role="admin", **one)
    with refusal(StoreError, "there must be an active admin"):
        user_of_identity(store, subject="1", role="annotator", **one)
    assert user_of_identity(store, subject="1", role=None, **one) == user
    with refusal(RoleError, "'eve' has no role here"):
        user_of_identity(store, subject="2", role=None, **one)
    with refusal(ConflictError, "there is a user 'eve' already"):
        user_of_identity(store, subject="2", role="annotator", **one)


def test_flows_end_with_time(config, provider, refusal):
    now = [0.0]
    client = OidcClient(config, clock=lambda: now[0])
    url, state = client.begin(BACK)
    code = parse_qs(urlsplit(provider.authorize(url)).query)["code"][0]
    now[0] = 601.0
    with refusal(OidcError, "this sign-in has ended: begin again"):
        client.finish(state, code)
    with refusal(OidcError, "the provider calls itself"):
        OidcClient(replace(config, issuer=provider.issuer + "/")).begin(BACK)


def test_configurations_that_cannot_work(config, refusal):
    with refusal(ConfigError, "a provider's address must be https"):
        replace(config, issuer="http://login.example.org")
    with refusal(ConfigError, "nobody would get a role"):
        replace(config, roles={}, default_role=None)
    with refusal(ConfigError, "a role must be one of"):
        replace(config, roles={"x": "boss"})
