"""Settings of the page, of each person: stored so that they follow them."""

import json
from collections.abc import Mapping
from typing import Any

from samkit.dataengine.database import Store
from samkit.dataengine.people.users import acting_user
from samkit.errors import StoreError

MAX_BYTES = 32 * 2**10


def read_settings(store: Store, user_id: int) -> dict[str, Any]:
    """Return what a user has set; empty at first.

    Raises:
        MissingError: no such user.
    """
    with store.read() as session:
        return dict(acting_user(session, user_id).settings)


def save_settings(store: Store, user_id: int, settings: Mapping[str, Any]) -> None:
    """Save a user's settings, in place of those before.

    Raises:
        MissingError: no such user.
        StoreError: they are too large, or no JSON.
    """
    try:
        size = len(json.dumps(dict(settings), allow_nan=False, ensure_ascii=False).encode())
    except (TypeError, ValueError) as error:  # also for halves of characters
        raise StoreError(f"settings must be JSON: {str(error)[:100]}") from error
    if size > MAX_BYTES:
        raise StoreError(f"settings have at most {MAX_BYTES:,} bytes; got {size:,}")
    with store.write() as session:
        acting_user(session, user_id).settings = dict(settings)
