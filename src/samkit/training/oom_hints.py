"""Too little memory, shared memory or disk: one line that says what to do."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from samkit.errors import OutputError, TrainingError
from samkit.files import FULL_DISK, reason

# How torch names them; it has no types of its own for these.
NO_CPU_MEMORY = re.compile(r"can't allocate memory|not enough memory")
WORKER = "DataLoader worker"
NO_SHARED_MEMORY = re.compile(r"[Bb]us error|shared memory|/torch_\d+|No space left")


@contextmanager
def oom_hints() -> Iterator[None]:
    """Within a training: what lacks becomes one of our errors.

    Raises:
        TrainingError: memory is too small, for a step or for the data's workers.
        OutputError: the disk is full.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        told = _memory(error)
        if told is None:
            raise
        raise TrainingError(told) from error
    except OSError as error:
        if error.errno not in FULL_DISK:
            raise
        where = "" if error.filename is None else f" {error.filename}"
        raise OutputError(f"cannot write{where}: {reason(error)}, then --resume") from error


def _memory(error: Exception) -> str | None:
    """What to do about memory; None where that is not what lacks."""
    text = f"{error} {error.__cause__}"  # how a worker was killed may be told by the cause only
    if WORKER in text:
        if NO_SHARED_MEMORY.search(text):
            return (
                "the data's workers have too little shared memory: enlarge /dev/shm (docker run"
                " --shm-size=8g), or lower data.prefetch, or set data.workers=0"
            )
        if "killed by signal" in text or "exited unexpectedly" in text:
            return (
                "a worker of the data was killed, mostly for want of memory: lower data.workers or"
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
        " data.max_masks_per_image, and raise run.accumulate by as much; where the recipe has them,"
        " session.checkpoint_iterations=true and model.checkpoint_encoder=true take less"
    )
