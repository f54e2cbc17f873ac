"""Looking around: the graph node by node, the map, the picture of segments, rules tried."""

import json

import numpy as np
import pytest

from api.app import create_app
from api.settings import load_settings
from recommender.serving.map_layout import layout

FAR_AWAY = {"X-Forwarded-For": "203.0.113.9"}


@pytest.fixture(scope="module")
def client(used_home):
    return create_app(load_settings(used_home.folder)).test_client()


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    return create_app(load_settings(tmp_path_factory.mktemp("empty"))).test_client()


def test_an_item_has_its_tags_its_domain_and_its_nearest_items_around_it(client, recommender):
    release = recommender.release
    row = int(np.argmax(release.popularity))
    name = release.items.id(row)
    answer = client.get(f"/v1/graph?kind=item&id={name}&n=5").json
    kinds = [node["kind"] for node in answer["nodes"]]
    assert answer["nodes"][0]["id"] == name
    near = [edge for edge in answer["edges"] if edge["kind"] == "NEAR"]
    first = release.table.neighbours[row]
    expected = [release.items.id(int(r)) for r in first[first != row][:5]]
    assert [edge["target"].partition(":")[2] for edge in near] == expected
    carried = {edge["target"] for edge in answer["edges"] if edge["kind"] == "HAS_TAG"}
    given = release.item_tags.of(row)[release.tags_given[release.item_tags.span(row)]]
    assert len(carried) == min(len(given), 8) and kinds.count("domain") >= 1
    keys = {node["key"] for node in answer["nodes"]}
    assert all({edge["source"], edge["target"]} <= keys for edge in answer["edges"])


def test_a_tag_and_a_domain_have_their_items_around_them(client, planted):
    niche = planted.answers.niches[0]
    for kind in ("tag", "domain"):
        answer = client.get("/v1/graph", query_string={"kind": kind, "id": niche, "n": 4}).json
        assert len(answer["edges"]) == 4
        assert {node["kind"] for node in answer["nodes"][1:]} == {"item"}


def test_a_user_is_shown_to_this_machine_only(client, recommender):
    answer = client.get("/v1/graph?kind=user&id=reader-1&n=3")
    release = recommender.release
    own = release.items.ids(release.histories.of(release.users.row("reader-1")))
    shown = {node["id"] for node in answer.json["nodes"][1:]}
    assert len(shown) == 3 and shown <= set(own)
    assert client.get("/v1/graph?kind=user&id=reader-1", headers=FAR_AWAY).status_code == 403
    assert client.get("/v1/map/items?user=reader-1", headers=FAR_AWAY).status_code == 403
    assert client.get("/v1/segments/picture", headers=FAR_AWAY).json["users"] == {}


@pytest.mark.parametrize("kind", ["item", "tag", "domain", "user"])
def test_what_nobody_knows_is_a_404_that_names_it(client, kind):
    response = client.get(f"/v1/graph?kind={kind}&id=nobody%20knows")
    assert response.status_code == 404 and "nobody knows" in response.json["detail"]


def test_the_points_of_the_map_are_the_items(client, recommender):
    release = recommender.release
    about = client.get("/v1/map").json
    count = about["items"]
    assert count == len(release.items)
    data = client.get(f"/v1/map/points?release={about['release']}").data
    assert len(data) == 11 * count
    x, y = np.frombuffer(data, "<f4", 2 * count).reshape(2, count)
    hidden = recommender.overlay.hidden
    assert np.array_equal(np.isnan(x), hidden)
    assert np.abs(x[~hidden]).max() <= 1 and np.abs(y).max() <= 1
    domains = np.frombuffer(data, "<u2", count, offset=8 * count)
    rarity = np.frombuffer(data, np.uint8, count, offset=10 * count)
    for region in about["regions"]:
        assert region["items"] == int((domains == region["domain"]).sum())
        assert region["name"] == release.domains.id(region["domain"])
        own = domains == region["domain"]  # it is named where one of its items lies
        assert (abs(x[own] - region["x"]) + abs(y[own] - region["y"])).min() < 2e-4
    assert rarity[np.argmax(release.popularity)] == rarity.min()
    assert client.get("/v1/map/points?release=another").status_code == 404


def test_rows_of_the_map_are_named_and_a_users_items_found(client, recommender):
    release = recommender.release
    items = client.get("/v1/map/items?row=3&row=0&row=999999999").json["items"]
    assert [(item["row"], item["id"]) for item in items] == [
        (row, release.items.id(row)) for row in (3, 0)
    ]
    mine = client.get("/v1/map/items?user=reader-1").json["items"]
    assert {item["row"] for item in mine} == set(
        release.histories.of(release.users.row("reader-1")).tolist()
    )


def test_two_planted_groups_lie_apart_on_the_map():
    """Twenty items in two groups that are neighbours only of each other, vectors all alike."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(20, 4)).astype(np.float32)
    group = np.arange(20) % 2
    neighbours = np.array(
        [[other for other in range(20) if other != row and group[other] == group[row]][:5]
         for row in range(20)], np.int32,
    )  # fmt: skip
    places = layout(vectors, neighbours)
    centres = np.array([places[group == which].mean(axis=0) for which in (0, 1)])
    within = max(np.linalg.norm(places[group == which] - centres[which], axis=1).mean()
                 for which in (0, 1))  # fmt: skip
    assert np.linalg.norm(centres[0] - centres[1]) > 2 * within
    assert np.array_equal(places, layout(vectors, neighbours))


def test_items_that_came_since_the_refresh_are_on_the_map_too():
    """Ten items, of which the table knows six, one of whose neighbours is no item at all."""
    vectors = np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32)
    neighbours = np.array([[1, 2], [0, 99], [0, 1], [4, 5], [3, -1], [3, 4]], np.int32)
    places = layout(vectors, neighbours)
    assert places.shape == (10, 2) and np.isfinite(places).all()


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_a_map_of_hardly_anything_is_a_map(count):
    places = layout(np.zeros((count, 3), np.float32), np.full((count, 2), -1, np.int32))
    assert places.shape == (count, 2) and np.isfinite(places).all()


def test_popularity_is_told_for_many_people_only(client, recommender):
    release = recommender.release
    few = int(np.argmin(np.diff(release.item_users.indptr)))
    assert client.get(f"/v1/items/{release.items.id(few)}/popularity").json["spans"] == []
    assert client.get("/v1/items/nothing/popularity").status_code == 404


def test_rules_are_tried_and_errors_name_the_place(client):
    def ask(text):
        body = json.dumps({"rules": text, "users": 20})
        return client.post("/v1/rules/check", data=body, content_type="application/json")

    rows = ask('[[rule]]\nname = "a"\ndo = "limit"\nby = "domain"\nmost = 1\n').json["rows"]
    assert [row["rule"] for row in rows] == ["a", "all together"]
    assert rows[0]["changed"] > 0
    for wrong in ("[[rule]\n", '[[rule]]\nname = "a"\ndo = "dance"\n'):
        response = ask(wrong)
        assert response.status_code == 400 and response.json["errors"][0]["field"] == "rules"


def test_the_questions_are_there_only_where_the_console_is_on(client):
    assert client.get("/v1/cypher/questions").status_code == 403


@pytest.mark.parametrize(
    "path", ["/v1/search?q=a", "/v1/map", "/v1/graph?kind=item&id=a", "/v1/segments/picture"]
)
def test_without_a_release_each_says_what_to_run(empty, path):
    response = empty.get(path)
    assert response.status_code == 503 and "nichegraph refresh" in response.json["detail"]
