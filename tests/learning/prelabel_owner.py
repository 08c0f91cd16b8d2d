"""Process that pre-labels a project with two workers, one square on each image.

python prelabel_owner.py STORE PROJECT_ID USER_ID
"""

import sys
import time
from dataclasses import dataclass

import numpy as np

from samkit.batch import ProcessPool, prelabel_images
from samkit.dataengine import Store
from samkit.types import Masks

SECONDS = 0.5


@dataclass(frozen=True)
class Square:
    """Finds a square in the upper left corner."""

    def __call__(self, image):
        time.sleep(SECONDS)
        mask = np.zeros((1, *image.shape[:2]), bool)
        mask[0, :10, :10] = True
        return Masks.from_arrays(mask, [0.9])


if __name__ == "__main__":
    where, project_id, user_id = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    with Store.open(where) as store, ProcessPool(2, threads_per_worker=1) as pool:
        # --again: one image may be in work when three runs are killed.
        report = prelabel_images(
            store, project_id, Square(), user_id=user_id, executor=pool, again=True
        )
    sys.exit("\n".join(report.faults) or 0)
