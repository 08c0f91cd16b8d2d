"""Backups, the cache of embeddings, users and jobs."""

import pytest

from samkit.dataengine import (
    Store,
    add_job,
    backup_store,
    change_user,
    check_password,
    create_user,
    finish_job,
    get_job,
    list_users,
    report_progress,
    restore_store,
    save_annotation,
    take_job,
    take_next,
)
from samkit.dataengine.schema import UserRow
from samkit.errors import ConflictError, RoleError, StoreError

# --- Backups ---


def test_backup_while_others_write_is_restored_whole(sqlite_scene, tmp_path, rle_of):
    scene = sqlite_scene
    image_id = scene.hold(scene.ann)
    save_annotation(scene.store, image_id=image_id, user_id=scene.ann, rle=rle_of(0, 0, 2, 2))
    backup_store(scene.store, tmp_path / "b.db")
    save_annotation(scene.store, image_id=image_id, user_id=scene.ann, rle=rle_of(0, 0, 3, 3))
    restored = restore_store(tmp_path / "b.db", tmp_path / "new.db")
    assert not list(tmp_path.glob("b.db-*")) + list(tmp_path.glob(".samkit*"))
    from samkit.dataengine import list_annotations

    with Store.open(restored) as store:
        assert [one.area_px for one in list_annotations(store, image_id)] == [4]


def test_damaged_backup_is_refused_and_nothing_is_made(sqlite_scene, tmp_path, refusal):
    path = backup_store(sqlite_scene.store, tmp_path / "b.db")
    data = bytearray(path.read_bytes())
    for start in range(4096, len(data), 4096):
        data[start : start + 200] = b"\xff" * 200
    path.write_bytes(data)
    with refusal(StoreError, "is damaged"):
        restore_store(path, tmp_path / "new.db")
    assert not (tmp_path / "new.db").exists()


def test_backup_replaces_no_store(sqlite_scene, tmp_path, refusal):
    path = backup_store(sqlite_scene.store, tmp_path / "b.db")
    with refusal(StoreError, "move it away"):
        restore_store(path, tmp_path / "store.db")
    with refusal(StoreError, "no such file"):
        restore_store(tmp_path / "none.db", tmp_path / "new.db")


# --- Users ---


def test_password_opens_for_its_user_only(store):
    ada = create_user(store, name="ada", role="reviewer", password="correct horse")
    create_user(store, name="bob")
    assert check_password(store, name="ada", password="correct horse") == ada
    for name, password in (
        ("ada", "wrong horse"),
        ("eve", "correct horse"),
        ("bob", ""),
        ("ada", "x" * 2000),
    ):
        assert check_password(store, name=name, password=password) is None
    with store.read() as session:
        kept = session.get(UserRow, ada.id).password_hash
    assert kept.startswith("$argon2id$")
    assert "horse" not in kept
    change_user(store, ada.id, active=False)
    assert check_password(store, name="ada", password="correct horse") is None


def test_users_are_checked(store, refusal):
    create_user(store, name="ada")
    with refusal(StoreError, "there is a user 'ada' already"):
        create_user(store, name="ada")
    with refusal(StoreError, "a role must be one of annotator, reviewer, admin"):
        create_user(store, name="eve", role="god")
    with refusal(StoreError, "a password must have 8 to 1000 characters; got 3"):
        create_user(store, name="eve", password="abc")
    assert [one.name for one in list_users(store).items] == ["ada"]


def test_user_who_is_not_active_cannot_act(scene, refusal):
    change_user(scene.store, scene.ann, active=False)
    with refusal(RoleError, "user 'ann' is not active"):
        take_next(scene.store, scene.project.id, scene.ann)


# --- Jobs ---


def test_job_of_a_dead_worker_goes_to_another(scene, clock):
    store = scene.store
    job = add_job(store, scene.project.id, "auto", {"grid": 32})
    first = take_job(store, lease_s=10)
    assert (first.id, first.data, first.attempts) == (job.id, {"grid": 32}, 1)
    assert take_job(store) is None
    clock.advance(seconds=9)
    report_progress(store, first, 0.5, lease_s=10)
    clock.advance(seconds=9)
    assert take_job(store) is None
    clock.advance(seconds=1)
    second = take_job(store)
    assert (second.id, second.attempts, second.progress) == (job.id, 2, 0.5)
    with pytest.raises(ConflictError, match="no longer this worker's"):
        finish_job(store, first)
    finish_job(store, second)
    assert (get_job(store, job.id).state, get_job(store, job.id).progress) == ("done", 1.0)


def test_failed_job_keeps_its_error(scene):
    add_job(scene.store, scene.project.id, "auto", {})
    job = take_job(scene.store)
    finish_job(scene.store, job, error="no image")
    failed = get_job(scene.store, job.id)
    assert (failed.state, failed.error) == ("failed", "no image")
