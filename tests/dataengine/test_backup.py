"""Backups of a store, and restoring them."""

from samkit.dataengine import Store, backup_store, list_annotations, restore_store, save_annotation
from samkit.errors import StoreError


def test_backup_while_others_write_is_restored_whole(sqlite_scene, tmp_path, rle_of):
    scene = sqlite_scene
    image_id = scene.hold(scene.ann)
    save_annotation(scene.store, image_id=image_id, user_id=scene.ann, rle=rle_of(0, 0, 2, 2))
    backup_store(scene.store, tmp_path / "b.db")
    save_annotation(scene.store, image_id=image_id, user_id=scene.ann, rle=rle_of(0, 0, 3, 3))
    restored = restore_store(tmp_path / "b.db", tmp_path / "new.db")
    assert not list(tmp_path.glob("b.db-*")) + list(tmp_path.glob(".samkit*"))
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
