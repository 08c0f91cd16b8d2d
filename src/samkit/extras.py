"""Optional packages: whether they are installed, and the command that installs them."""

from importlib.util import find_spec

from samkit.errors import ConfigError


def install_hint(extra: str) -> str:
    """Return the command that installs an extra; samkit is not on a package index yet."""
    return f"pip install '.[{extra}]' in a checkout of samkit"


def require_packages(purpose: str, packages: tuple[str, ...], extra: str) -> None:
    """Check that packages are installed, without importing them.

    Raises:
        ConfigError: packages are missing; the message states their purpose and how to install them.
    """
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise ConfigError(f"{purpose} needs {' and '.join(missing)}: {install_hint(extra)}")
