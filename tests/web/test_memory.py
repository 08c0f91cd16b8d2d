"""Memory that was freed goes back to the system."""

import subprocess
import sys

import pytest

from samkit.web import memory

HOLES = """
import numpy as np
from pathlib import Path
from samkit.web.memory import give_back_freed

def resident_mb():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

before = resident_mb()
blocks = [np.ones(100_000, np.uint8) for _ in range(2000)]  # 191 MB
blocks = blocks[::20]
holes = resident_mb() - before
give_back_freed()
print(holes, resident_mb() - before)
"""


@pytest.mark.skipif(memory._trim is None, reason="only glibc keeps what was freed")
def test_holes_between_what_is_in_use_are_given_back():
    done = subprocess.run([sys.executable, "-c", HOLES], capture_output=True, text=True, check=True)
    holes_mb, left_mb = map(float, done.stdout.split())
    assert holes_mb > 150
    assert left_mb < 40  # 10 are in use
