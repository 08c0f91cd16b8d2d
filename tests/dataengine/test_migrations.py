"""Upgrades of stores that earlier versions of samkit have written."""

import numpy as np
import pytest
from sqlalchemy import MetaData, insert, text

from samkit.dataengine import (
    Labelling,
    Learning,
    Store,
    add_model_version,
    annotation_history,
    audited_images,
    database,
    encoder_of_version,
    get_image,
    get_labelling,
    get_members,
    learned_from,
    list_annotations,
    list_images,
    list_learned_models,
    list_projects,
    list_quality_audits,
    list_submissions,
    measure_agreement,
    read_confidence,
    read_decoder,
    save_confidence,
    set_labelling,
    set_learning,
    set_next_images,
    set_tags,
    submit_image,
    take_image,
    take_next,
    work_days,
)
from samkit.geometry import encode_rle

ANN, BOB = 1, 2
ALL, HALF, DOT = (
    encode_rle(np.array(rows, bool))["counts"]
    for rows in (
        [[1, 1, 1, 1], [1, 1, 1, 1]],
        [[1, 1, 0, 0], [1, 1, 0, 0]],
        [[0, 0, 0, 1], [0, 0, 0, 0]],
    )
)
USER = {"role": "annotator", "active": True, "created_at": 0}
IMAGE = {
    "project_id": 1,
    "sha256": "x",
    "num_bytes": 1,
    "modified_ns": 0,
    "height": 2,
    "width": 4,
    "stage": "assisted-manual",
    "comment": "",
    "version": 5,
    "returned_to": None,
}
MASK = {
    "project_id": 1,
    "image_id": 1,
    "area_px": 1,
    "x0": 0,
    "y0": 0,
    "x1": 1,
    "y1": 1,
    "num_clicks": 0,
    "duration_ms": 0,
    "created_at": 0,
    "stability": 0.5,
    "deleted": False,
}
STATE = {"change": "edit", "deleted": False, "user_id": ANN}
# An image by ann and bob, and one that was returned to ann. Of the first, ann's mask was changed by
# hand before she submitted it, bob's was deleted after both had submitted; both share an imported
# one.
ROWS = {
    "users": [USER | {"id": ANN, "name": "ann"}, USER | {"id": BOB, "name": "bob"}],
    "projects": [{"id": 1, "name": "p", "root": "/", "created_at": 0}],
    "images": [
        IMAGE
        | {"id": 1, "path": "a", "review": "accepted", "num_masks": 2}
        | {"num_annotators": 2, "open": False},
        IMAGE
        | {"id": 2, "path": "b", "sha256": "y", "review": "returned", "num_masks": 0}
        | {"num_annotators": 1, "open": True, "returned_to": ANN},
    ],
    "submissions": [
        {"id": 1, "project_id": 1, "image_id": 1, "user_id": ANN, "at": 10},
        {"id": 2, "project_id": 1, "image_id": 1, "user_id": BOB, "at": 20},
        {"id": 3, "project_id": 1, "image_id": 2, "user_id": ANN, "at": 10},
    ],
    "annotations": [
        MASK
        | {"id": 1, "user_id": ANN, "stage": "assisted-manual", "counts": HALF, "score": 0.9}
        | {"version": 2},
        MASK
        | {"id": 2, "user_id": BOB, "stage": "assisted-manual", "counts": ALL, "score": 0.8}
        | {"version": 2, "deleted": True},
        MASK
        | {"id": 3, "user_id": ANN, "stage": "imported", "counts": DOT, "score": 0.7}
        | {"version": 1},
    ],
    "revisions": [
        STATE | {"annotation_id": 1, "version": 1, "counts": ALL, "at": 5},
        STATE | {"annotation_id": 1, "version": 2, "counts": HALF, "at": 9},
        STATE | {"annotation_id": 2, "version": 1, "counts": ALL, "at": 15},
        STATE | {"annotation_id": 2, "version": 2, "counts": ALL, "at": 30, "deleted": True},
        STATE | {"annotation_id": 3, "version": 1, "counts": DOT, "at": 2},
    ],
}


