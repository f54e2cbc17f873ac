"""Answers that are kept are never older than what was acknowledged; and they stay within bounds."""

import json
import os
import random
import shutil
import subprocess
import time
from contextlib import contextmanager
from urllib.parse import quote

import pytest
import redis

from api.app import create_app
from api.cli.erase import finish
from api.settings import load_settings
from api.shared_results import RedisResults
from recommender.inbox.erasing import ask, receipt
from recommender.inbox.facts import CONSENT, DELETE, PATCH, PUT, fact
from recommender.inbox.journal import Journal
from recommender.overlay.state import begin_erasure, read_state
from recommender.ranking.request import Filter, Request
from recommender.serving.live import Live
from recommender.serving.results import ENTRY, SHORTEST, Results

NOW = 1_760_000_000


@pytest.fixture
def live(home):
    journal = Journal(home.inbox)
    ticks = iter(range(10**7))
    yield Live(home, journal=journal, clock=lambda: next(ticks)), journal
    journal.close()


class Clock:
    """Stands still until it is moved."""

    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        return self.seconds


def kept(most_bytes=10_000_000, longest=3600.0, shared=None):
    clock = Clock()
    return Results(most_bytes, longest, clock, shared), clock


# ── never older than what was acknowledged ───────────────────────────────────────────────


def facts_about(users, items, draw):
    user, item = draw.choice(users), draw.choice(items)
    kind = draw.choice(["view", "like", "hide"])
    return draw.choice(
        [
            ("events", {"user": user, "item": item, "kind": kind, "at": NOW + draw.randrange(99)}),
            ("events", {"user": user, "item": "never seen before", "kind": "like", "at": NOW}),
            (CONSENT, {"id": user, "consent": {"personalise": draw.random() < 0.5}}),
            (DELETE, {"id": item}),
            (PATCH, {"id": item, "hidden": draw.random() < 0.5}),
            (PUT, {"id": draw.choice(["new one", "new two", item]), "title": f"T{draw.random()}"}),
        ]
    )


def test_after_every_fact_the_answers_are_those_that_are_made_anew(live, planted, home):
    """Two workers that share what they keep, 60 facts and an erasure, six subjects."""
    server, journal = live
    draw = random.Random(5)
    users = list(planted.answers.users[:3])
    items = server.recommender().release.items.ids(range(40))
    there = {}

    class Everywhere:
        def get(self, keys):
            return [there.get(key) for key in keys]

        def put(self, key, answer, seconds):
            there[key] = answer

        def forget(self, state):
            pass

    workers = [kept(shared=Everywhere())[0] for _ in range(2)]
    requests = [
        *[Request(user=user, n=8) for user in users],
        Request(household=tuple(users[:2]), n=8),
        Request(user=users[0], filter=Filter(items=tuple(items)), n=8, include_seen=True),
        Request(n=30),
    ]

    def check():
        recommender = server.recommender()
        expected = recommender.recommend_json(requests, now=NOW)
        for results in workers:
            assert results.answers(recommender, requests, now=NOW) == expected
            assert results.answers(recommender, requests, now=NOW) == expected
        return expected

    lists = [check()]
    for _ in range(60):
        kind, payload = facts_about(users, items, draw)
        journal.append([fact(kind, payload)], now=NOW)
        lists.append(check())
    begin_erasure(home, users[0])
    ask(journal, users[0], "somebody", now=NOW)
    lists.append(check())
    assert json.loads(lists[-1][0])["served_by"] == "popular"
    assert len({tuple(answers) for answers in lists}) > 20
    assert workers[0].counts["hits"] > 300
    assert workers[1].counts["shared hits"] > 100


def test_one_users_event_leaves_the_others_answers_where_they_are(live, planted):
    server, journal = live
    results, _ = kept()
    user, other = planted.answers.users[:2]
    requests = [Request(user=user), Request(user=other)]
    item = server.recommender().release.items.id(3)
    journal.append([fact("events", {"user": "third", "item": item, "kind": "view"})], now=NOW)
    results.answers(server.recommender(), requests, now=NOW)
    journal.append([fact("events", {"user": user, "item": item, "kind": "view"})], now=NOW)
    results.answers(server.recommender(), requests, now=NOW)
    assert results.counts == {"hits": 1, "misses": 3}


