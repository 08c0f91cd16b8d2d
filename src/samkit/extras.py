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


def require_package(name: str, purpose: str) -> None:
    """Check that a package of no extra is installed, such as a program that samkit works with.

    Raises:
        ConfigError: it is missing; the message states its purpose and how to install it.
    """
    if find_spec(name) is None:
        raise ConfigError(f"{purpose} needs {name}: pip install {name}")
