"""Requests made to hurt: each is answered or refused, soon, and never by a 500."""

import copy
import json
import subprocess
import sys
from urllib.parse import quote

import pytest

from api.app import create_app
from api.errors import Problem
from api.long_requests import PIECE, LongRequests
from api.settings import Settings, load_settings
from graph.errors import InputError
from recommender.ranking.conditions import MOST_NAMES
from recommender.ranking.filter_language import parse_filter
from recommender.ranking.request import Filter, Request

BEYOND = (2**63, -(2**63) - 1, 10**30, 10**400)
CPU_SECONDS = 60  # a quadratic search of the bodies below takes many minutes


@pytest.fixture(scope="module")
def client(used_home):
    return create_app(load_settings(used_home.folder)).test_client()


def post(client, body, path="/v1/recommendations", **headers):
    data = body if isinstance(body, bytes) else json.dumps(body)
    return client.post(path, data=data, content_type="application/json", headers=headers)


WITH_NUMBERS = {
    "n": 5,
    "session_share": 0.5,
    "long_tail": 0.5,
    "seed": 1,
    "shown": {"i": 1},
    "mix": [{"kind": "tag", "name": "x", "weight": 1}],
    "filter": {
        "newer_than_days": 1,
        "older_than_days": 1,
        "created_after": 1,
        "created_before": 1,
        "attributes": {"year": {"from": 1, "to": 2, "in": [1]}},
    },
}


def numbers(value, path=()):
    """The path of every number in a document."""
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from numbers(part, (*path, key))
    elif isinstance(value, int | float):
        yield path


@pytest.mark.parametrize(
    "path", list(numbers(WITH_NUMBERS)), ids=lambda path: ".".join(map(str, path))
)
def test_numbers_beyond_64_bits_are_a_400_everywhere(client, path):
    for number in BEYOND:
        subject = copy.deepcopy(WITH_NUMBERS)
        part = subject
        for key in path[:-1]:
            part = part[key]
        part[path[-1]] = number
        response = post(client, {"subjects": [subject]})
        assert response.status_code == 400, response.data
        assert "64 bits" in response.json["detail"]


@pytest.mark.parametrize("number", ["9" * 19, "-" + "9" * 400, "9" * 5000, "1e999", "nan", "-inf"])
@pytest.mark.parametrize("name", ["n", "long_tail"])
def test_numbers_out_of_range_in_a_query_are_a_400(client, name, number):
    response = client.get(f"/v1/users/reader-1/recommendations?{name}={number}")
    assert response.status_code == 400


def test_a_filter_in_a_query_is_read_as_strictly(client):
    text = quote(json.dumps({"attributes": {"year": {"from": 10**400}}}))
    response = client.get(f"/v1/users/reader-1/recommendations?filter={text}")
    assert response.status_code == 400
    assert "64 bits" in response.json["detail"]


def test_a_filter_built_by_a_caller_with_a_huge_integer_is_an_input_error():
    """Rules and jobs do not come through JSON."""
    with pytest.raises(InputError, match="must be a number"):
        parse_filter({"attributes": {"year": {"from": 10**400}}})


