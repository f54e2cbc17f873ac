"""Who is like a user is told of twenty people together or more, on this machine, if at all."""

from dataclasses import replace

import numpy as np
import pytest

from api.app import create_app
from api.settings import load_settings
from graph.errors import InputError, NotFound
from recommender.overlay.overlay import Overlay
from recommender.ranking.request import Request
from recommender.serving.circles import CIRCLE, FEWEST
from recommender.serving.recommend import Recommender
from recommender.serving.similar_users import similar_users

NOW = 1_760_000_000


def test_at_least_twenty_stand_behind_everything(recommender, planted):
    """Counted again by hand over the histories of all users: nothing is told of fewer."""
    histories = recommender.release.histories.matrix
    counts = np.bincount(histories.indices, minlength=histories.shape[1])
    for user in planted.answers.users[:30]:
        result = similar_users(recommender, user, 50)
        assert FEWEST <= result["users"] <= CIRCLE
        for part in ("items", "domains", "segments"):
            shared = [entry["users"] for entry in result[part]]
            assert all(FEWEST <= count <= result["users"] for count in shared)
            assert shared == sorted(shared, reverse=True)
        for entry in result["items"]:
            assert entry["users"] <= counts[recommender.release.items.row(entry["item"])]


def test_who_opted_out_since_stands_behind_nothing(recommender, planted):
    user = planted.answers.users[0]
    circle = recommender.circles.of(user, recommender.overlay)
    out = np.sort(circle[:50])
    after = recommender.circles.of(user, replace(recommender.overlay, uncounted=out))
    assert after.tolist() == circle[50:].tolist()  # the world is so small that all were in it


def test_nobody_is_named_and_nothing_known_is_repeated(recommender, planted):
    users = set(planted.answers.users)
    user = planted.answers.users[0]
    result = similar_users(recommender, user, 50)
    histories = recommender.release.histories.matrix
    own = histories[[recommender.release.users.row(user)]].indices
    assert result["items"]
    for entry in result["items"]:
        assert recommender.release.items.row(entry["item"]) not in own
        assert not {entry["item"], entry["title"]} & users


def test_erased_users_are_not_among_them(recommender, planted):
    user, gone = planted.answers.users[0], planted.answers.users[1:]
    with pytest.raises(NotFound):
        similar_users(
            Recommender(recommender.release, Overlay.without(recommender.release, [user])), user, 5
        )
    kept = len(recommender.release.users) - 1 - len(gone)
    if kept < FEWEST:
        with pytest.raises(InputError, match="20 are needed for"):
            similar_users(
                Recommender(recommender.release, Overlay.without(recommender.release, gone)),
                user,
                5,
            )


def test_too_few_are_not_told_of(recommender, planted):
    user = planted.answers.users[0]
    others = [name for name in recommender.release.users if name != user]
    some = Recommender(
        recommender.release, Overlay.without(recommender.release, others[: len(others) - 19])
    )
    with pytest.raises(InputError, match="20 are needed for"):
        similar_users(some, user, 5)


def test_the_route_is_off_and_for_this_machine(used_home, planted):
    user = planted.answers.users[0]
    path = f"/v1/users/{user}/similar?n=3"
    off = create_app(load_settings(used_home.folder)).test_client()
    assert off.get(path).status_code == 403
    on = create_app(load_settings(used_home.folder, similar_users_enabled=True)).test_client()
    assert on.get(path).json["users"] >= FEWEST
    assert on.get(path, environ_base={"REMOTE_ADDR": "192.0.2.1"}).status_code == 403
    assert on.get(path, headers={"X-Forwarded-For": "192.0.2.1"}).status_code == 403
    assert on.get("/v1/users/nobody/similar").status_code == 404


def test_a_list_for_users_like_one_rests_on_what_twenty_share(recommender, planted):
    """The history is counted again by hand; nobody is named and nothing known is shown."""
    user, users = planted.answers.users[0], set(planted.answers.users)
    answer = recommender.recommend([Request(similar_to=user, n=50)], now=NOW)[0]
    release, circle = recommender.release, recommender.circles.of(user, recommender.overlay)
    chosen = release.histories.matrix[circle]
    counts = np.bincount(chosen.indices, minlength=len(release.items))
    own = release.blocked.matrix[[release.users.row(user)]].indices
    assert len(answer.items) == 50
    assert answer.served_by == "similar users"
    for entry in answer.items:
        assert release.items.row(entry.item) not in own
        for reason in entry.reasons:
            assert not users & {part.get("id") for part in reason.path}
            if reason.because is not None and "users like this one" in reason.text:
                count = counts[release.items.row(reason.because)]
                assert count >= FEWEST
                assert reason.text.startswith(f"because {count} users like this one chose")
    assert any("users like this one" in entry.reasons[0].text for entry in answer.items)


def test_a_list_for_users_like_one_depends_on_no_single_user(recommender, planted):
    """Without any one of the circle what is shared stays the same, but for counts of 20."""
    user = planted.answers.users[0]
    circle = recommender.circles.of(user, recommender.overlay)
    allowed = ~recommender.overlay.hidden
    counts = recommender.circles.shared(circle, allowed)
    fewer = recommender.circles.shared(circle[1:], allowed)
    assert ((counts - fewer <= 1) | (counts == FEWEST)).all()
    assert counts[counts > 0].min() >= FEWEST


def test_who_stands_alone_gets_what_many_chose(recommender, planted):
    user = planted.answers.users[0]
    others = [name for name in recommender.release.users if name != user]
    some = Recommender(
        recommender.release, Overlay.without(recommender.release, others[: len(others) - 19])
    )
    answers = some.recommend(
        [Request(similar_to=user, n=5), Request(similar_to="nobody", n=5)], now=NOW
    )
    assert [answer.served_by for answer in answers] == ["popular", "popular"]
    assert "20 are needed for" in answers[0].notes[0]
    assert "there is no user 'nobody'" in answers[1].notes[0]
    with pytest.raises(InputError, match="or similar_to"):
        some.recommend([Request(similar_to=user, tags=("x",))], now=NOW)


def test_the_subject_is_off_and_for_this_machine(used_home, planted):
    body = {"subjects": [{"tags": ["x"]}, {"similar_to": planted.answers.users[0], "n": 3}]}
    off = create_app(load_settings(used_home.folder)).test_client()
    assert off.post("/v1/recommendations", json=body).status_code == 403
    on = create_app(load_settings(used_home.folder, similar_users_enabled=True)).test_client()
    answers = on.post("/v1/recommendations", json=body).json["answers"]
    assert answers[1]["served_by"] == "similar users"
    assert len(answers[1]["items"]) == 3
    far = {"X-Forwarded-For": "192.0.2.1"}
    assert on.post("/v1/recommendations", json=body, headers=far).status_code == 403
