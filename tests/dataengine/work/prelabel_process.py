"""Process that pre-labels a project, and kills itself right before a state of a mask is stored.

    python prelabel_process.py STORE PROJECT_ID USER_ID N

is killed, as by `kill -9`, before the N-th state, counted from 1.
"""

import os
import signal
import sys

import numpy as np

from samkit.batch import prelabel_images
from samkit.dataengine import Store
from samkit.dataengine.work import annotations
from samkit.types import Masks


def boxes_of(image):
    """Two masks, whose places depend on the image's first pixel."""
    arrays = np.zeros((2, *image.shape[:2]), bool)
    start = int(image[0, 0, 0]) % 7
    arrays[0, start : start + 3, 2:6] = True
    arrays[1, start : start + 2, 8:14] = True
    return Masks.from_arrays(arrays, [0.9, 0.8])


def main(where, project_id, user_id, moment):
    record_revision, states = annotations.record_revision, 0

    def note_or_die(*args, **kwargs):
        nonlocal states
        states += 1
        if states == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        record_revision(*args, **kwargs)

    annotations.record_revision = note_or_die
    with Store.open(where) as store:
        prelabel_images(store, project_id, boxes_of, user_id=user_id)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
