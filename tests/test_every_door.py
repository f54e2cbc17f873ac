"""Every field of a request reaches the recommender from every door, or the door refuses it."""

import json
from dataclasses import fields, replace
from urllib.parse import quote

import orjson
import pytest

from api.app import create_app
from api.cli.main import run
from api.settings import load_settings
from recommender.ranking.request import Answer, Filter, NewItem, Part, Request
from recommender.serving.live import Live

NOIR = {"domains": ["noir"]}
SEEN = {"seen": "only"}

# What each field is asked for as; beside it only `user`, unless the subject is another one.
ASKED = {
    "user": {"user": "ann"},
    "items": {"items": {"b": 1.0, "a": 0.9}},
    "tags": {"tags": ("dark", "slow")},
    "sessions": {"sessions": ("s1", "s2")},
    "n": {"n": 7},
    "filter": {"filter": Filter(domains=("noir",))},
    "exclude": {"exclude": ("x", "y")},
    "include_seen": {"include_seen": True},
    "profile": {"profile": "bold"},
    "long_tail": {"long_tail": 0.25},
    "diversity": {"diversity": 0.5},
    "freshness": {"freshness": 0.75},
    "reasons": {"reasons": False},
    "source": {"source": "spectral"},
    "mix": {"user": None, "mix": (Part("user", "ann", 2.0), Part("tag", "dark", 1.0))},
    "household": {"user": None, "household": ("ann", "bob")},
    "similar_to": {"user": None, "similar_to": "ann"},
    "session_share": {"session_share": 0.4},
    "only_seen": {"only_seen": True},
    "context": {"context": {"device": "phone"}},
    "rules": {"rules": False},
    "shown": {"shown": {"x": 2}},
    "seed": {"seed": 11},
    "cursor": {"cursor": "abcd"},
    "interests": {"interests": True},
    "new_item": {
        "user": None,
        "profile": "neutral",
        "new_item": NewItem("Nocturne", ("dark",), ("noir",), ("x",)),
    },
    "similar": {"similar": True},
}
MIX = [{"kind": "user", "name": "ann", "weight": 2.0}, {"kind": "tag", "name": "dark"}]
NEW = {"title": "Nocturne", "tags": ["dark"], "domains": ["noir"], "related": ["x"]}

# How each is sent. A door that lacks a field refuses what stands in `REFUSED`.
GET = {
    "user": "",
    "sessions": "session=s1&session=s2&session=s1",
    "n": "n=7",
    "filter": f"filter={quote(json.dumps(NOIR))}",
    "exclude": "exclude=x&exclude=y",
    "include_seen": "include_seen=true",
    "profile": "profile=bold",
    "long_tail": "long_tail=0.25",
    "reasons": "reasons=false",
    "only_seen": f"filter={quote(json.dumps(SEEN))}",
    "cursor": "cursor=abcd",
    "interests": "interests=true",
}
POST = {
    "user": {},
    "items": {"items": ["a", "b"]},
    "tags": {"tags": ["dark", "slow"]},
    "sessions": {"session": ["s1", "s2"]},
    "n": {"n": 7},
    "filter": {"filter": NOIR},
    "exclude": {"exclude": ["x", "y"]},
    "include_seen": {"include_seen": True},
    "profile": {"profile": "bold"},
    "long_tail": {"long_tail": 0.25},
    "diversity": {"diversity": 0.5},
    "freshness": {"freshness": 0.75},
    "reasons": {"reasons": False},
    "mix": {"user": None, "mix": MIX},
    "household": {"user": None, "household": ["ann", "bob"]},
    "similar_to": {"user": None, "similar_to": "ann"},
    "session_share": {"session_share": 0.4},
    "only_seen": {"filter": SEEN},
    "context": {"context": {"device": "phone"}},
    "shown": {"shown": {"x": 2}},
    "seed": {"seed": 11},
    "cursor": {"cursor": "abcd"},
    "interests": {"interests": True},
    "new_item": NEW,
}
COMMAND = {
    "user": ["ann"],
    "items": ["ann", "--session", "a", "--session", "b"],
    "n": ["ann", "-n", "7"],
    "filter": ["ann", "--filter", json.dumps(NOIR)],
    "exclude": ["ann", "--exclude", "x", "--exclude", "y"],
    "include_seen": ["ann", "--include-seen"],
    "profile": ["ann", "--profile", "bold"],
    "long_tail": ["ann", "--long-tail", "0.25"],
    "similar_to": ["ann", "--alike"],
    "only_seen": ["ann", "--filter", json.dumps(SEEN)],
    "context": ["ann", "--context", "device=phone"],
    "cursor": ["ann", "--cursor", "abcd"],
    "interests": ["ann", "--interests"],
    "new_item": ["--new", "--title", "Nocturne", "--tag", "dark", "--domain", "noir",
                 "--related", "x"],
}  # fmt: skip
FIELDS = [field.name for field in fields(Request)]


