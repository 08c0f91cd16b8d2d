"""Weights on the Hugging Face hub: looked up in its local cache, or downloaded and verified."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from samkit.errors import DownloadError
from samkit.files import file_sha256
from samkit.weights.catalog import CatalogEntry

SHA256_DIGITS = 64
CONFIG_FILE = "config.json"  # of a model saved by transformers
# One of these sets; without any, transformers silently makes an empty tokenizer.
TOKENIZER_FILES = ({"tokenizer.json"}, {"vocab.json", "merges.txt"}, {"vocab.txt"})

logger = logging.getLogger(__name__)

WAY_OUT = (
    "fetch it where there is a network (samkit models fetch {name}), pass a checkpoint file's path,"
    " or use the embedded mobile_sam"
)


@contextmanager
def asking_hub(what: str, way_out: str) -> Iterator[None]:
    """Ask the hub for something; whatever goes wrong becomes one line, and nothing else is logged.

    Args:
        what: name of the download, for messages.
        way_out: advice for doing without it, for messages.

    Raises:
        DownloadError: no network, no such repository, or no such file.
    """
    theirs = logging.getLogger("huggingface_hub")
    was_disabled, theirs.disabled = theirs.disabled, True
    children = [logging.getLogger(name) for name in _loggers_below(theirs.name)]
    levels = [child.level for child in children]
    for child in children:
        child.setLevel(logging.CRITICAL)
    try:
        yield
    except Exception as error:  # huggingface_hub passes on what its HTTP client raises
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise DownloadError(f"cannot fetch {what}: {reason} -- {way_out}") from error
    finally:
        theirs.disabled = was_disabled
        for child, level in zip(children, levels, strict=True):
            child.setLevel(level)


def _loggers_below(name: str) -> list[str]:
    return [one for one in logging.root.manager.loggerDict if one.startswith(f"{name}.")]


def check_reachable(repo: str, file: str) -> str | None:
    """Ask the hub once for a file, which fails at once without a network; return its checksum.

    Other requests of huggingface_hub are repeated for half a minute before they fail.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    return get_hf_file_metadata(hf_hub_url(repo, file)).etag


def find_local(entry: CatalogEntry) -> Path | None:
    """A model's weights if they are on this disk: embedded, or downloaded before."""
    if entry.embedded is not None:
        return entry.embedded
    from huggingface_hub import try_to_load_from_cache

    if entry.hub_repo is None:
        return None
    found = try_to_load_from_cache(entry.hub_repo, entry.hub_file)
    return Path(found) if isinstance(found, str) else None


def find_cached(name: str) -> Path | None:
    """Folder of a downloaded repository; None unless it is complete."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(name, CONFIG_FILE)
    except HFValidationError:
        return None
    folder = Path(found).parent if isinstance(found, str) else None
    return folder if folder is not None and has_weights(folder) and has_tokenizer(folder) else None


def has_weights(folder: Path) -> bool:
    """Whether a folder holds all weights, as safetensors or, failing that, as .bin files."""
    for suffix in (".safetensors", ".bin"):
        files = {path.name for path in folder.glob(f"*{suffix}")}
        indices = list(folder.glob(f"*{suffix}.index.json"))
        if files and not indices:
            return True
        for index in indices:
            try:
                parts = set(json.loads(index.read_bytes())["weight_map"].values())
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                return False  # truncated
            if files:  # otherwise an index of weights that were not downloaded
                return parts <= files
    return False


def has_tokenizer(folder: Path) -> bool:
    """Whether a text model's folder holds its tokenizer."""
    names = {path.name for path in folder.iterdir()}
    return any(some <= names for some in TOKENIZER_FILES)


def fetch(entry: CatalogEntry) -> Path:
    """Download a model's weights unless they are on this disk; return the file.

    huggingface_hub shows progress, resumes an interrupted download and stores the file in its cache
    (HF_HOME). The file is then compared with the checksum that the hub records for it.

    Raises:
        DownloadError: no network, no such file, or a checksum that differs.
    """
    local = find_local(entry)
    if local is not None:
        return local
    from huggingface_hub import hf_hub_download

    assert entry.hub_repo is not None
    with asking_hub(f"{entry.name} from {entry.hub_repo}", WAY_OUT.format(name=entry.name)):
        expected = check_reachable(entry.hub_repo, entry.hub_file)
        path = Path(hf_hub_download(entry.hub_repo, entry.hub_file))
    check_download(path, expected, entry)
    return path


def check_download(path: Path, expected: str | None, entry: CatalogEntry) -> None:
    """Compare a downloaded file with the hub's SHA-256; delete it if they differ.

    Raises:
        DownloadError: the checksums differ.
    """
    if expected is None or len(expected) != SHA256_DIGITS:  # small files have a git hash instead
        logger.warning("the hub records no SHA-256 of %s; not checked", path)
        return
    actual = file_sha256(path)
    if actual != expected:
        path.resolve().unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise DownloadError(
            f"{entry.name} arrived damaged: SHA-256 {actual[:12]}..., expected {expected[:12]}...;"
            " it was deleted, fetch it again"
        )