@pytest.fixture
def earlier(where, monkeypatch):
    """Path or URL of a store at step 0002."""
    upgrade = database.command.upgrade
    monkeypatch.setattr(database.command, "upgrade", lambda config, _: upgrade(config, "0002"))
    with Store.open(where) as store, store.write() as session:
        tables = MetaData()
        tables.reflect(session.connection())
        for name, rows in ROWS.items():
            session.execute(insert(tables.tables[name]), rows)
    monkeypatch.undo()
    return where


def test_submissions_get_what_they_held(earlier):
    with Store.open(earlier) as store:
        first, second = list_submissions(store, 1)
        assert (first.user_id, first.outcome, first.annotation_ids) == (ANN, "annotated", (1, 3))
        assert (second.user_id, second.annotation_ids) == (BOB, (2, 3))
        (one,) = measure_agreement(store, 1)
        assert (one.ious, one.num_unmatched) == ((1.0, 0.5), (0, 0))


def test_returned_images_are_still_their_annotators(earlier, clock):
    with Store.open(earlier, clock=clock) as store:
        assert take_next(store, 1, BOB) is None
        lease = take_next(store, 1, ANN)
        assert (lease.image.id, lease.image.review) == (2, "returned")
        assert get_image(store, 1).review == "accepted"
        with store.read() as session:
            assert session.scalars(text("SELECT returned_to FROM images")).all() == [None, None]


def test_old_images_keep_the_range_they_were_seen_in(earlier):
    with Store.open(earlier) as store:
        assert [one.value_range for one in list_projects(store).items] == ["full"]
        images = list_images(store, 1).items
        assert [one.value_range for one in images] == ["full", "full"]
        # Cached embeddings are under these keys.
        assert [one.pixels_key for one in images] == [one.sha256 for one in images] == ["x", "y"]
        with store.write() as session:
            session.execute(
                text("INSERT INTO projects (id, name, root, created_at) VALUES (2,'q','',0)")
            )
        assert list_projects(store).items[-1].value_range == "auto"


def test_stores_without_audits_get_their_tables(earlier):
    with Store.open(earlier) as store:
        assert list_quality_audits(store, 1) == ()
        with store.write() as session:
            session.execute(
                text(
                    "INSERT INTO quality_audits (project_id, user_id, seed, num_untouched,"
                    " created_at) VALUES (1, 1, 7, 2, 0)"
                )
            )
            session.execute(
                text(
                    "INSERT INTO quality_audit_images (image_id, project_id, audit_id)"
                    " SELECT 1, 1, id FROM quality_audits"
                )
            )
        (audit,) = list_quality_audits(store, 1)
        assert (audit.seed, audit.num_images, audit.num_untouched) == (7, 1, 2)
        (image,) = audited_images(store, audit.id)
        assert (image.image.path, image.automatic, sorted(image.corrected)) == ("a", {}, [1, 3])


