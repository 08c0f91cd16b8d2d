"""API tokens: whom they let in, in which role, for how long."""

from samkit.dataengine import (
    Store,
    change_user,
    create_token,
    create_user,
    limit_role,
    list_tokens,
    resume_token,
    revoke_token,
    set_num_annotators,
    submit_image,
    take_image,
)
from samkit.errors import RoleError, StoreError


def test_tokens_let_their_owner_in_until_they_end(store, clock, refusal):
    ann = create_user(store, name="ann", role="reviewer")
    secret, token = create_token(store, ann.id, name="nightly", days=2)
    assert (token.role, token.last_used_at, token.revoked) == ("reviewer", None, False)
    found = resume_token(store, secret)
    assert (found.user, found.token_id) == (ann, token.id)
    assert list_tokens(store, ann.id)[0].last_used_at == clock.now
    first = clock.now
    clock.advance(seconds=30)
    resume_token(store, secret)
    assert list_tokens(store, ann.id)[0].last_used_at == first  # to the minute: nothing is written
    assert resume_token(store, secret + "x") is None
    clock.advance(days=2)
    assert resume_token(store, secret) is None
    with refusal(StoreError, "a token is valid for 1 to 3650 days; got 0"):
        create_token(store, ann.id, name="x", days=0)
    with refusal(StoreError, "a token's name must"):
        create_token(store, ann.id, name=" ")


def test_secrets_are_not_stored(tmp_path, clock):
    where = tmp_path / "s.db"
    with Store.open(where, clock=clock) as store:
        secret, _ = create_token(store, create_user(store, name="ann").id, name="x")
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert secret.removeprefix("samkit_").encode() not in content


def test_a_token_has_at_most_its_owners_role(store, refusal):
    boss = create_user(store, name="boss", role="admin")
    eve = create_user(store, name="eve", role="admin")
    low, _ = create_token(store, eve.id, name="low", role="annotator")
    high, _ = create_token(store, eve.id, name="high")
    assert [resume_token(store, one).user.role for one in (low, high)] == ["annotator", "admin"]
    change_user(store, eve.id, role="reviewer")
    assert [resume_token(store, one).user.role for one in (low, high)] == ["annotator", "reviewer"]
    with refusal(RoleError, "a token of 'eve' can be reviewer at most"):
        create_token(store, eve.id, name="x", role="admin")
    change_user(store, eve.id, active=False)
    assert resume_token(store, high) is None
    change_user(store, eve.id, active=True)
    ann = create_user(store, name="ann")
    own = list_tokens(store, eve.id)[1]
    with refusal(RoleError, "is somebody else's"):
        revoke_token(store, own.id, user_id=ann.id)
    assert revoke_token(store, own.id, user_id=boss.id).revoked
    assert resume_token(store, high) is None
    assert resume_token(store, low) is not None


def test_within_a_lower_role_nobody_does_more(scene, refusal):
    image_id = scene.hold(scene.ann)
    submit_image(scene.store, image_id, scene.ann)
    with limit_role("annotator"):
        with refusal(RoleError, "only a reviewer may change it"):
            take_image(scene.store, image_id, scene.adm)
        with refusal(RoleError, "'adm' is annotator"):
            set_num_annotators(scene.store, image_id, 2, user_id=scene.adm)
    assert take_image(scene.store, image_id, scene.adm).is_new
