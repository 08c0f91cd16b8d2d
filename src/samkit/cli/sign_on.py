"""Options of `samkit serve` for single sign-on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from samkit.cli.server import read_secret
from samkit.errors import ConfigError

if TYPE_CHECKING:
    from samkit.dataengine import Role
    from samkit.web import OidcConfig

Command = TypeVar("Command", bound=Callable[..., Any])
ROLE_NAMES = ("annotator", "reviewer", "admin")

OPTIONS = (
    click.option(
        "--oidc-issuer",
        envvar="SAMKIT_OIDC_ISSUER",
        metavar="URL",
        help="Provider of single sign-on (OpenID Connect).",
    ),
    click.option("--oidc-client", envvar="SAMKIT_OIDC_CLIENT", metavar="ID", help="Its client ID."),
    click.option(
        "--oidc-secret-file",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="File with the client's secret; a public client has none.",
    ),
    click.option(
        "--oidc-label",
        default="single sign-on",
        show_default=True,
        metavar="NAME",
        help="The provider's name on the page.",
    ),
    click.option(
        "--oidc-claim",
        default="groups",
        show_default=True,
        metavar="NAME",
        help="Claim whose values give roles.",
    ),
    click.option(
        "--oidc-role",
        "oidc_roles",
        multiple=True,
        metavar="ROLE=VALUE",
        help="Role of people with this value of the claim; repeatable.",
    ),
    click.option(
        "--oidc-default-role",
        type=click.Choice(ROLE_NAMES),
        help="Role of people without such a value, who are refused else.",
    ),
)


def sign_on_options(command: Command) -> Command:
    """Add the options of single sign-on."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def sign_on(
    *,
    issuer: str | None,
    client: str | None,
    secret_file: Path | None,
    label: str,
    claim: str,
    roles: tuple[str, ...],
    default_role: Role | None,
) -> OidcConfig | None:
    """Make the configuration of the options; None without an issuer.

    Raises:
        ConfigError: an option is missing or not valid.
    """
    if issuer is None:
        return None
    if client is None:
        raise ConfigError("--oidc-issuer needs --oidc-client, the ID of this server there")
    from samkit.web import OidcConfig

    pairs = [one.partition("=") for one in roles]
    for role, sign, value in pairs:
        if role not in ROLE_NAMES or not sign or not value:
            raise ConfigError(f"--oidc-role is ROLE=VALUE; got {role + sign + value!r:.60}")
    return OidcConfig(
        issuer=issuer,
        client_id=client,
        client_secret=None if secret_file is None else read_secret(secret_file),
        label=label,
        roles_claim=claim,
        roles={value: cast("Role", role) for role, _, value in pairs},
        default_role=default_role,
    )