def test_a_store_of_the_version_before_learns_and_chooses(where, monkeypatch):
    """Step 0007 had neither confidences nor chosen images, nor times of submissions."""
    upgrade = database.command.upgrade
    monkeypatch.setattr(database.command, "upgrade", lambda config, _: upgrade(config, "0007"))
    with Store.open(where) as store, store.write() as session:
        tables = MetaData()
        tables.reflect(session.connection())
        assert "confidences" not in tables.tables
        open_image = ROWS["images"][1] | {"review": "none", "returned_to": None}
        session.execute(insert(tables.tables["users"]), ROWS["users"])
        session.execute(insert(tables.tables["projects"]), ROWS["projects"])
        session.execute(insert(tables.tables["images"]), [ROWS["images"][0], open_image])
        # With numbers of the database's own, so that it knows which ones are taken.
        submissions = [
            {name: value for name, value in row.items() if name != "id"}
            for row in ROWS["submissions"][:2]
        ]
        session.execute(insert(tables.tables["submissions"]), submissions)
    monkeypatch.undo()
    with Store.open(where) as store:
        assert [one.outcome for one in list_submissions(store, 1)] == ["annotated"] * 2
        assert work_days(store, 1) == ()  # nobody knows how long they looked
        version = add_model_version(store, name="m", checksum="0" * 64, path="").id
        assert read_confidence(store, 1, version) is None
        save_confidence(
            store, 1, version, target_precision=0.5, num_finished=3, content={"bins": []}
        )
        assert read_confidence(store, 1, version).content == {"bins": []}
        set_learning(store, 1, Learning(choose_next=True))
        set_next_images(store, 1, [2])
        assert take_next(store, 1, BOB).image.id == 2
        submit_image(store, 2, BOB, duration_ms=9)
        assert [one.duration_ms for one in work_days(store, 1)] == [9]


def test_learned_models_of_the_version_before_have_the_servers_encoder(where, monkeypatch):
    """Step 0008 knew decoders only."""
    upgrade = database.command.upgrade
    monkeypatch.setattr(database.command, "upgrade", lambda config, _: upgrade(config, "0008"))
    with Store.open(where) as store, store.write() as session:
        tables = MetaData()
        tables.reflect(session.connection())
        version = {"name": "m", "checksum": "0" * 64, "path": "", "created_at": 0}
        project = {"name": "p", "root": "/", "created_at": 0}
        learned = {
            "project_id": 1,
            "model_version_id": 1,
            "parent_id": 1,
            "num_images": 1,
            "num_masks": 2,
            "num_finished": 3,
            "verdict": "promoted",
            "reason": "better",
            "figures": {},
            "created_at": 0,
        }
        decoder = {"model_version_id": 1, "content": b"decoder"}
        rows = {
            "projects": project,
            "model_versions": version,
            "learned_models": learned,
            "decoders": decoder,
        }
        for name, row in rows.items():
            session.execute(insert(tables.tables[name]), [row])
    monkeypatch.undo()
    with Store.open(where) as store:
        assert [one.learns for one in list_learned_models(store, 1)] == ["decoder"]
        assert encoder_of_version(store, 1) is None
        assert read_decoder(store, 1) == b"decoder"
        assert learned_from(store, 1) == 3
        assert learned_from(store, 1, learns="lora") == 0


def test_scores_are_of_the_masks_that_they_were_predicted_for(earlier):
    with Store.open(earlier) as store:
        found = list_annotations(store, 1, deleted=True)
        assert [(one.score, one.stability) for one in found] == [
            (None, None),
            (0.8, 0.5),
            (0.7, 0.5),
        ]
        assert [one.score for one in annotation_history(store, 1)] == [0.9, None]


def test_projects_of_before_are_for_everybody(earlier):
    with Store.open(earlier) as store:
        members = get_members(store, 1)
        assert (members.everybody, [one.name for one in members.people]) == (True, ["ann", "bob"])
        image = get_image(store, 2)
        assert (image.priority, image.batch, image.num_open_comments) == ("normal", "", 0)
        assert {one.verdict for one in list_annotations(store, 1, deleted=True)} == {None}


def test_masks_and_images_of_the_version_before_have_neither_attributes_nor_tags(earlier):
    with Store.open(earlier) as store:
        assert get_labelling(store, 1) == Labelling()
        assert {str(one.attributes) for one in list_annotations(store, 1, deleted=True)} == {"{}"}
        assert {str(one.attributes) for one in annotation_history(store, 1)} == {"{}"}
        assert [one.tags for one in list_images(store, 1).items] == [(), ()]
        set_labelling(store, 1, Labelling(tags=("night",)))
        take_image(store, 2, ANN)
        assert set_tags(store, 2, user_id=ANN, version=0, tags=["night"]).version == 1
