"""Single sign-on by OpenID Connect: authorization code with PKCE, by Authlib."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from samkit.dataengine import ROLES, Role
from samkit.errors import ConfigError, SamkitError
from samkit.extras import require_packages

if TYPE_CHECKING:
    from authlib.integrations.requests_client import OAuth2Session  # type: ignore[import-untyped]

logger = logging.getLogger(__name__)

# Signed by the provider's private key: with HS256 whoever knows the client's secret could sign.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA")
ASK_S = 10.0  # for each answer of the provider
FLOW_S = 600.0  # for the person to sign in there
MAX_FLOWS = 10_000
FACTS_S = 3600.0  # until the provider's addresses and keys are read again
LEEWAY_S = 60  # that clocks may differ
VERIFIER_BYTES, NONCE_BYTES = 48, 24
SECURE, LOCAL_NAMES = "https", ("localhost",)


class OidcError(SamkitError):
    """The provider's answer does not sign anybody in."""


@dataclass(frozen=True, kw_only=True)
class OidcConfig:
    """A provider of single sign-on.

    Attributes:
        issuer: its URL, as it calls itself.
        client_id, client_secret: of this server, as registered there; a public client has no
            secret.
        label: its name on the page.
        roles_claim: claim with a value or a list of values that give roles.
        roles: roles by values of that claim; the highest one counts.
        default_role: of people without such a value; None refuses them.
        name_claim: claim with the name of new users; "email" and "sub" stand in for it.
        scope: what is asked for.
    """

    issuer: str
    client_id: str
    client_secret: str | None = None
    label: str = "Single sign-on"
    roles_claim: str = "groups"
    roles: Mapping[str, Role] = field(default_factory=dict)
    default_role: Role | None = None
    name_claim: str = "preferred_username"
    scope: str = "openid profile email"

    def __post_init__(self) -> None:
        parts = urlsplit(self.issuer)
        is_near = parts.hostname in LOCAL_NAMES or _is_loopback(parts.hostname or "")
        if parts.scheme != SECURE and not (parts.scheme == "http" and is_near):
            raise ConfigError(f"a provider's address must be https; got {self.issuer!r:.80}")
        for role in (*self.roles.values(), *filter(None, (self.default_role,))):
            if role not in ROLES:
                raise ConfigError(f"a role must be one of {', '.join(ROLES)}; got {role!r:.40}")
        if not self.roles and self.default_role is None:
            raise ConfigError("nobody would get a role: give a default role, or roles by claims")
        require_packages("single sign-on", ("authlib", "requests"), "oidc")


