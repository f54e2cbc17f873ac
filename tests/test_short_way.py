"""The short way past Flask: its answers are Flask's, and whatever is not plain is left to Flask."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from api.app import create_app
from api.keys import KeyFile, subject_token
from api.limiter import Limiter
from api.settings import load_settings
from api.under_way import UnderWay
from recommender.ranking.request import Request

GOOD = (
    "/v1/users/{user}/recommendations",
    "/v1/users/{user}/recommendations?n=3&reasons=false",
    "/v1/users/{user}/recommendations?n=5&include_seen=true&profile=neutral&exclude={item}",
    "/v1/users/nobody%20knows/recommendations",
    "/v1/users/a/b%2F%C3%A4/recommendations?n=2",
)
NOT_PLAIN = (
    "/v1/users//recommendations",
    "/v1/users/recommendations",
    "/v1/users/%0A/recommendations",
    "/v1/users/{user}/recommendations/",
    "/v1/users/{user}/recommendations?n=0",
    "/v1/users/{user}/recommendations?n=1&n=2",
    "/v1/users/{user}/recommendations?m=1",
    "/v1/users/{user}/recommendations?profile=none",
    "/v1/users/{user}/recommendations?cursor=!",
    "/v1/users/{user}/recommendations?filter=%7B",
)
RECOMMENDATIONS = 'route="/v1/users/{user}/recommendations"'
HERE = {"Host": "localhost"}


class Server:
    """An application that notes which requests Flask saw."""

    def __init__(self, home, **settings):
        app = create_app(load_settings(home.folder, **settings))
        self.flask = []
        app.before_request_funcs[None].insert(0, lambda: self.flask.append(1))
        self.client = app.test_client()

    def get(self, path, **headers):
        """Status, headers and content of an answer, and whether Flask made it."""
        self.flask.clear()
        answer = self.client.get(path, headers={**HERE, **headers})
        content = answer.data
        if answer.status_code == 200:
            content, end, number = content.rpartition(b".")  # tells equal answers apart
            assert end
            assert len(number) == len(b'12345678901"}')
        sent = {**answer.headers}
        return answer.status_code, sent, content, bool(self.flask)


@pytest.fixture(scope="module")
def servers(used_home):
    """A server with the short way, and one without."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("api.app.short_way", lambda flask, *_, **__: flask)
        without = Server(used_home)
    return Server(used_home), without


@pytest.fixture(scope="module")
def names(recommender):
    user = recommender.release.users.id(0)
    shown = recommender.recommend([Request(user=user)], now=int(time.time()))[0]
    return {"user": user, "item": shown.items[0].item}


@pytest.mark.parametrize("path", GOOD)
def test_the_short_way_answers_what_flask_answers(servers, names, path):
    *short, by_flask = servers[0].get(path.format(**names))
    *long, by_flask_as_well = servers[1].get(path.format(**names))
    assert (by_flask, by_flask_as_well) == (False, True)
    assert short == long
    assert short[0] == 200


@pytest.mark.parametrize("path", NOT_PLAIN)
def test_what_is_wrong_is_left_to_flask(servers, names, path):
    *short, by_flask = servers[0].get(path.format(**names))
    *long, _ = servers[1].get(path.format(**names))
    assert by_flask
    assert short == long
    assert short[0] in (400, 404)


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "https://shop.example"}])
def test_other_hosts_and_scripts_of_other_sites_are_left_to_flask(servers, names, headers):
    *short, by_flask = servers[0].get(GOOD[0].format(**names), **headers)
    assert by_flask
    assert short == list(servers[1].get(GOOD[0].format(**names), **headers)[:-1])
    assert short[0] == (403 if "Host" in headers else 200)


def test_a_script_of_a_named_site_is_told_apart(used_home, names):
    server = Server(used_home, cors_origins="https://shop.example")
    status, headers, _, by_flask = server.get(GOOD[0].format(**names))
    assert (status, headers["Vary"], by_flask) == (200, "Origin", False)


