"""API keys: random, shown once, and known to the server by their SHA-256 alone."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from samkit.errors import ConfigError, OutputError
from samkit.files import read_text, reason

PREFIX = "samkit_"
KEY_BYTES = 32
NAME = re.compile(r"[\w.-]{1,64}", re.ASCII)
LINE = re.compile(rf"({NAME.pattern}) ([0-9a-f]{{64}})", re.ASCII)


def read_keys(path: Path) -> Mapping[str, str]:
    """Read a file of keys, a name and a SHA-256 on each line; return the names by SHA-256.

    Raises:
        DataError: it is missing.
        ConfigError: it has no keys, or a line is something else.
    """
    found = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = LINE.fullmatch(line.strip())
        if match is None:
            raise ConfigError(
                f"{path}, line {number}: expected a name and a SHA-256; samkit serve-model"
                " --new-key NAME --keys FILE adds one"
            )
        found[match[2]] = match[1]
    if not found:
        raise ConfigError(f"{path} has no keys: samkit serve-model --new-key NAME --keys FILE")
    return found


def add_key(path: Path, name: str) -> str:
    """Add a new key to a file, which is made if it is missing; return the key.

    Raises:
        ConfigError: the name is not valid, or there already.
        OutputError: the file cannot be written.
    """
    if not NAME.fullmatch(name):
        raise ConfigError(f"a key's name has letters, digits, '.', '-' and '_'; got {name!r:.80}")
    if path.exists() and name in read_keys(path).values():
        raise ConfigError(f"{path} has a key {name} already: remove its line to replace it")
    key = PREFIX + secrets.token_urlsafe(KEY_BYTES)
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{name} {key_sha256(key)}\n")
    except OSError as error:
        raise OutputError(f"cannot write {path}: {reason(error)}") from error
    return key


def key_sha256(key: str) -> str:
    """The SHA-256 by which a key is known; enough for keys of 256 random bits."""
    return hashlib.sha256(key.encode()).hexdigest()
