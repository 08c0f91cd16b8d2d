"""Acknowledged changes survive kill -9."""

import random
import subprocess
import sys
from pathlib import Path

from sqlalchemy import text

from samkit.dataengine import Store, annotation_history, get_image, list_annotations, take_image

WRITER = Path(__file__).with_name("writer_process.py")


def acknowledged_until_killed(where, image_id, user_id, after_lines):
    """Versions of annotations that a process has printed before it was killed."""
    command = [sys.executable, "-W", "error", str(WRITER), str(where), str(image_id), str(user_id)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        lines = [process.stdout.readline() for _ in range(after_lines)]
        process.kill()
        lines += process.stdout.read().splitlines(keepends=True)
    return [tuple(map(int, line.split())) for line in lines if line.endswith("\n")]


def test_nothing_that_was_acknowledged_is_lost(scene):
    where = scene.store.address
    image_id = scene.hold(scene.ann)
    rng = random.Random(5)
    known = {}
    for _ in range(4):
        acknowledged = acknowledged_until_killed(where, image_id, scene.ann, rng.randint(1, 25))
        assert acknowledged
        known.update(acknowledged)  # the last version of each
    with Store.open(where) as store:
        stored = {one.id: one for one in list_annotations(store, image_id)}
        for annotation_id, version in known.items():
            assert stored[annotation_id].version >= version
        # And no action is there by half.
        for one in stored.values():
            history = annotation_history(store, one.id)
            assert [state.version for state in history] == list(range(1, one.version + 1))
            assert one.area_px == (10, 20)[one.version - 1]
        assert get_image(store, image_id).num_masks == len(stored)
        assert len(known) <= len(stored) <= len(known) + 4
        take_image(store, image_id, scene.ann)
        if store.path is not None:
            with store.read() as session:
                assert session.execute(text("PRAGMA integrity_check")).scalar() == "ok"
