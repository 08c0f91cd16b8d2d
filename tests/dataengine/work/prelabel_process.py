"""Process that pre-labels a project, and kills itself right before a state of a mask is stored.

    python prelabel_process.py STORE PROJECT_ID USER_ID N

is killed, as by `kill -9`, before the N-th state, counted from 1; 0 is not killed.
"""

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from samkit.batch import prelabel_images
from samkit.dataengine import Store
from samkit.dataengine.work import annotations
from stub_boxes import boxes_of


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
