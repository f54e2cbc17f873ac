"""The HTTP application, asked in one process: routes, filters, problems."""

import json
from urllib.parse import quote

import pytest

from api.app import create_app
from api.settings import load_settings


@pytest.fixture(scope="module")
def client(used_home):
    return create_app(load_settings(used_home.folder)).test_client()


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    return create_app(load_settings(tmp_path_factory.mktemp("empty"))).test_client()


def listed(response):
    assert response.status_code == 200, response.data
    return [entry["item"] for entry in response.json["items"]]


def post(client, body, **headers):
    data = body if isinstance(body, bytes | str) else json.dumps(body)
    headers.setdefault("content_type", "application/json")
    return client.post("/v1/recommendations", data=data, **headers)


def problem(response, status, field=None):
    assert response.status_code == status, response.data
    assert response.content_type == "application/problem+json"
    document = response.json
    assert document["status"] == status
    assert document["detail"]
    if field is not None:
        assert field in [error["field"] for error in document["errors"]]
    return document


def test_a_user_gets_unseen_items_with_reasons(client):
    response = client.get("/v1/users/reader-1/recommendations?n=7")
    assert len(listed(response)) == 7
    assert response.json["served_by"] == "history"
    assert all(entry["reasons"] for entry in response.json["items"])


def test_filters_hold(client, planted):
    domain = planted.answers.niches[0]
    response = client.get(f"/v1/users/reader-1/recommendations?domain={quote(domain)}&n=5")
    assert all(domain in entry["domains"] for entry in response.json["items"])
    first = listed(response)[0]
    again = client.get(
        f"/v1/users/reader-1/recommendations?domain={quote(domain)}&n=5&exclude={first}"
    )
    assert first not in listed(again)


def test_get_takes_filters_as_json_and_a_place_on_the_curve(client, planted):
    """Each answer is that of the same subject in a POST."""
    first = listed(client.get("/v1/users/reader-1/recommendations?n=3"))[0]
    domain = planted.answers.item_domains[0] if hasattr(planted.answers, "item_domains") else None
    content = {"not": {"items": [first]}, "seen": "exclude", "exclude": ["x"]}
    if domain is not None:
        content["domains"] = [domain]
    text = quote(json.dumps(content))
    for query, arguments in (
        (f"filter={text}&n=5", {"filter": content, "n": 5}),
        ("long_tail=1&n=5", {"long_tail": 1.0, "n": 5}),
        ("long_tail=0.25&n=5", {"long_tail": 0.25, "n": 5}),
    ):
        own = client.get(f"/v1/users/reader-1/recommendations?{query}")
        body = {"subjects": [{"user": "reader-1", **arguments}]}
        other = client.post("/v1/recommendations", json=body).json["answers"][0]
        assert listed(own) == [entry["item"] for entry in other["items"]]
        assert first not in listed(own) or "filter" not in arguments


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("filter=[", "filter"),
        ("filter=3", "filter"),
        ('filter={"domians":["a"]}', "filter"),
        ("long_tail=2", "long_tail"),
        ("long_tail=much", "long_tail"),
        ("long_tail=nan", "long_tail"),
    ],
)
def test_wrong_filters_and_places_are_named(client, query, field):
    document = client.get(f"/v1/users/reader-1/recommendations?{query}")
    assert document.status_code == 400
    assert document.json["errors"][0]["field"].startswith(field)


def test_reasons_can_be_left_out(client):
    response = client.get("/v1/users/reader-1/recommendations?reasons=false")
    assert not any(entry["reasons"] for entry in response.json["items"])


@pytest.mark.parametrize(
    "user",
    ["a/b", "/a", "a//b/", "läß ein", "读者", "x/recommendations", "a?b#c", "100%", "..", "a b+c"],
)
def test_any_printable_id_arrives_as_it_was_sent(client, user):
    response = client.get(f"/v1/users/{quote(user, safe='')}/recommendations?n=1")
    assert len(listed(response)) == 1
    assert repr(user) in response.json["notes"][0]