class Recorder:
    """Serves nothing and keeps what it was asked for."""

    def __init__(self):
        self.requests = []

    def recommend(self, requests, *, now):
        self.requests += requests
        return [Answer((), "popular", None, "000001-x", "neutral") for _ in requests]

    def recommend_json(self, requests, *, now):
        return [orjson.dumps(a.to_json()) for a in self.recommend(requests, now=now)]


@pytest.fixture
def recorder(monkeypatch):
    recorder = Recorder()
    monkeypatch.setattr(Live, "recommender", lambda _: recorder)
    return recorder


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    home = tmp_path_factory.mktemp("doors")
    return create_app(load_settings(home, similar_users_enabled=True, cache_bytes=0)).test_client()


def expected(name):
    return replace(Request(user="ann"), **ASKED[name])


def plain(request):
    """With a filter that says nothing beside one other turned into that other."""
    inner = request.filter.all_of
    if len(inner) == 1 and replace(request.filter, all_of=()) == Filter():
        request = replace(request, filter=inner[0])
    return request


def test_every_field_is_asked_for_otherwise_than_by_default():
    assert list(ASKED) == FIELDS
    for name in FIELDS:
        assert getattr(expected(name), name) != getattr(Request(), name)


@pytest.mark.parametrize("name", GET)
def test_a_get_hands_on(client, recorder, name):
    answer = client.get(f"/v1/users/ann/recommendations?{GET[name]}")
    assert answer.status_code == 200, answer.data
    assert [plain(request) for request in recorder.requests] == [expected(name)]


@pytest.mark.parametrize("name", POST)
def test_a_post_hands_on(client, recorder, name):
    if name == "new_item":
        answer = client.post("/v1/items/similar", json=POST[name])
    else:
        subject = {"user": "ann"} | POST[name]
        answer = client.post("/v1/recommendations", json={"subjects": [subject]})
    assert answer.status_code == 200, answer.data
    assert [plain(request) for request in recorder.requests] == [expected(name)]


@pytest.mark.parametrize("name", COMMAND)
def test_the_command_line_hands_on(tmp_path, recorder, capsys, name):
    command = "similar" if name == "new_item" else "recommend"
    assert run(["--home", str(tmp_path), command, *COMMAND[name]]) == 0, capsys.readouterr().err
    assert [plain(request) for request in recorder.requests] == [expected(name)]


@pytest.mark.parametrize("name", [name for name in FIELDS if name not in GET])
def test_a_get_refuses_what_it_does_not_hand_on(client, recorder, name):
    answer = client.get(f"/v1/users/ann/recommendations?{name}=1")
    assert (answer.status_code, recorder.requests) == (400, [])


@pytest.mark.parametrize("name", [name for name in FIELDS if name not in POST])
def test_a_post_refuses_what_it_does_not_hand_on(client, recorder, name):
    subject = {"user": "ann", name: 1}
    answer = client.post("/v1/recommendations", json={"subjects": [subject]})
    assert (answer.status_code, recorder.requests) == (400, [])


@pytest.mark.parametrize("name", [name for name in FIELDS if name not in COMMAND])
def test_the_command_line_refuses_what_it_does_not_hand_on(tmp_path, recorder, capsys, name):
    words = ["recommend", "ann", f"--{name.replace('_', '-')}=1"]
    assert run(["--home", str(tmp_path), *words]) == 2
    assert recorder.requests == []
    assert "no such option" in capsys.readouterr().err.lower()