@dataclass(frozen=True, kw_only=True)
class Flow:
    """A sign-in that has begun: its secrets, and where the provider sends the person back to."""

    nonce: str
    verifier: str
    redirect_uri: str
    begun_s: float


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Whom the provider has recognised; `role` is what the claims give them, None for nothing."""

    issuer: str
    subject: str
    name: str
    role: Role | None


class OidcClient:
    """Signs people in at one provider; thread-safe."""

    def __init__(
        self,
        config: OidcConfig,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Prepare; nothing is asked yet.

        Args:
            clock: seconds, for lifetimes.
            now: seconds since 1970, which tokens are checked against.
        """
        self.config = config
        self._clock, self._now = clock, now
        self._flows: OrderedDict[str, Flow] = OrderedDict()
        self._facts: tuple[float, dict[str, Any], Any] | None = None
        self._lock = threading.Lock()

    def begin(self, redirect_uri: str) -> tuple[str, str]:
        """Begin a sign-in; return the address to send the person to, and the flow's state.

        Raises:
            OidcError: the provider cannot be reached, or says something else than it should.
        """
        facts, _ = self._read_facts()
        flow = Flow(
            nonce=secrets.token_urlsafe(NONCE_BYTES),
            verifier=secrets.token_urlsafe(VERIFIER_BYTES),
            redirect_uri=redirect_uri,
            begun_s=self._clock(),
        )
        state = secrets.token_urlsafe(NONCE_BYTES)
        with self._lock:
            self._flows[state] = flow
            while len(self._flows) > MAX_FLOWS or self._is_over(next(iter(self._flows.values()))):
                self._flows.popitem(last=False)
        url, _ = self._session(flow).create_authorization_url(
            facts["authorization_endpoint"],
            state=state,
            nonce=flow.nonce,
            code_verifier=flow.verifier,
        )
        return str(url), state

    def finish(self, state: str, code: str) -> Identity:
        """Finish a sign-in by the code that the provider has sent; each flow only once.

        Raises:
            OidcError: there is no such flow, or the provider's answer is not valid.
        """
        with self._lock:
            flow = self._flows.pop(state, None)
        if flow is None or self._is_over(flow):
            raise OidcError("this sign-in has ended: begin again")
        facts, _ = self._read_facts()
        answer = self._ask(
            lambda: self._session(flow).fetch_token(
                facts["token_endpoint"],
                code=code,
                code_verifier=flow.verifier,
                timeout=ASK_S,
                allow_redirects=False,
            )
        )
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise OidcError("the provider has sent no ID token: is the scope openid allowed?")
        return self._identity(self._check(token, flow))

    def _check(self, token: str, flow: Flow) -> dict[str, Any]:
        """Check an ID token's signature and claims; return these."""
        from joserfc import jwt
        from joserfc.errors import JoseError

        config = self.config
        registry = jwt.JWTClaimsRegistry(
            now=int(self._now()),
            leeway=LEEWAY_S,
            iss={"essential": True, "value": config.issuer},
            aud={"essential": True, "value": config.client_id},
            sub={"essential": True},
            exp={"essential": True},
            iat={"essential": True},
            nonce={"essential": True, "value": flow.nonce},
        )
        try:
            claims = self._decode(token)
            registry.validate(claims)
        except (JoseError, ValueError) as error:
            raise OidcError(f"the ID token is not valid: {error}") from error
        if claims.get("azp", config.client_id) != config.client_id:
            raise OidcError("the ID token is for another client")
        return claims

    def _decode(self, token: str) -> dict[str, Any]:
        """The claims of a token that the provider has signed."""
        from joserfc import jwt
        from joserfc.errors import InvalidKeyIdError

        _, keys = self._read_facts()
        try:
            return jwt.decode(token, keys, algorithms=ALGORITHMS).claims
        except InvalidKeyIdError:  # it has other keys since they were read
            self._facts = None
            _, keys = self._read_facts()
            return jwt.decode(token, keys, algorithms=ALGORITHMS).claims

    def _identity(self, claims: Mapping[str, Any]) -> Identity:
        config = self.config
        given = claims.get(config.roles_claim, [])
        listed = given if isinstance(given, list) else [given]
        values = [one for one in listed if isinstance(one, str)]
        found = [
            config.roles[one] for one in values if isinstance(one, str) and one in config.roles
        ]
        role = max(found, key=ROLES.index) if found else config.default_role
        names = (claims.get(one) for one in (config.name_claim, "email", "sub"))
        name = next(one for one in names if isinstance(one, str) and one)
        return Identity(issuer=config.issuer, subject=str(claims["sub"]), name=name, role=role)

    def _session(self, flow: Flow) -> OAuth2Session:
        from authlib.integrations.requests_client import OAuth2Session

        config = self.config
        secret = config.client_secret
        return OAuth2Session(
            config.client_id,
            secret,
            token_endpoint_auth_method="client_secret_basic" if secret else "none",
            scope=config.scope,
            redirect_uri=flow.redirect_uri,
            code_challenge_method="S256",
        )

    def _read_facts(self) -> tuple[dict[str, Any], Any]:
        """The provider's addresses and keys."""
        import requests
        from joserfc.jwk import KeySet

        known = self._facts
        if known is not None and self._clock() - known[0] < FACTS_S:
            return known[1], known[2]

        def read(url: str) -> dict[str, Any]:
            answer = requests.get(url, timeout=ASK_S, allow_redirects=False)
            answer.raise_for_status()
            found: dict[str, Any] = answer.json()
            return found

        issuer = self.config.issuer
        facts = self._ask(lambda: read(f"{issuer.rstrip('/')}/.well-known/openid-configuration"))
        if facts.get("issuer") != issuer:
            raise OidcError(f"the provider calls itself {str(facts.get('issuer'))!r:.80}")
        keys = self._ask(lambda: KeySet.import_key_set(read(str(facts["jwks_uri"]))))  # type: ignore[arg-type]
        self._facts = (self._clock(), facts, keys)
        return facts, keys

    def _ask(self, call: Callable[[], Any]) -> Any:
        """Ask the provider; whatever goes wrong is an OidcError."""
        import requests
        from authlib.common.errors import AuthlibBaseError  # type: ignore[import-untyped]
        from joserfc.errors import JoseError

        errors = (requests.RequestException, AuthlibBaseError, JoseError, ValueError, KeyError)
        try:
            return call()
        except errors as error:
            raise OidcError(f"the provider cannot be used: {error}") from error

    def _is_over(self, flow: Flow) -> bool:
        return self._clock() - flow.begun_s > FLOW_S


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
