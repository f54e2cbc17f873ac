"""Who is like a user is told of twenty people together or more, on this machine, if at all."""

import numpy as np
import pytest

from api.app import create_app
from api.settings import load_settings
from graph.errors import InputError, NotFound
from recommender.recommend import Recommender
from recommender.similar_users import CIRCLE, FEWEST, similar_users


def test_at_least_twenty_stand_behind_everything(recommender, planted):
    """Counted again by hand over the histories of all users: nothing is told of fewer."""
    histories = recommender.release.matrix("histories")
    counts = np.bincount(histories.indices, minlength=histories.shape[1])
    for user in planted.answers.users[:30]:
        found = similar_users(recommender, user, 50)
        assert FEWEST <= found["users"] <= CIRCLE
        for part in ("items", "domains", "segments"):
            shared = [one["users"] for one in found[part]]
            assert all(FEWEST <= count <= found["users"] for count in shared)
            assert shared == sorted(shared, reverse=True)
        for one in found["items"]:
            assert one["users"] <= counts[recommender.release.items.row(one["item"])]


def test_nobody_is_named_and_nothing_known_is_repeated(recommender, planted):
    users = set(planted.answers.users)
    user = planted.answers.users[0]
    found = similar_users(recommender, user, 50)
    histories = recommender.release.matrix("histories")
    own = histories[[recommender.release.users.row(user)]].indices
    assert found["items"]
    for one in found["items"]:
        assert recommender.release.items.row(one["item"]) not in own
        assert not {one["item"], one["title"]} & users


def test_erased_users_are_not_among_them(recommender, planted):
    user, gone = planted.answers.users[0], planted.answers.users[1:]
    with pytest.raises(NotFound):
        similar_users(Recommender(recommender.release, frozenset([user])), user, 5)
    kept = len(recommender.release.users) - 1 - len(gone)
    if kept < FEWEST:
        with pytest.raises(InputError, match="20 must stand behind"):
            similar_users(Recommender(recommender.release, frozenset(gone)), user, 5)


def test_too_few_are_not_told_of(recommender, planted):
    user = planted.answers.users[0]
    others = [one for one in recommender.release.users if one != user]
    some = Recommender(recommender.release, frozenset(others[: len(others) - 19]))
    with pytest.raises(InputError, match="20 must stand behind"):
        similar_users(some, user, 5)


def test_the_route_is_off_and_for_this_machine(planted_home, planted):
    user = planted.answers.users[0]
    path = f"/v1/users/{user}/similar?n=3"
    off = create_app(load_settings(planted_home.folder)).test_client()
    assert off.get(path).status_code == 403
    on = create_app(load_settings(planted_home.folder, similar_users_enabled=True)).test_client()
    assert on.get(path).json["users"] >= FEWEST
    assert on.get(path, environ_base={"REMOTE_ADDR": "192.0.2.1"}).status_code == 403
    assert on.get(path, headers={"X-Forwarded-For": "192.0.2.1"}).status_code == 403
    assert on.get("/v1/users/nobody/similar").status_code == 404
