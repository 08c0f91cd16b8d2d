"""Sign-ins, changes of users, and the audit log."""

import pytest
from sqlalchemy import select

from samkit.dataengine import (
    change_user,
    close_sign_in,
    create_user,
    list_actions,
    list_users,
    note_action,
    open_sign_in,
    resume_sign_in,
    user_names,
)
from samkit.dataengine.schema import SignInRow
from samkit.errors import MissingError, RoleError, StoreError

HOUR_S = 3600.0


@pytest.fixture
def ada(store):
    return create_user(store, name="ada", role="admin")


def test_token_gives_its_user_until_signed_out(store, ada):
    token, current = open_sign_in(store, ada.id)
    assert current.user == ada
    assert resume_sign_in(store, token) == current
    assert resume_sign_in(store, token + "x") is None
    close_sign_in(store, token)
    assert resume_sign_in(store, token) is None
    close_sign_in(store, token)


def test_database_does_not_know_the_token(store, ada):
    token, _ = open_sign_in(store, ada.id)
    with store.read() as session:
        hashes = session.scalars(select(SignInRow.token_hash)).all()
    assert len(hashes) == 1
    assert token not in hashes[0]
    assert resume_sign_in(store, hashes[0]) is None


def test_each_sign_in_has_tokens_of_its_own(store, ada):
    pairs = [open_sign_in(store, ada.id) for _ in range(3)]
    assert len({token for token, _ in pairs} | {one.csrf_token for _, one in pairs}) == 6


def test_sign_in_ends_when_it_is_not_used(store, clock, ada):
    token, _ = open_sign_in(store, ada.id, idle_s=HOUR_S)
    for _ in range(5):
        clock.advance(minutes=40)
        assert resume_sign_in(store, token, idle_s=HOUR_S) is not None
    clock.advance(minutes=61)
    assert resume_sign_in(store, token, idle_s=HOUR_S) is None


def test_sessions_that_are_over_are_forgotten(store, clock, ada):
    open_sign_in(store, ada.id, idle_s=HOUR_S)
    clock.advance(hours=2)
    open_sign_in(store, ada.id, idle_s=HOUR_S)
    with store.read() as session:
        assert len(session.scalars(select(SignInRow.token_hash)).all()) == 1


@pytest.mark.parametrize("change", [{"active": False}, {"password": "correct horse"}])
def test_new_password_and_deactivation_end_sessions(change, store, ada):
    bob = create_user(store, name="bob")
    of_ada, of_bob = open_sign_in(store, ada.id)[0], open_sign_in(store, bob.id)[0]
    change_user(store, bob.id, **change)
    assert resume_sign_in(store, of_bob) is None
    assert resume_sign_in(store, of_ada) is not None


def test_new_role_counts_at_once(store, ada):
    bob = create_user(store, name="bob")
    token, _ = open_sign_in(store, bob.id)
    change_user(store, bob.id, role="reviewer")
    assert resume_sign_in(store, token).user.role == "reviewer"
    assert ada.role == "admin"


def test_only_active_users_sign_in(store, ada, refusal):
    bob = create_user(store, name="bob")
    change_user(store, bob.id, active=False)
    with refusal(RoleError, "'bob' is not active"):
        open_sign_in(store, bob.id)
    with refusal(MissingError, "there is no user 99"):
        open_sign_in(store, 99)


@pytest.mark.parametrize("change", [{"active": False}, {"role": "reviewer"}])
def test_last_admin_stays(change, store, ada, refusal):
    eve = create_user(store, name="eve", role="admin")
    change_user(store, eve.id, **change)
    with refusal(StoreError, "there must be an active admin"):
        change_user(store, ada.id, **change)
    assert list_users(store).items[0] == ada


def test_names_of_users(store, ada):
    bob = create_user(store, name="bob")
    assert user_names(store) == {ada.id: "ada", bob.id: "bob"}


def test_actions_are_listed_with_the_newest_first(store, clock, ada):
    for number in range(5):
        user_id = ada.id if number else None
        note_action(
            store, user_id=user_id, action=f"act {number}", target="t", status=200, address="::1"
        )
        clock.advance(seconds=1)
    page = list_actions(store, limit=2)
    assert [(one.action, one.user_name) for one in page.items] == [
        ("act 4", "ada"),
        ("act 3", "ada"),
    ]
    page = list_actions(store, after=page.next_after, limit=3)
    assert [one.action for one in page.items] == ["act 2", "act 1", "act 0"]
    assert page.items[-1].user_name is None
    assert page.next_after is None


def test_long_texts_of_actions_are_cut(store):
    long = "x" * 1000
    note_action(store, user_id=None, action=long, target=long, status=422, address=long)
    entry = list_actions(store).items[0]
    assert (len(entry.action), len(entry.target), len(entry.address)) == (100, 200, 100)