def test_similar_tag_popular_and_latest(client, planted):
    item = planted.answers.items[-1]
    assert item not in listed(client.get(f"/v1/items/{item}/similar"))
    domain = planted.answers.niches[0]
    response = client.get(f"/v1/tags/items?name={quote(domain)}&n=3")
    assert all(domain in entry["tags"] for entry in response.json["items"])
    assert len(listed(client.get("/v1/popular?n=4"))) == 4
    assert client.get("/v1/latest").json["fallback"]  # the planted items have no times


def test_a_session_of_an_unknown_user_works_at_once(client, planted):
    items = list(planted.answers.items[-2:])
    subjects = [{"user": "new", "items": items, "n": 5}, {"tags": ["popular"]}, {}]
    answers = post(client, {"subjects": subjects}).json["answers"]
    assert [answer["served_by"] for answer in answers] == ["session", "tags", "popular"]
    assert not set(items) & {answer["item"] for answer in answers[0]["items"]}


def near(client, body):
    data = body if isinstance(body, str) else json.dumps(body)
    return client.post("/v1/items/similar", data=data, content_type="application/json")


def test_what_is_near_an_item_that_nobody_knows_yet(client, planted):
    domain, item = planted.answers.niches[0], planted.answers.items[-1]
    body = {"title": "New", "tags": [domain], "domains": [domain], "related": [item], "n": 5}
    answer = near(client, body)
    assert len(listed(answer)) == 5
    assert item not in listed(answer)
    assert answer.json["served_by"] == "new item"
    assert {entry["source"] for entry in answer.json["items"]} == {"spectral"}
    assert all(entry["reasons"] for entry in answer.json["items"])
    first = listed(answer)[0]
    fewer = near(client, body | {"filter": {"not": {"items": [first]}}})
    assert listed(fewer)[:4] == listed(answer)[1:]
    only = near(client, {"domains": [domain], "n": 3, "filter": {"domains": [domain]}})
    assert all(domain in entry["domains"] for entry in only.json["items"])


def test_an_unknown_new_item_gets_what_is_popular_and_is_told(client):
    for body in ({}, {"title": "\x00 \u202e"}, {"tags": ["qwx"], "related": ["no/such"]}):
        answer = near(client, body)
        assert len(listed(answer)) == 20
        assert answer.json["served_by"] == "popular"
        assert "nothing that is known about the new item says" in answer.json["notes"][-1]
    assert "these tags are not known: 'qwx'" in answer.json["notes"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"tag": ["a"]}, "tag"),
        ({"title": 3}, "title"),
        ({"title": "x" * 2001}, "title"),
        ({"tags": "a"}, "tags"),
        ({"tags": [""]}, "tags.0"),
        ({"domains": [1]}, "domains.0"),
        ({"related": ["x"] * 1001}, "related"),
        ({"n": 0}, "n"),
        ({"n": "5"}, "n"),
        ({"filter": {"tag": []}}, "filter.tag"),
    ],
)
def test_a_wrong_field_of_a_new_item_is_named(client, body, field):
    problem(near(client, body), 400, field)


def test_a_new_item_that_is_no_json_or_too_early_is_a_problem(client, empty):
    problem(near(client, "{"), 400)
    problem(near(client, {"filter": {"seen": "only"}}), 400)
    problem(near(empty, {}), 503)


def test_releases_and_health(client, empty):
    (release,) = client.get("/v1/releases").json["releases"]
    assert release["current"]
    assert client.get("/ready").json["release"] == release["name"]
    assert client.get("/live").json == {"status": "live"}
    assert empty.get("/live").status_code == 200
    assert "nichegraph refresh" in problem(empty.get("/ready"), 503)["detail"]
    problem(empty.get("/v1/popular"), 503)
    assert empty.get("/v1/releases").json == {"releases": [], "refused": []}


