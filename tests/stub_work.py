"""Work for tests of executors, which other processes import."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from samkit.batch import Finished
from samkit.errors import ImageError, OutputError, SamkitError


class UnreadableError(Exception):
    """Is pickled, but cannot be read again."""

    def __init__(self, one, other):
        super().__init__(one)


@dataclass(frozen=True)
class Generate:
    """Halves even numbers; odd ones fail.

    Attributes:
        lethal: numbers that kill their process, as by `kill -9`, while there are more files below
            `folder` than attempts of theirs.
        folder: gets a file for each process, and for each number that was lethal.
        seconds: how long a number takes.
    """

    folder: Path
    lethal: tuple[int, ...] = ()
    deaths: int = 1
    seconds: float = 0

    def __call__(self, number):
        (self.folder / f"process{os.getpid()}").touch()
        if number in self.lethal:
            attempt = len(list(self.folder.glob(f"death{number}_*")))
            if attempt < self.deaths:
                (self.folder / f"death{number}_{attempt}").touch()
                os.kill(os.getpid(), signal.SIGKILL)
        if number == 99:
            raise OutputError("the disk is full")
        if number == 101:
            raise UnreadableError("a mistake", "of ours")
        if number % 2:
            raise ImageError(f"{number} is odd")
        time.sleep(self.seconds)
        return number // 2, os.environ["OMP_NUM_THREADS"]


@dataclass
class Work:
    """Counts what was committed; negative numbers are somebody else's, 0 is done already."""

    generate: Generate

    def __post_init__(self):
        self.committed = []
        self.pid = os.getpid()

    def claim(self, item):
        if item == 0:
            return Finished("nothing")
        return None if item < 0 else item

    def commit(self, claim, output):
        assert os.getpid() == self.pid
        self.committed.append(claim)
        return output

    def is_fault(self, error: SamkitError) -> bool:
        return isinstance(error, ImageError)


class Unloadable:
    """A generator that no process can load."""

    def __reduce__(self):
        return _refuse, ()


def _refuse():
    raise SamkitError("this model is damaged")


class Fatal:
    """A generator that kills each process that loads it."""

    def __reduce__(self):
        return _die, ()


def _die():
    os.kill(os.getpid(), signal.SIGKILL)
