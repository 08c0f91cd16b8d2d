"""Where converted models are kept."""

import os
from pathlib import Path

from platformdirs import user_cache_path

CACHE_VARIABLE = "SAMKIT_CACHE"


def cache_folder() -> Path:
    """The folder for what can be made again: SAMKIT_CACHE, or this user's usual place."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen) if chosen else user_cache_path("samkit")
