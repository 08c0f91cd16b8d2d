"""Process that halves numbers in a pool of two processes, each in a moment.

python pool_owner.py FOLDER COUNT
"""

import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from samkit.batch import ProcessPool
from stub_work import Generate, Work

if __name__ == "__main__":
    # Shells start processes in the background without it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    folder, count = Path(sys.argv[1]), int(sys.argv[2])
    with ProcessPool(2, threads_per_worker=1) as pool:
        work = Work(Generate(folder, seconds=0.2))
        for _ in pool.run(work, [2 * number for number in range(1, count + 1)]):
            pass
