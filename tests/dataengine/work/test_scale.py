"""Large projects: queries use indexes, and their number is constant."""

from contextlib import contextmanager

import pytest
from sqlalchemy import event, insert, text

from samkit.dataengine import (
    Store,
    count_images,
    create_project,
    create_user,
    list_images,
    take_next,
    upcoming_images,
    work_days,
)
from samkit.dataengine.schema import AnnotationRow, EventRow, ImageRow

NUM_IMAGES = 20_000


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    folder = tmp_path_factory.mktemp("large")
    with Store.open(folder / "store.db") as store:
        project = create_project(store, name="p", root=folder).id
        user = create_user(store, name="u").id
        now = store.clock()
        common = {
            "project_id": project,
            "num_bytes": 1,
            "modified_ns": 0,
            "height": 9,
            "width": 9,
            "comment": "",
            "num_masks": 1,
            "num_annotators": 1,
            "version": 1,
            "stage": "assisted-manual",
        }
        images = [
            common
            | {
                "path": f"{i}.png",
                "sha256": f"{i:064}",
                "open": i % 100 == 99,
                "review": "none" if i % 100 == 99 else "accepted",
            }
            for i in range(NUM_IMAGES)
        ]
        mask = {
            "project_id": project,
            "user_id": user,
            "counts": "x",
            "area_px": 1,
            "x0": 0,
            "y0": 0,
            "x1": 1,
            "y1": 1,
            "stage": "assisted-manual",
            "version": 1,
            "deleted": False,
            "num_clicks": 2,
            "duration_ms": 3000,
            "created_at": now,
        }
        with store.write() as session:
            session.execute(insert(ImageRow), images)
            ids = session.scalars(text("SELECT id FROM images")).all()
            session.execute(insert(AnnotationRow), [mask | {"image_id": i} for i in ids])
            masks = session.scalars(text("SELECT id FROM annotations")).all()
            prompt = {"version": 1, "kind": "point", "data": {}, "user_id": user, "at": now}
            prompt |= {"duration_ms": 1500, "model_version_id": None}
            session.execute(
                insert(EventRow), [prompt | {"annotation_id": i} for i in masks for _ in range(2)]
            )
        yield store, project, user


@contextmanager
def statements(store):
    """What is asked of the database meanwhile, with the parameters."""
    asked = []

    def note(connection, cursor, statement, parameters, context, many):
        if statement.startswith("SELECT"):
            asked.append((statement, parameters))

    event.listen(store._engine, "before_cursor_execute", note)
    yield asked
    event.remove(store._engine, "before_cursor_execute", note)


def plans(store, asked):
    """How SQLite answers each."""
    with store.read() as session:
        connection = session.connection()
        return [
            " ".join(
                str(row[3])
                for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {one}", given)
            )
            for one, given in asked
        ]


@pytest.mark.parametrize("filters", [{}, {"review": "none"}, {"stage": "assisted-manual"}])
def test_page_is_one_query_by_index(filters, large):
    store, project, _ = large
    with statements(store) as asked:
        page = list_images(store, project, after=15_000, limit=50, **filters)
    assert len(page.items) == 50
    (plan,) = plans(store, asked)
    assert "SEARCH images USING INDEX" in plan
    assert "SCAN" not in plan
    assert "TEMP B-TREE" not in plan


def test_pages_are_the_whole_list_once(large):
    store, project, _ = large
    seen, after = [], 0
    while after is not None:
        page = list_images(store, project, after=after, limit=1000, review="none")
        seen += [one.path for one in page.items]
        after = page.next_after
    assert seen == [f"{i}.png" for i in range(99, NUM_IMAGES, 100)]


def test_queue_goes_by_index(large):
    store, project, user = large
    with statements(store) as asked:
        upcoming_images(store, project, user)
        lease = take_next(store, project, user)
    assert lease.image.path == "99.png"
    # Two questions for each kind: returned images, audits, assigned ones, honey pots, the others.
    assert len(asked) <= 16
    for plan in plans(store, asked):
        assert "SCAN" not in plan.replace("SCAN CONSTANT ROW", "")
        # The few images that a person holds are sorted by priority.
        assert "TEMP B-TREE" not in plan or "ix_images_lease_user_id" in plan


def test_statistics_read_indexes_only(large):
    store, project, _ = large
    with statements(store) as asked:
        counts = count_images(store, project)
        (day,) = work_days(store, project)
    assert (counts["accepted"].num_images, counts["none"].num_masks) == (19_800, 200)
    assert (day.num_masks, day.seconds_per_mask, day.clicks_per_mask) == (NUM_IMAGES, 3.0, 2.0)
    assert len(asked) == 4
    for plan in plans(store, asked):
        assert "USING COVERING INDEX" in plan
        assert "SCAN" not in plan


def test_limits_are_checked(large, refusal):
    from samkit.errors import StoreError

    store, project, _ = large
    for limit in (0, -1, 1001):
        with refusal(StoreError, "limit must be from 1 to 1000"):
            list_images(store, project, limit=limit)
