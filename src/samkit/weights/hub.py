"""Weights from the Hugging Face hub: found in its local cache, or fetched and checked."""

import json
import logging
from pathlib import Path

from samkit.errors import DownloadError
from samkit.files import file_sha256
from samkit.weights.catalog import CatalogEntry

SHA256_DIGITS = 64
CONFIG_FILE = "config.json"  # of a model as transformers saves it
# Either of these; without any, transformers makes an empty tokenizer and says nothing.
TOKENIZER_FILES = ({"tokenizer.json"}, {"vocab.json", "merges.txt"}, {"vocab.txt"})

logger = logging.getLogger(__name__)

WAY_OUT = (
    "fetch it where there is a network (samkit models fetch {name}), pass a checkpoint file's path,"
    " or use the embedded mobile_sam"
)


def find_local(entry: CatalogEntry) -> Path | None:
    """The file of a model that is on this disk already: embedded, or fetched before."""
    if entry.embedded is not None:
        return entry.embedded
    from huggingface_hub import try_to_load_from_cache

    if entry.hub_repo is None:
        return None
    found = try_to_load_from_cache(entry.hub_repo, entry.hub_file)
    return Path(found) if isinstance(found, str) else None


def find_cached(name: str) -> Path | None:
    """The folder of a whole repository that was fetched before; None if it is not all there."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(name, CONFIG_FILE)
    except HFValidationError:
        return None
    folder = Path(found).parent if isinstance(found, str) else None
    return folder if folder is not None and has_weights(folder) and has_tokenizer(folder) else None


def has_weights(folder: Path) -> bool:
    """Whether all weights are in a folder, of safetensors or, where there are none, of .bin."""
    for suffix in (".safetensors", ".bin"):
        files = {path.name for path in folder.glob(f"*{suffix}")}
        indices = list(folder.glob(f"*{suffix}.index.json"))
        if files and not indices:
            return True
        for index in indices:
            try:
                parts = set(json.loads(index.read_bytes())["weight_map"].values())
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                return False  # cut off
            if files:  # else an index of weights that were not fetched
                return parts <= files
    return False


def has_tokenizer(folder: Path) -> bool:
    """Whether the words of a text model are in its folder."""
    names = {path.name for path in folder.iterdir()}
    return any(some <= names for some in TOKENIZER_FILES)


def fetch(entry: CatalogEntry) -> Path:
    """Bring a model's weights to this disk, if they are not there; return the file.

    huggingface_hub shows progress, goes on where a connection broke off, and keeps the file in its
    cache (HF_HOME). The file is then compared with the checksum that the hub keeps of it.

    Raises:
        DownloadError: no network, no such file, or a checksum that differs.
    """
    local = find_local(entry)
    if local is not None:
        return local
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    assert entry.hub_repo is not None
    try:
        # Asked first: without a network it fails at once, where the download would try for long.
        expected = get_hf_file_metadata(hf_hub_url(entry.hub_repo, entry.hub_file)).etag
        path = Path(hf_hub_download(entry.hub_repo, entry.hub_file))
    except Exception as error:  # huggingface_hub passes on what its HTTP client raises
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise DownloadError(
            f"cannot fetch {entry.name} from {entry.hub_repo}: {reason}"
            f" -- {WAY_OUT.format(name=entry.name)}"
        ) from error
    check_download(path, expected, entry)
    return path


def check_download(path: Path, expected: str | None, entry: CatalogEntry) -> None:
    """Compare a fetched file with the hub's SHA-256 of it; delete it where they differ.

    Raises:
        DownloadError: the checksums differ.
    """
    if expected is None or len(expected) != SHA256_DIGITS:  # small files have a git hash instead
        logger.warning("the hub keeps no SHA-256 of %s; not checked", path)
        return
    actual = file_sha256(path)
    if actual != expected:
        path.resolve().unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise DownloadError(
            f"{entry.name} arrived damaged: SHA-256 {actual[:12]}..., expected {expected[:12]}...;"
            " it was deleted, fetch it again"
        )
