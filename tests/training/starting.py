"""Starting of these tests' scripts as separate processes."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).parent


def start(script, *arguments, module=(), **environment):
    """Start a script with arguments; `module` comes before it, such as ("-m", "pdb")."""
    command = [sys.executable, "-W", "ignore", *module, SCRIPTS / script, *map(str, arguments)]
    paths = [str(SCRIPTS.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    own = {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths), **environment}
    # A group of its own, so that its children can be ended with it.
    return subprocess.Popen(command, env={**os.environ, **own}, start_new_session=True)


def start_of_two(rank, port, script, *arguments):
    """Start one of two processes of a training."""
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    return start(script, *arguments, RANK=str(rank), LOCAL_RANK=str(rank), **where)
