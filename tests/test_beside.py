"""Another release answers beside the one that is served, by the same path, one at a time."""

import gc
import json
import shutil
import threading
import time

import pytest

from api.keys import KeyFile
from graph.errors import NotFound, ReleaseError
from graph.stores.embedded_store import EmbeddedStore
from recommender.learning.build import RefreshConfig
from recommender.learning.refresh import refresh
from recommender.ranking.request import Request
from recommender.releases.home import Home
from recommender.releases.publishing import activate, current, find, names
from recommender.serving.beside import Beside
from recommender.serving.live import Live
from tests.api_client import client_of
from tests.test_api_routes import problem
from tests.test_api_worker import until

NOW = 1_760_000_000


@pytest.fixture(scope="module")
def made(planted_home, tmp_path_factory):
    """A home with two releases; the second has learned from other settings, and is served."""
    home = Home(shutil.copytree(planted_home.folder, tmp_path_factory.mktemp("two") / "home"))
    store = EmbeddedStore(home.store)
    refresh(store, home, RefreshConfig(preset="fast", threads=1, seed=9), now=NOW)
    store.close()
    return home


@pytest.fixture
def two(made, tmp_path):
    """The same home, with files of its own."""
    return Home(shutil.copytree(made.folder, tmp_path / "home"))


@pytest.fixture
def beside(two):
    return Beside(Live(two), idle_seconds=3600)


def lists(recommender, users):
    answers = recommender.recommend_json([Request(user=user) for user in users], now=NOW)
    return [json.loads(answer) for answer in answers]


def test_it_answers_as_if_it_were_served(two, beside, planted):
    users = planted.answers.users[:5]
    first, second = names(two)
    with beside.recommender(first) as recommender:
        shown = lists(recommender, users)
    assert current(two) == second
    assert shown != lists(Live(two).recommender(), users)
    activate(two, first)
    assert shown == lists(Live(two).recommender(), users)


def test_what_is_hidden_stays_hidden_in_an_older_release(two, planted):
    user = planted.answers.users[0]
    with Beside(Live(two), 3600).recommender("1") as recommender:
        (before,) = lists(recommender, [user])
    gone = before["items"][0]["item"]
    two.state.write_text(json.dumps({"salt": "", "hidden": [gone], "erased": []}))
    with Beside(Live(two), 3600).recommender("1") as recommender:
        (after,) = lists(recommender, [user])
    assert gone not in [item["item"] for item in after["items"]]


def test_one_is_open_at_most_and_is_let_go_when_nobody_asks(two, beside):
    first, second = names(two)
    with beside.recommender("1"):
        assert beside.opened == first
    with beside.recommender("2"):
        assert beside.opened == second
    gc.collect()
    lives = [live for live in gc.get_objects() if type(live) is Live and live.home == two]
    assert [live.only.name for live in lives if live.only is not None] == [second]
    short = Beside(Live(two), idle_seconds=0.01)
    with short.recommender("1"):
        time.sleep(0.05)
        assert short.opened == first  # never while somebody asks
    until(lambda: short.opened is None)


def test_those_who_compare_take_turns(two, beside, monkeypatch):
    monkeypatch.setattr("recommender.serving.beside.WAIT_SECONDS", 0.01)
    outcomes = []

    def another():
        try:
            with beside.recommender("2"):
                outcomes.append("in")
        except ReleaseError as error:
            outcomes.append(str(error))

    with beside.recommender("1"):
        thread = threading.Thread(target=another)
        thread.start()
        thread.join()
    assert "somebody else is comparing" in outcomes[0]


def test_a_damaged_release_says_so_and_the_next_question_is_answered(two, beside):
    first, _ = names(two)
    manifest = two.releases / first / "manifest.json"
    kept = manifest.read_text()
    manifest.unlink()
    with pytest.raises(ReleaseError, match=first), beside.recommender(first):
        pass
    assert beside.opened is None
    manifest.write_text(kept)
    with beside.recommender(first):
        pass


def test_a_refused_candidate_answers_too_and_what_is_not_there_is_named(two, beside, planted):
    first, _ = names(two)
    aside = two.releases / "refused" / "000003-abcdefabcdef"
    shutil.copytree(two.releases / first, aside)
    with beside.recommender(aside.name) as recommender:
        assert recommender.release.name == aside.name
        (shown,) = lists(recommender, planted.answers.users[:1])
    assert shown["items"]
    for name in ("9", "../000001", "refused", ""):
        with pytest.raises(NotFound):
            find(two, name)


def test_over_http_both_answer_the_same_request(two, planted):
    user = planted.answers.users[0]
    client = client_of(two)
    body = {"subjects": [{"user": user, "n": 5}]}
    now = client.post("/v1/recommendations", json=body).json["answers"][0]
    old = client.post("/v1/releases/1/recommendations", json=body).json["answers"][0]
    first, second = names(two)
    assert (old["release"], now["release"]) == (first, second)
    assert len(old["items"]) == 5 and old["items"][0]["reasons"]
    problem(client.post("/v1/releases/9/recommendations", json=body), 404)
    problem(client.post("/v1/releases/1/recommendations", json={}), 400)


def test_a_key_needs_lists_and_releases(two, planted):
    body = {"subjects": [{"user": planted.answers.users[0]}]}
    made = {
        scopes: KeyFile(two.keys).create(scopes, now=int(time.time())).secret
        for scopes in [
            ("recommend",),
            ("explore",),
            ("explore", "recommend"),
            ("admin", "recommend"),
        ]
    }
    client = client_of(two)
    for scopes, secret in made.items():
        answer = client.post(
            "/v1/releases/1/recommendations", json=body, headers={"X-API-Key": secret}
        )
        assert answer.status_code == (200 if len(scopes) == 2 else 403), scopes
