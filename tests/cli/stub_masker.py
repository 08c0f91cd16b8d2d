"""A stub model that makes `samkit auto` fast, and a run that is killed.

    python stub_masker.py N ARGS...

runs `samkit ARGS...` and kills itself, as `kill -9` does, right before the N-th time that a file
is moved to its place.
"""

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from samkit.types import Masks


class StubMasker:
    """Finds two rectangles and a frame, whose places depend on the image's first pixel."""

    def __init__(self):
        self.calls = []

    def generate(self, image, *, on_progress=None):
        self.calls.append(image.shape[:2])
        if on_progress is not None:
            on_progress(1, 2)
        height, width = image.shape[:2]
        start = int(image[0, 0, 0]) % 7
        arrays = np.zeros((3, height, width), bool)
        arrays[0, start : start + 9, 3:15] = True
        arrays[1, start + 2 : start + 5, 5:9] = True
        arrays[2, 1:-1, 1:-1] = True
        arrays[2, 3:-3, 3:-3] = False
        return replace(
            Masks.from_arrays(arrays, [0.91, 0.95, 0.9]),
            stability=np.array([0.96, 0.97, 0.98], np.float32),
            points_xy=np.array([[4.5, start + 1], [6, start + 3], [1, 1]]),
            crops_xyxy=np.tile([0, 0, width, height], (3, 1)),
        )

    def generate_tiled(self, source, tiling, *, on_progress=None):
        height, width = source.size_hw
        self.calls.append(("tiled", tiling.tile_px))
        masks = self.generate(source.read((0, 0, width, height)))
        self.calls.pop()
        return masks


def run_and_die(moment, args):
    from samkit.batch import MaskGenerator
    from samkit.cli.main import main

    MaskGenerator.masker = MaskGenerator.everything = StubMasker()
    move = Path.replace
    moves = 0

    def move_or_die(self, target):
        nonlocal moves
        moves += 1
        if moves == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        return move(self, target)

    Path.replace = move_or_die
    sys.exit(main(args))


if __name__ == "__main__":
    run_and_die(int(sys.argv[1]), sys.argv[2:])
