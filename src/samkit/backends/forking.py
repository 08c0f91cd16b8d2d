"""Forked processes: threads do not survive a fork, and so neither do their pools and locks.

The child of a process that has run a network would wait forever: for threads of OpenMP, OpenVINO or
ONNX Runtime that are not there, or for a lock that one of them held. Locks and ONNX Runtime's
graphs are therefore renewed when a child begins, torch is restricted to one thread when it runs a
network, and what cannot be renewed is refused.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from typing import Protocol
from weakref import WeakSet

from samkit.errors import BackendError

SPAWN_HINT = 'start processes by the method "spawn"'


class Renewable(Protocol):
    """Something with parts that do not survive a fork."""

    def renew(self) -> None:
        """Replace these parts; called in a forked process before anything else."""
        ...


class ForkState:
    """What this process knows of being forked.

    Attributes:
        renewables: what is renewed in children of this process.
        is_new_child: whether this is a forked process in which no network has run yet.
        lost: backends that ran in the parent, and cannot run here.
    """

    def __init__(self) -> None:
        self.renewables: WeakSet[Renewable] = WeakSet()
        self.is_new_child = False
        self.lost: set[str] = set()

    def begin_child(self) -> None:
        """Renew all parts at the beginning of a forked process."""
        self.is_new_child = True
        for renewable in list(self.renewables):
            renewable.renew()


def call_in_children(function: Callable[[], None]) -> None:
    """Call a function at the beginning of each process that is forked from this one."""
    if hasattr(os, "register_at_fork"):  # Windows has no forks
        os.register_at_fork(after_in_child=function)


STATE = ForkState()
call_in_children(STATE.begin_child)


def renew_in_children(renewable: Renewable) -> None:
    """Renew an object, as long as it lives, in each process that is forked from this one."""
    STATE.renewables.add(renewable)


def enter_process() -> None:
    """Prepare a forked process for running networks with torch; call it before they run.

    The threads of torch's pool are only in the parent, so that the child has one thread.
    """
    if STATE.is_new_child:
        import torch  # seconds, and needed in children alone

        torch.set_num_threads(1)
        STATE.is_new_child = False


def check_not_lost(backend: str) -> None:
    """Check that a backend can run in this process.

    Raises:
        BackendError: it ran in the parent, whose threads it would wait for.
    """
    if backend in STATE.lost:
        raise BackendError(
            f'backend "{backend}" does not work in processes that are forked after it ran:'
            f' {SPAWN_HINT}, or use backend "torch"'
        )


def abandon(value: object) -> None:
    """Never release an object of the parent: its destructor would wait for lost threads."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(value))