def test_no_answer_names_the_folder_of_the_home_and_the_log_does(tmp_path, capsys):
    """Without a release, and where writes are refused."""
    client = create_app(load_settings(tmp_path, inbox_free_bytes=1 << 60)).test_client()
    capsys.readouterr()
    for path in ("/ready", "/v1/popular"):
        detail = problem(client.get(path), 503)["detail"]
        assert detail == "no release in the home yet; run `nichegraph refresh` first"
    body = {"user": "ann", "item": "x"}
    detail = problem(client.post("/v1/events", json=body), 503)["detail"]
    assert detail.startswith("inbox/")
    assert "free" in detail
    log = "".join(capsys.readouterr())
    assert f"no release in {tmp_path} yet" in log
    assert f"{tmp_path}/{detail}" in log


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("n=0", "n"),
        ("n=201", "n"),
        ("n=5.0", "n"),
        ("n=+5", "n"),
        ("n=", "n"),
        ("n=1&n=2", "n"),
        ("include_seen=1", "include_seen"),
        ("domain=", "domain.0"),
        ("tag=%00", "tag.0"),
        ("doman=x", "doman"),
        ("exclude=" + "x" * 513, "exclude.0"),
    ],
)
def test_a_wrong_parameter_is_named(client, query, field):
    problem(client.get(f"/v1/users/reader-1/recommendations?{query}"), 400, field)


def test_an_unknown_parameter_names_the_nearest(client):
    document = problem(client.get("/v1/popular?domian=x"), 400)
    assert "'domain'" in document["detail"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("{", "not JSON"),
        (b"\xff", "UTF-8"),
        ("[" * 100_000, "nested"),
        ('{"a": NaN}', "NaN"),
        ('{"a": 1e999}', "1e999"),
        ('{"a": ' + "9" * 5000 + "}", "beyond 64 bits"),
        ('{"subjects": [], "subjects": []}', "twice"),
        ('{"a": "\\ud800"}', "surrogate"),
    ],
)
def test_tricks_of_notation_are_refused(client, body, message):
    assert message in problem(post(client, body), 400)["detail"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "subjects"),
        ({"subjects": []}, "subjects"),
        ({"subjects": [{}] * 1001}, "subjects"),
        ({"subjects": [{"user": 1}]}, "subjects.0.user"),
        ({"subjects": [{"n": "5"}]}, "subjects.0.n"),
        ({"subjects": [{"n": True}]}, "subjects.0.n"),
        ({"subjects": [{"filter": {"tag": []}}]}, "subjects.0.filter.tag"),
        ({"subjects": [{"long_tail": 2}]}, "subjects.0.long_tail"),
        ({"subjects": [{"long_tail": "0.5"}]}, "subjects.0.long_tail"),
        ({"subjects": [{"session_share": True}]}, "subjects.0.session_share"),
    ],
)
def test_a_wrong_field_is_named(client, body, field):
    problem(post(client, body), 400, field)


def test_other_problems_are_problems_too(client):
    problem(client.get("/nope"), 404)
    problem(client.get("/v1/items/no-such-item/similar"), 404)
    problem(client.get("/v1/tags/items?name=no-such-tag"), 404)
    assert "GET" in client.post("/live").headers["Allow"]
    problem(client.post("/live"), 405)
    problem(post(client, "{}", content_type="text/plain"), 415)
    problem(post(client, b" " * 4_000_001), 413)
    problem(client.get("/v1/users/reader-1/recommendations?profile=nope"), 400)


def test_a_defect_is_a_problem_with_a_number_and_no_details(used_home, monkeypatch, capsys):
    app = create_app(load_settings(used_home.folder))
    monkeypatch.setattr("api.routes.items.now", lambda: 1 / 0)
    document = problem(app.test_client().get("/v1/popular"), 500)
    assert "ZeroDivision" not in json.dumps(document)
    assert document["detail"].rpartition(" ")[2] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8000", 200),
        ("127.0.0.1", 200),
        ("[::1]:8000", 200),
        ("ours.example", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("", 403),
    ],
)
def test_only_our_hosts_are_answered(used_home, host, status):
    settings = load_settings(used_home.folder, allowed_hosts="ours.example")
    response = create_app(settings).test_client().get("/live", headers={"Host": host})
    assert response.status_code == status


def test_the_page_of_the_api_needs_no_network(client):
    assert client.get("/openapi/openapi.json").json["openapi"].startswith("3.1")
    page = client.get("/openapi/swagger").text
    assert "https://" not in page.replace("https://github.com", "")
