"""Lines of a share of the requests; of an unexpected error its type, not its words."""

import json

import pytest

from api import access
from api.app import create_app
from api.observability import set_format
from api.settings import load_settings
from recommender.releases.home import Home
from tests.api_client import client_of


@pytest.fixture(autouse=True)
def as_json():
    set_format("json")
    yield
    set_format("text")


def lines(capsys, event):
    every = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    return [line for line in every if line["event"] == event]


@pytest.mark.parametrize(("share", "fewest", "most"), [(0, 0, 0), (0.1, 40, 160), (1, 1000, 1000)])
def test_the_share_of_requests_that_is_asked_for_has_a_line(tmp_path, capsys, share, fewest, most):
    """Of 1,000 at a tenth the count is 100 give or take 9.5; six times that is allowed."""
    client = client_of(Home(tmp_path).create(), request_log=share)
    for _ in range(1000):
        client.get("/live")
    assert fewest <= len(lines(capsys, "answered")) <= most


def test_without_a_release_there_is_a_line_without_one(tmp_path, capsys):
    client = client_of(Home(tmp_path).create(), request_log=1)
    assert client.get("/v1/popular").status_code == 503
    (line,) = lines(capsys, "answered")
    assert (line["route"], line["status"]) == ("/v1/popular", 503)
    assert "release" not in line and "key" not in line


def test_kept_answers_and_lists_for_everybody_have_their_ids(home, capsys):
    client = client_of(home, request_log=1)
    paths = ["/v1/users/reader-1/recommendations", "/v1/users/reader-1/recommendations"]
    ids = [client.get(path).json["request_id"] for path in [*paths, "/v1/popular"]]
    answered = lines(capsys, "answered")
    assert [line["request_id"] for line in answered] == ids
    assert ids[0] != ids[1]  # the same kept list, shown twice
    assert {line["release"] for line in answered} == {client.get("/ready").json["release"]}


def test_of_an_unexpected_error_the_log_has_its_type_and_lines_and_the_answer_a_number(
    tmp_path, capsys
):
    app = create_app(load_settings(Home(tmp_path).create().folder))

    def broken(who):
        raise ValueError(f"nothing is known of {who}")

    app.add_url_rule("/broken/<who>", view_func=broken)
    access.OPEN.add(("GET", "/broken/<who>"))
    try:
        answer = app.test_client().get("/broken/a-certain-person")
    finally:
        access.OPEN.discard(("GET", "/broken/<who>"))
    assert answer.status_code == 500
    assert "nothing is known" not in answer.text and "Traceback" not in answer.text
    output = capsys.readouterr().err
    assert "a-certain-person" not in output
    (failure,) = [
        line for line in map(json.loads, output.splitlines()) if line["event"] == "failure"
    ]
    assert failure["error"] == "ValueError"
    assert failure["number"] in answer.json["detail"]
    assert " broken" in failure["where"].partition(" < ")[0]