def test_after_an_erasure_no_answer_from_before_is_kept(live, planted, home):
    """Not even unasked for, nor one that was under way when the erasure was heard of."""
    server, _ = live
    results, _ = kept()
    server.on_state = results.forget
    requests = [Request(user=user) for user in planted.answers.users[:5]]
    before = server.recommender()
    results.answers(before, requests, now=NOW)
    assert results.bytes > 0
    begin_erasure(home, planted.answers.users[0])
    after = server.recommender()
    assert results.bytes == 0
    results.answers(before, requests, now=NOW)
    assert results.bytes == 0
    results.answers(after, requests, now=NOW)
    assert results.bytes > 0
    assert results.counts == {"misses": 15}


# ── bounds ───────────────────────────────────────────────────────────────────────────────


def test_memory_is_bounded_and_who_was_asked_for_longest_ago_makes_room(recommender, planted):
    size = len(recommender.recommend_json([Request(user=planted.answers.users[0])], now=NOW)[0])
    results, _ = kept(most_bytes=4 * (size + ENTRY))
    first = Request(user=planted.answers.users[0])
    for user in planted.answers.users[:30]:
        results.answers(recommender, [Request(user=user)], now=NOW)
        results.answers(recommender, [first], now=NOW)
        assert results.bytes <= 4 * (size + ENTRY)
    assert results.counts["hits"] >= 29  # the first is asked for all the time, and stays
    assert results.counts["dropped"] > 20


def test_nothing_is_kept_where_no_bytes_are_allowed(recommender):
    results, _ = kept(most_bytes=0)
    for _ in range(2):
        results.answers(recommender, [Request()], now=NOW)
    assert (results.bytes, results.counts["hits"]) == (0, 0)


def test_who_is_here_now_is_asked_anew_soon_and_who_was_long_away_later(recommender, planted):
    user = planted.answers.users[0]
    seen = int(recommender.release.segment_arrays["last_seen"][recommender.release.users.row(user)])
    for now, seconds in ((seen + 10, SHORTEST), (seen + 24 * 900, 900), (seen + 10**8, 3600)):
        results, clock = kept()
        requests = [Request(user=user)]
        for moment, hits in ((0, 0), (seconds - 1, 1), (seconds + 1, 1)):
            clock.seconds = moment
            results.answers(recommender, requests, now=now)
            assert results.counts["hits"] == hits, (now - seen, moment)


def test_keys_name_nobody(recommender):
    keys = []

    class Noting:
        def get(self, some):
            keys.extend(some)
            return [None] * len(some)

        def put(self, key, answer, seconds):
            keys.append(key)

    results, _ = kept(shared=Noting())
    results.answers(recommender, [Request(user="somebody@example.org")], now=NOW)
    assert keys
    assert not [key for key in keys if "somebody" in key]


# ── Redis ────────────────────────────────────────────────────────────────────────────────


@contextmanager
def redis_at(folder):
    """The URL of a Redis server that runs during the block."""
    program = shutil.which("redis-server")
    if program is None:
        missing = pytest.fail if os.environ.get("TESTS_REQUIRE_REDIS") else pytest.skip
        missing("no redis-server on this machine")
    socket = folder / "redis.sock"
    command = [program, "--port", "0", "--unixsocket", str(socket), "--save", ""]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=folder)
    try:
        while not socket.exists():
            time.sleep(0.01)
        yield f"redis+unix://{socket}"
    finally:
        server.kill()
        server.wait()


def keys_in(url):
    return set(redis.Redis.from_url(url.replace("redis+", "")).scan_iter())