def test_bodies_made_to_be_slow_are_read_in_linear_time():
    """A key said twice at the end of 90,000; a string without an end that is all quotes; halves
    of brackets. Under a limit of processor time that a quadratic search would pass."""
    code = f"""
import resource; resource.setrlimit(resource.RLIMIT_CPU, ({CPU_SECONDS}, {CPU_SECONDS}))
from api import strict_json
from graph.errors import InputError
keys = ",".join(f'"{{k:05d}}":0' for k in range(90_000))
for body in ("{{" + keys + ',"89999":0}}', '{{"a": "' + '\\\\"' * 450_000, '["' * 450_000):
    try:
        strict_json.parse(body.encode())
    except InputError as error:
        print(str(error)[:40])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "the key '89999' twice" in done.stdout
    assert len(done.stdout.splitlines()) == 3


def test_a_backslash_before_a_line_end_does_not_hide_brackets():
    from api import strict_json

    with pytest.raises(InputError, match="nested deeper"):
        strict_json.parse(b'"\\\n"' + b"[" * 30)


def test_names_and_conditions_of_a_filter_are_bounded():
    names = [f"t{k}" for k in range(1000)]
    parse_filter({"tags_any": names, "tags_none": names})  # MOST_NAMES
    assert 2 * len(names) == MOST_NAMES
    for content in (
        {"tags_any": names, "tags_none": names, "domains": ["one more"]},
        {"or": [{"tags_any": names} for _ in range(100)]},
        {"attributes": {f"a{k}": {"in": names} for k in range(3)}},
    ):
        with pytest.raises(InputError, match="at most 2,000 names"):
            parse_filter(content)
    for content in (
        {"or": [{"created_after": 1} for _ in range(5000)]},
        {"attributes": {f"a{k}": {"from": 1} for k in range(5000)}},
    ):
        with pytest.raises(InputError, match="at most 200 conditions"):
            parse_filter(content)


def test_a_packed_body_is_a_415(client):
    import gzip

    body = gzip.compress(json.dumps({"subjects": [{}]}).encode())
    response = post(client, body, **{"Content-Encoding": "gzip"})
    assert response.status_code == 415
    assert "gzip" in response.json["detail"]
    plain = post(client, {"subjects": [{"n": 1}]}, **{"Content-Encoding": "identity"})
    assert plain.status_code == 200


def test_a_thousand_wrong_fields_are_named_in_part(client):
    response = post(client, {"subjects": [{"n": "x"} for _ in range(1000)]})
    assert response.status_code == 400
    assert len(response.json["errors"]) == 50


# ── many subjects ────────────────────────────────────────────────────────────────────────


def ask(count, **more):
    return [Request(n=1, **more) for _ in range(count)]


def test_large_requests_are_worked_on_in_pieces_and_answered_in_order():
    pieces = []

    def recommend(some):
        pieces.append(len(some))
        return list(some)

    requests = [Request(user=f"u{k}", n=1) for k in range(2 * PIECE + 1)]
    assert LongRequests(Settings()).answers(recommend, requests) == requests
    assert pieces == [PIECE, PIECE, 1]
    heavy = Filter(any_of=(Filter(tags_any=tuple(map(str, range(1000)))),))
    pieces.clear()
    LongRequests(Settings()).answers(recommend, ask(3, filter=heavy))
    assert pieces == [1, 1, 1]


def test_a_large_request_ends_when_its_time_is_over():
    seconds = iter(range(100))  # each look at the clock is a second later
    long_requests = LongRequests(Settings(request_seconds=3), clock=lambda: next(seconds))
    with pytest.raises(Problem, match=f"after 3 s {3 * PIECE} of {10 * PIECE} subjects"):
        long_requests.answers(list, ask(10 * PIECE))
    assert long_requests.answers(list, ask(2 * PIECE))  # and its seat is free again


def test_large_requests_never_take_every_thread():
    """While one runs on the only thread for them, another is sent away, a small one answered."""
    long_requests = LongRequests(Settings(threads=2))
    refused = []

    def recommend(some):
        assert long_requests.answers(list, ask(PIECE))  # a small one meanwhile
        with pytest.raises(Problem) as error:
            long_requests.answers(list, ask(PIECE + 1))
        refused.append(error.value.status)
        return list(some)

    long_requests.answers(recommend, ask(PIECE + 1))
    assert refused == [503, 503]


def test_a_served_request_in_pieces_is_answered_like_small_ones(client):
    subjects = [{"user": f"reader-{k}", "n": 3, "reasons": False} for k in range(PIECE + 5)]
    answers = post(client, {"subjects": subjects}).json["answers"]
    assert len(answers) == len(subjects)
    for number in (0, PIECE - 1, PIECE, PIECE + 4):
        alone = post(client, {"subjects": [subjects[number]]}).json["answers"][0]
        assert answers[number].pop("request_id") != alone.pop("request_id")
        assert answers[number] == alone
