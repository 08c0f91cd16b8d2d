"""Users: passwords, roles, and those who are deactivated."""

from samkit.dataengine import change_user, check_password, create_user, list_users, take_next
from samkit.dataengine.people import users
from samkit.dataengine.schema import UserRow
from samkit.errors import RoleError, StoreError


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
        stored = session.get(UserRow, ada.id).password_hash
    assert stored.startswith("$argon2id$")
    assert "horse" not in stored
    change_user(store, ada.id, active=False)
    assert check_password(store, name="ada", password="correct horse") is None


def test_passwords_are_hashed_at_the_cost_of_rfc_9106(sqlite_store, quick_stores, monkeypatch):
    monkeypatch.setattr(users, "HASHER", quick_stores.hasher)
    ada = create_user(sqlite_store, name="ada", password="correct horse")
    assert check_password(sqlite_store, name="ada", password="correct horse") == ada
    with sqlite_store.read() as session:
        stored = session.get(UserRow, ada.id).password_hash
    assert stored.startswith("$argon2id$v=19$m=65536,t=3,p=4$")  # its second recommended option


def test_users_are_checked(store, refusal):
    create_user(store, name="ada")
    with refusal(StoreError, "there is a user 'ada' already"):
        create_user(store, name="ada")
    for alike in ("Ada", "ada ", "\N{FULLWIDTH LATIN SMALL LETTER A}da"):
        with refusal(StoreError, "there is a user 'ada' already"):
            create_user(store, name=alike)
    with refusal(StoreError, "a role must be one of annotator, reviewer, admin"):
        create_user(store, name="eve", role="god")
    with refusal(StoreError, "a password must have 8 to 1000 characters; got 3"):
        create_user(store, name="eve", password="abc")
    assert [one.name for one in list_users(store).items] == ["ada"]


def test_user_who_is_not_active_cannot_act(scene, refusal):
    change_user(scene.store, scene.ann, active=False)
    with refusal(RoleError, "user 'ann' is not active"):
        take_next(scene.store, scene.project.id, scene.ann)