def test_an_erasure_empties_a_shared_redis_and_tells_how_much_was_there(
    live, planted, home, tmp_path
):
    """By the command line beside no server; other programs' keys stay."""
    server, journal = live
    person = planted.answers.users[0]
    with redis_at(tmp_path) as url:
        results, _ = kept(shared=RedisResults(url, Clock()))
        requests = [Request(user=user) for user in planted.answers.users[:5]]
        before = server.recommender()
        results.answers(before, requests, now=NOW)
        redis.Redis.from_url(url.replace("redis+", "")).set("another program's", 1)
        assert len(keys_in(url)) == 6
        settings = load_settings(home.folder, redis_url=url)
        begin_erasure(home, person)
        sequence = ask(journal, person, read_state(home).digest(person), now=NOW)
        finish(settings, home, journal, sequence)
        places = {step.location: step.count for step in receipt(journal, sequence).steps}
        assert places["caches"] == 5
        assert keys_in(url) == {b"another program's"}
        results.answers(server.recommender(), requests, now=NOW)
        assert len(keys_in(url)) == 6  # those made since stay
    assert RedisResults(url).remove("any") is None


def test_what_a_worker_wrote_before_it_heard_of_an_erasure_goes_too(live, planted, home, tmp_path):
    server, _ = live
    requests = [Request(user=user) for user in planted.answers.users[:5]]
    with redis_at(tmp_path) as url:
        results, _ = kept(shared=RedisResults(url, Clock()))
        server.on_state = results.forget
        results.answers(server.recommender(), requests, now=NOW)
        assert len(keys_in(url)) == 5
        begin_erasure(home, planted.answers.users[0])
        server.recommender()
        for _ in range(500):
            if not keys_in(url):
                break
            time.sleep(0.01)
        assert not keys_in(url)


def test_workers_share_a_redis_and_each_goes_on_when_it_is_away(
    recommender, planted, tmp_path, capfd
):
    with redis_at(tmp_path) as url:
        moment = Clock()
        first, second = (kept(shared=RedisResults(url, moment))[0] for _ in range(2))
        requests = [Request(user=user) for user in planted.answers.users[:5]]
        made = first.answers(recommender, requests, now=NOW)
        assert second.answers(recommender, requests, now=NOW) == made
        assert (first.counts["misses"], second.counts["misses"]) == (5, 0)
        assert second.counts["shared hits"] == 5
    later = [Request(user=user) for user in planted.answers.users[5:9]]
    expected = recommender.recommend_json(later, now=NOW)
    capfd.readouterr()
    for at in range(4):
        assert first.answers(recommender, later[at : at + 1], now=NOW) == expected[at : at + 1]
        moment.seconds += 60  # after which it is asked again
    assert capfd.readouterr().err.count("redis away") == 1  # until it answers
    assert second.answers(recommender, later, now=NOW) == expected
    assert second.counts["shared hits"] == 5


# ── others may keep what is about no person ──────────────────────────────────────────────


@pytest.fixture
def client(home):
    return create_app(load_settings(home.folder, public_seconds=30)).test_client()


@pytest.mark.parametrize(
    "path",
    [
        "/v1/popular?n=5",
        "/v1/latest?n=5",
        "/v1/items/{item}/similar?n=5",
        "/v1/trending?n=5",
        "/v1/trending/tags?n=5",
        "/v1/tags/items?n=5&name={domain}",
    ],
)
def test_lists_about_nobody_may_be_kept_and_are_asked_after(client, planted, path):
    path = path.format(item=planted.answers.items[0], domain=quote(planted.answers.niches[0]))
    first = client.get(path)
    assert first.headers["Cache-Control"] == "public, max-age=30"
    again = client.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    other = client.get(path, headers={"If-None-Match": '"another"'})
    assert (other.status_code, other.data) == (200, first.data)
    longer = client.get(path.replace("n=5", "n=6"))
    assert (longer.headers["ETag"] == first.headers["ETag"]) == (longer.data == first.data)


def test_a_persons_list_is_kept_by_nobody(client, planted):
    answer = client.get(f"/v1/users/{planted.answers.users[0]}/recommendations")
    assert answer.headers["Cache-Control"] == "private, no-store"
    assert "ETag" not in answer.headers


def test_hits_are_counted_where_metrics_read_them(client, planted):
    for _ in range(3):
        client.get(f"/v1/users/{planted.answers.users[0]}/recommendations")
    counts = client.application.extensions["results"].counts
    assert (counts["hits"], counts["misses"]) == (2, 1)
