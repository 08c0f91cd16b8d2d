"""Conversion of errors of memory, shared memory and disk space to one-line hints."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from samkit.errors import OutputError, TrainingError
from samkit.files import FULL_DISK, reason

# Parts of torch's messages; it has no exception types for these.
NO_CPU_MEMORY = re.compile(r"can't allocate memory|not enough memory")
WORKER = "DataLoader worker"
NO_SHARED_MEMORY = re.compile(r"[Bb]us error|shared memory|/torch_\d+|No space left")


@contextmanager
def oom_hints() -> Iterator[None]:
    """Convert errors of memory and disk within this context to samkit's, with a hint.

    Raises:
        TrainingError: memory is too small for a step or for the data workers.
        OutputError: the disk is full.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        hint = _memory_hint(error)
        if hint is None:
            raise
        raise TrainingError(hint) from error
    except OSError as error:
        if error.errno not in FULL_DISK:
            raise
        where = "" if error.filename is None else f" {error.filename}"
        raise OutputError(f"cannot write{where}: {reason(error)}, then --resume") from error


def _memory_hint(error: Exception) -> str | None:
    """Say what to change for lack of memory; None for other errors."""
    text = f"{error} {error.__cause__}"  # only the cause may say how a worker was killed
    if WORKER in text:
        if NO_SHARED_MEMORY.search(text):
            return (
                "the data workers have too little shared memory: enlarge /dev/shm (docker run"
                " --shm-size=8g), or lower data.prefetch, or set data.workers=0"
            )
        if "killed by signal" in text or "exited unexpectedly" in text:
            return (
                "a data worker was killed, usually for lack of memory: lower data.workers or"
                " data.prefetch"
            )
    if isinstance(error, torch.OutOfMemoryError):
        where = "the GPU's memory"
    elif isinstance(error, MemoryError) or NO_CPU_MEMORY.search(text):
        where = "the memory"
    else:
        return None
    return (
        f"{where} is too small for this training: lower data.images_per_batch or"
        " data.max_masks_per_image, and raise run.accumulate in proportion;"
        " session.checkpoint_iterations=true and model.checkpoint_encoder=true also take less, in"
        " recipes that have them"
    )
