"""The room's public names: sorted, complete, quick to import, independent of the command line."""

import subprocess
import sys

import samkit.batch


def test_names_are_sorted_and_there():
    names = samkit.batch.__all__
    constants = [name for name in names if name.isupper()]
    types = [name for name in names if name[0].isupper() and not name.isupper()]
    functions = [name for name in names if name[0].islower()]
    assert names == [*sorted(constants), *sorted(types), *sorted(functions)]
    assert all(hasattr(samkit.batch, name) for name in names)


def test_nothing_slow_is_imported():
    """The command line imports it for every command, also for --help."""
    slow = "{'torch', 'click', 'rich', 'sqlalchemy', 'cv2', 'transformers'} & set(sys.modules)"
    code = f"import sys, samkit.batch; print(sorted({slow}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
