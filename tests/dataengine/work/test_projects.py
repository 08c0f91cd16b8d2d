"""Names of projects and classes: what files of other programs can hold."""

import time
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from samkit.dataengine import (
    add_class,
    create_project,
    create_user,
    delete_project,
    export_project,
    image_place,
    move_project,
    rename_project,
    save_annotation,
    set_value_range,
    submit_image,
)
from samkit.dataengine.rows import find_locked
from samkit.dataengine.schema import ImageRow, SubmissionRow
from samkit.errors import StoreError

BAD = ["a\nb", "a\0", "tab\t", "\u2028", "\x85", "\ud800", "\ufffe", "\x1b[1m"]


def is_waited_for(session):
    """Whether another connection waits for what this one has locked; SQLite has one writer."""
    if session.get_bind().dialect.name == "sqlite":
        return True
    waiting = "SELECT 1 FROM pg_locks WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))"
    return session.execute(text(waiting)).first() is not None


@pytest.mark.parametrize(
    "act",
    [
        lambda scene, _: set_value_range(scene.store, scene.project.id, "full"),
        lambda scene, root: move_project(scene.store, scene.project.id, root),
        lambda scene, _: delete_project(scene.store, scene.project.id),
    ],
    ids=["set_value_range", "move_project", "delete_project"],
)
def test_changing_a_project_waits_for_who_works_on_its_images(act, scene, image_folder):
    """Whoever holds an image's row adds rows to its project, while the change wants the image."""
    with ThreadPoolExecutor(1) as pool:
        with scene.store.write() as session:
            find_locked(session, ImageRow, scene.images[1].id, "image")
            change = pool.submit(act, scene, image_folder)
            while not change.done() and not is_waited_for(session):
                time.sleep(0.01)
            own = {"project_id": scene.project.id, "image_id": scene.images[1].id}
            made = {
                "outcome": "annotated",
                "reason": "",
                "returned": False,
                "at": scene.store.clock(),
            }
            session.add(SubmissionRow(**own, **made, user_id=scene.ann))
            session.flush()
        change.result(60)


@pytest.mark.parametrize("name", BAD)
def test_names_on_several_lines_or_with_control_characters_are_refused(name, scene, refusal):
    store, project = scene.store, scene.project.id
    with refusal(StoreError, "a class's name must be one line of printable text"):
        add_class(store, project, name)
    with refusal(StoreError, "a project's name must be one line of printable text"):
        create_project(store, name=name, root=scene.project.root)
    with refusal(StoreError, "a project's name must be one line"):
        rename_project(store, project, name)
    with refusal(StoreError, "a user's name must be one line of printable text"):
        create_user(store, name=name)


# With a joiner of Persian and one of emoji, and a space of Japanese.
GOOD = [
    "Zelle \u00df",
    "\u0645\u06cc\u200c\u062e\u0648",
    "\u7d30\u3000\u6838",
    "\u2764\u200d\U0001f525",
    "<&>",
]


@pytest.mark.parametrize("name", GOOD)
def test_names_of_all_scripts_are_taken(name, scene):
    assert add_class(scene.store, scene.project.id, name).name == name


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(st.characters(exclude_categories=()), min_size=1, max_size=6))
def test_each_class_has_its_line_and_its_element(name, sqlite_scene, rle_of, tmp_path_factory):
    scene = sqlite_scene
    try:
        added = add_class(scene.store, scene.project.id, name)
    except StoreError:
        return
    folder = tmp_path_factory.mktemp("out")
    image_id = scene.hold(scene.adm)
    mine = {"image_id": image_id, "user_id": scene.adm, "class_id": added.id}
    save_annotation(scene.store, rle=rle_of(0, 0, 2, 2), **mine)
    submit_image(scene.store, image_id, scene.adm)
    export_project(scene.store, scene.project.id, folder, file_format="voc")
    lines = (folder / "labels.txt").read_text().splitlines()
    names = [one.text for one in ET.parse(folder / "Annotations/a.xml").iter("name")]
    assert name in lines
    assert names[-1] == name
    assert all(one in lines for one in names)


def test_place_of_an_image(scene):
    store = scene.store
    first, second, third, last = (one.id for one in scene.images)
    submit_image(store, scene.hold(scene.ann, 1), scene.ann)
    place = image_place(store, second)
    assert (place.number, place.num_images, place.num_finished) == (2, 4, 1)
    assert (place.previous_id, place.next_id) == (first, third)
    assert (image_place(store, first).previous_id, image_place(store, last).next_id) == (None, None)