def test_only_a_key_with_the_scope_goes_the_short_way(home, names):
    path, now = GOOD[0].format(**names), int(time.time())
    keys = KeyFile(home.keys)
    good, other = (keys.create([scope], now=now) for scope in ("recommend", "track"))
    signing = keys.create(["recommend"], now=now, signed_subjects=True)
    server = Server(home)
    assert server.get(path)[::3] == (401, True)
    assert server.get(path, Authorization=f"Bearer {other.secret}")[::3] == (403, True)
    assert server.get(path, Authorization=f"Bearer {good.secret}x")[::3] == (401, True)
    assert server.get(path, Authorization=f"Bearer {good.secret}")[::3] == (200, False)
    assert server.get(path, **{"X-API-Key": good.secret})[::3] == (200, False)
    signed = {"X-API-Key": signing.secret}
    assert server.get(path, **signed)[::3] == (401, True)
    for user, status in ((names["user"], 200), ("somebody else", 403)):
        token = subject_token(signing.signing, user, now + 60)
        assert server.get(path, **signed, **{"X-Subject": token})[::3] == (status, True)
    keys.revoke(good.key.id, now=now)
    assert server.get(path, **{"X-API-Key": good.secret})[::3] == (401, True)


def test_logged_requests_are_flasks(used_home, names):
    assert Server(used_home, request_log=1).get(GOOD[0].format(**names))[::3] == (200, True)


@pytest.mark.parametrize(
    ("settings", "query", "status", "what"),
    [
        ({"requests_per_second": 3}, "n=9", 429, "requests"),
        ({"items_per_second": 30}, "n=9", 429, "items"),
        ({"items_per_second": 8}, "n=9", 400, "items"),
    ],
)
def test_limits_hold_and_each_request_is_counted_once(home, names, settings, query, status, what):
    keys = KeyFile(home.keys)
    mine, other = (keys.create(["recommend", "admin"], now=int(time.time())) for _ in range(2))
    server = Server(home, workers=1, **settings)
    path = f"/v1/users/{names['user']}/recommendations?{query}"
    refused = f'nichegraph_refused_total{{why="{what}"}} '

    def count():
        text = server.client.get("/metrics", headers={**HERE, "X-API-Key": other.secret}).text
        own = [line for line in text.splitlines() if line.startswith(refused)]
        return sum(float(line.split()[-1]) for line in own)

    before, answers = count(), []
    while not answers or answers[-1][0] == 200:
        answers.append(server.get(path, **{"X-API-Key": mine.secret})[::3])
        assert len(answers) < 50
    assert answers[-1] == (status, True)  # Flask says so
    assert set(answers[:-1]) <= {(200, False)}
    if status == 429:  # a second may end meanwhile
        assert len(answers) >= 4
        assert server.get(path, **{"X-API-Key": other.secret})[::3] == (200, False)
    assert count() == before + 1


def test_what_flask_answers_after_all_is_counted_once(used_home, names):
    server = Server(used_home, workers=1, requests_per_second=2)
    path = f"/v1/users/{names['user']}/recommendations?profile=none"
    statuses = [server.get(path)[0] for _ in range(3)]
    assert statuses[:2] == [400, 400]


def test_requests_of_the_short_way_are_counted_and_take_a_place(used_home, names):
    server = Server(used_home, max_in_flight=1)

    def counted():
        lines = server.client.get("/metrics", headers=HERE).text.splitlines()
        start = "nichegraph_requests_total{"
        own = [line for line in lines if line.startswith(start) and RECOMMENDATIONS in line]
        return sum(float(line.split()[-1]) for line in own)

    path = GOOD[0].format(**names)
    server.get(path)
    before = counted()
    for _ in range(3):  # a place that was not given back would be missed
        assert server.get(path)[::3] == (200, False)
    assert counted() == before + 3
    assert json.loads(server.client.get(path, headers=HERE).data)["served_by"] == "history"


def test_a_request_that_waits_for_a_seat_was_counted_and_is_in_flight(home, names, monkeypatch):
    made, counted = [], []
    count = Limiter.counted
    monkeypatch.setattr("api.app.UnderWay", lambda wanted: made.append(UnderWay(wanted)) or made[0])
    monkeypatch.setattr(Limiter, "counted", lambda *words: counted.append(1) or count(*words))
    server = Server(home, threads=1, requests_per_second=10_000)

    def in_flight():
        name = "nichegraph_requests_in_flight "
        lines = server.client.get("/metrics", headers=HERE).text.splitlines()
        return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))

    assert made[0].enter()
    before, ends = in_flight(), time.monotonic() + 20
    counted.clear()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(server.client.get, GOOD[0].format(**names), headers=HERE)
        try:
            while not counted and time.monotonic() < ends:
                time.sleep(0.01)
            assert len(counted) == 1
            while in_flight() == before and time.monotonic() < ends:
                time.sleep(0.01)
            assert in_flight() == before + 1
            assert not answer.done()
        finally:
            made[0].leave()
        assert answer.result().status_code == 200
    assert in_flight() == before
