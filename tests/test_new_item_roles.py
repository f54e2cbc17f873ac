"""An item that came after the release, in every role a request gives it: no answer is a fault."""

import shutil
import time

import pytest

from api.app import create_app
from api.settings import load_settings

NEW = "came-later"


@pytest.fixture(scope="module")
def client(planted_home, planted, tmp_path_factory):
    """A server that knows a new item, with clicks and tags, one of them new."""
    home = shutil.copytree(planted_home.folder, tmp_path_factory.mktemp("roles") / "home")
    with pytest.MonkeyPatch.context() as patch:
        for switch in ("CONSOLE_ENABLED", "SIMILAR_USERS_ENABLED"):
            patch.setenv(f"NICHEGRAPH_{switch}", "true")
        client = create_app(load_settings(home)).test_client()
    user = planted.answers.users[0]
    tag = client.get("/v1/items/evergreen-1").json["tags"][0]["tag"]
    fields = {"title": "Came later", "tags": [tag, "tag-of-today"], "domains": ["domain-of-today"]}
    assert client.put(f"/v1/items/{NEW}", json=fields).status_code == 202
    clicks = [{"user": user, "item": NEW}, {"user": "came-later", "item": NEW, "session": "s"}]
    assert client.post("/v1/events", json={"events": clicks}).status_code == 202
    until = time.monotonic() + 10
    while not client.get(f"/v1/items/{NEW}/similar").json.get("items"):
        assert time.monotonic() < until
    return client


def gets(user):
    subject = f"/v1/users/{user}/recommendations"
    return [
        f"{subject}?interests=true&long_tail=0.5",
        f"{subject}?exclude={NEW}&include_seen=true&profile=neutral",
        f"{subject}/{NEW}/why",
        f"/v1/users/{NEW}/recommendations/{NEW}/why",
        f"{subject}?tag=tag-of-today",
        f"/v1/users/{user}/similar",
        f"/v1/users/{user}",
        f"/v1/segments?user={user}",
        "/v1/segments/picture",
        f"/v1/items/{NEW}",
        f"/v1/items/{NEW}/popularity",
        "/v1/items/evergreen-1/similar?n=200",
        "/v1/tags/items?name=tag-of-today",
        "/v1/tags/items?name=nothing",
        "/v1/popular?n=200",
        "/v1/latest?n=200",
        "/v1/trending?domain=domain-of-today",
        "/v1/trending/tags",
        "/v1/search?q=came",
        "/v1/search?q=tag-of-today",
        f"/v1/graph?kind=item&id={NEW}&n=50",
        f"/v1/graph?kind=user&id={user}&n=50",
        "/v1/graph?kind=tag&id=tag-of-today",
        "/v1/graph?kind=domain&id=domain-of-today",
        "/v1/map",
        f"/v1/map/items?item={NEW}&user={user}&row=0",
        "/v1/online",
    ]


def subjects(user):
    return [
        {"user": user, "n": 200},
        {"items": [NEW]},
        {"items": [NEW, "evergreen-1"], "interests": True},
        {"items": ["evergreen-1"], "exclude": [NEW]},
        {"session": "s"},
        {"user": user, "session": "s", "n": 5},
        {"tags": ["tag-of-today"]},
        {"mix": [{"kind": "item", "name": NEW}, {"kind": "user", "name": user}]},
        {"mix": [{"kind": "tag", "name": "tag-of-today"}]},
        {"similar_to": user},
        {"user": user, "profile": "neutral", "filter": {"domains": ["domain-of-today"]}},
        {"user": user, "filter": {"not": {"tags_any": ["tag-of-today"]}}},
        {"user": user, "long_tail": 1.0, "n": 50},
    ]


@pytest.mark.parametrize("at", range(len(gets(""))))
def test_each_route_answers(client, planted, at):
    answer = client.get(gets(planted.answers.users[0])[at])
    assert answer.status_code in (200, 404), answer.text  # 404: a tag of nobody


@pytest.mark.parametrize("at", range(len(subjects(""))))
def test_each_kind_of_subject_gets_a_list(client, planted, at):
    subject = subjects(planted.answers.users[0])[at]
    answer = client.post("/v1/recommendations", json={"subjects": [subject]})
    assert answer.status_code == 200, answer.text


def test_it_stands_in_the_graph_beside_the_items_like_it(client):
    def near(item):
        part = client.get(f"/v1/graph?kind=item&id={item}&n=50").json
        return [
            edge["target"].removeprefix("item:") for edge in part["edges"] if edge["kind"] == "NEAR"
        ]

    beside = near(NEW)
    assert beside and NEW in near(beside[0])
