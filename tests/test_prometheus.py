"""Metrics at `/metrics`: each that is declared is told, right over workers and their restarts."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.parse import quote

import orjson
import pytest
import yaml
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.parser import text_string_to_metric_families

from api.long_requests import PIECE
from api.observability import count_defect, defects
from api.routes.metrics import declared
from recommender.inbox.erasing import ask
from recommender.inbox.facts import fact
from recommender.inbox.journal import Journal
from recommender.inbox.lag import DrainState, tell_state
from recommender.inbox.quarantine import put_aside
from recommender.releases.home import Home
from recommender.releases.publishing import current, open_release
from recommender.serving.answers import origin
from recommender.serving.results import ENTRY
from tests.api_client import client_of
from tests.test_api_worker import PATIENCE, get, served, until
from tests.test_results import redis_at

NOW = 1_760_000_000
LISTS = "/v1/users/{user}/recommendations"


def samples(text):
    """(name, labels) -> value of a text that Prometheus reads."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(text, name, **labels):
    return samples(text).get((name, tuple(sorted(labels.items()))), 0)


def scraped(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        return answer.read().decode()


# ── a real server with two workers ───────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def server(planted_home, tmp_path_factory):
    """Its port, and the folder in which its workers count."""
    home = shutil.copytree(planted_home.folder, tmp_path_factory.mktemp("home") / "home")
    temporary = tmp_path_factory.mktemp("temporary")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(temporary))
        patch.setenv("PROMETHEUS_MULTIPROC_DIR", "/of/somebody/else")
        with served(home, "--workers", "2") as port:
            (folder,) = temporary.glob("nichegraph-metrics-*")
            yield port, folder
    assert not folder.exists()


def lists_of(file):
    """How many lists of users the worker of one file has counted."""
    metrics = MultiProcessCollector.merge([str(file)])
    return sum(
        sample.value
        for metric in metrics
        for sample in metric.samples
        if sample.name == "nichegraph_requests_total" and sample.labels["route"] == LISTS
    )


def test_counts_are_those_of_all_workers_and_stay_when_one_is_killed(server):
    port, folder = server
    sent = 0

    def ask_some():
        nonlocal sent
        for _ in range(5):
            get(port, "/v1/users/reader-1/recommendations?n=3")
            sent += 1
        return [file for file in folder.glob("counter_*.db") if lists_of(file)]

    def values(name, **labels):
        return {value(scraped(port), name, **labels) for _ in range(6)}

    labels = {"method": "GET", "route": LISTS}
    until(lambda: len(ask_some()) == 2)  # both workers have answered
    assert values("nichegraph_requests_total", **labels, status="200") == {sent}
    assert values("nichegraph_request_seconds_count", **labels) == {sent}
    assert values("nichegraph_answers_total", served_by="history") == {sent}
    outcomes = ("hits", "misses")
    cache = [value(scraped(port), "nichegraph_cache_total", outcome=name) for name in outcomes]
    assert sum(cache) == sent and 1 <= cache[1] <= 2  # each worker made the list once
    assert values("nichegraph_requests_in_flight") == {1}

    (killed, *_) = folder.glob("counter_*.db")
    os.kill(int(killed.stem.rpartition("_")[2]), signal.SIGKILL)
    until(lambda: len(list(folder.glob("counter_*.db"))) == 3)
    until(lambda: len(ask_some()) == 3)  # the new worker has answered, too
    assert values("nichegraph_requests_total", **labels, status="200") == {sent}
    assert values("nichegraph_requests_in_flight") == {1}


def test_each_metric_that_is_declared_is_told(server):
    port, _ = server
    get(port, "/v1/users/nobody-knows/recommendations?n=3")
    post = {"events": [{"user": "ann", "item": "x"}]}
    get(port, "/v1/events", post)
    some = get(port, "/v1/popular?n=2")["items"]
    only = quote(json.dumps({"items": [entry["item"] for entry in some]}))
    assert (
        get(port, f"/v1/users/nobody-knows/recommendations?n=5&filter={only}")["fallback"]
        is not None
    )
    text = scraped(port)
    names = {name.removesuffix("_count") for name, _ in samples(text)}
    assert declared() <= names
    assert value(text, "nichegraph_release_info", release=get(port, "/ready")["release"]) == 1
    assert value(text, "nichegraph_drainer_up") == 1
    assert value(text, "nichegraph_inbox_open") == 1
    assert value(text, "nichegraph_fallbacks_total", served_by="popular") >= 1
    assert "nobody-knows" not in text and "ann" not in text


# ── one application ──────────────────────────────────────────────────────────────────────


def told_by(client):
    return client.get("/metrics").get_data(as_text=True)


def grown(client, name, act, **labels):
    before = value(told_by(client), name, **labels)
    act()
    return value(told_by(client), name, **labels) - before


def test_what_limits_refuse_is_counted_by_why(home):
    many = client_of(home, requests_per_second=1, workers=1)
    work = client_of(home, items_per_second=20, workers=1)
    full = client_of(home)
    full.post("/v1/events", json={"user": "ann", "item": "x"})

    def too_often():
        assert [many.get("/v1/popular?n=1").status_code for _ in range(3)].count(429) >= 1

    def too_much():
        codes = [work.get("/v1/users/a/recommendations?n=20").status_code for _ in range(3)]
        assert codes.count(429) >= 1

    def too_full():
        closed = client_of(home, inbox_free_bytes=1 << 60)
        assert closed.post("/v1/events", json={"user": "ann", "item": "y"}).status_code == 503
        assert value(told_by(closed), "nichegraph_inbox_open") == 0

    assert grown(full, "nichegraph_refused_total", too_often, why="requests") >= 1
    assert grown(full, "nichegraph_refused_total", too_much, why="items") >= 1
    assert grown(full, "nichegraph_refused_total", too_full, why="inbox") == 1
    assert value(told_by(full), "nichegraph_inbox_open") == 1


def test_a_large_request_that_found_no_thread_is_counted(home, monkeypatch):
    """It comes while another one is under way on the only thread for them."""
    client = client_of(home, threads=2)
    body = {"subjects": [{"user": f"reader-{k}", "n": 1} for k in range(PIECE + 1)]}
    results, codes = client.application.extensions["results"], []
    make = results.answers

    def meanwhile(*requests, **more):
        monkeypatch.setattr(results, "answers", make)
        other = client.application.test_client()
        codes.append(other.post("/v1/recommendations", json=body).status_code)
        return make(*requests, **more)

    def both():
        monkeypatch.setattr(results, "answers", meanwhile)
        codes.append(client.post("/v1/recommendations", json=body).status_code)

    assert grown(client_of(home), "nichegraph_refused_total", both, why="large") == 1
    assert codes == [503, 200]


def test_answers_that_another_worker_kept_and_those_that_made_room_are_counted(home, tmp_path):
    paths = [f"/v1/users/reader-{k}/recommendations?n=5" for k in range(1, 6)]

    def asking(client):
        return [len(client.get(path).data) for path in paths]

    with redis_at(tmp_path) as url:
        first, second = (client_of(home, redis_url=url) for _ in range(2))
        lengths = asking(first)
        shared = grown(
            second, "nichegraph_cache_total", lambda: asking(second), outcome="shared_hits"
        )
    assert shared == len(paths)
    small = client_of(home, cache_bytes=2 * (max(lengths) + ENTRY))
    dropped = grown(small, "nichegraph_cache_total", lambda: asking(small), outcome="dropped")
    assert 1 <= dropped == small.application.extensions["results"].counts["dropped"]


def test_how_old_the_release_and_how_large_the_journal_is_are_told(home):
    journal = Journal(home.inbox)
    facts = [fact("events", {"user": "ann", "item": f"i{k}", "kind": "view"}) for k in range(500)]
    client = client_of(home)
    before = value(told_by(client), "nichegraph_inbox_bytes")
    journal.append(facts, now=NOW)
    text = told_by(client)
    assert value(text, "nichegraph_inbox_bytes") == journal.size() > before
    made = open_release(home.releases / current(home)).manifest["created_at"]
    assert 0 <= time.time() - made - value(text, "nichegraph_release_age_seconds") < PATIENCE
    journal.close()


def test_routes_are_named_by_their_templates_and_what_strangers_make_up_is_not(home):
    client = client_of(home)
    client.get("/v1/items/a-secret-item")
    client.get("/no/such/secret")
    client.open("/v1/popular", method="SECRET")
    text = told_by(client)
    labels = {"method": "GET", "route": "/v1/items/{item}", "status": "404"}
    assert value(text, "nichegraph_requests_total", **labels) >= 1
    labels = {"method": "GET", "route": "none", "status": "404"}
    assert value(text, "nichegraph_requests_total", **labels) >= 1
    assert "secret" not in text.lower()


def test_items_that_a_mistake_of_ours_would_have_shown_are_counted(home):
    client = client_of(home)

    def mistake():
        count_defect("made up for this test", 3)
        client.get("/live")

    assert grown(client, "nichegraph_defects_total", mistake) == 3
    del defects["made up for this test"]


def test_how_the_inbox_stands_is_told(home):
    journal = Journal(home.inbox)
    facts = [fact("events", {"user": "ann", "item": f"i{k}", "kind": "view"}) for k in range(4)]
    journal.append(facts, now=NOW)
    put_aside(journal, journal.facts_after(0)[0], "made up", now=NOW)
    ask(journal, "bob", "b" * 16, now=NOW)
    tell_state(home.inbox, DrainState(2, NOW, "no answer", breaker_open=True))
    text = told_by(client_of(home))
    assert value(text, "nichegraph_inbox_waiting") == 3  # two events and the erasure
    assert value(text, "nichegraph_quarantine_facts") == 1
    assert value(text, "nichegraph_erasures_pending") == 1
    assert value(text, "nichegraph_drainer_problem") == 1
    assert value(text, "nichegraph_store_breaker_open") == 1
    assert value(text, "nichegraph_drainer_up") == 0  # it was last heard of long ago
    assert value(text, "nichegraph_inbox_oldest_seconds") > 1_000_000
    journal.close()


def test_without_a_release_the_rest_is_told(tmp_path):
    text = told_by(client_of(Home(tmp_path).create()))
    assert "nichegraph_release_info{" not in text
    assert value(text, "nichegraph_inbox_open") == 1


def test_what_an_answer_was_made_from_is_read_from_its_json(recommender, planted):
    from recommender.ranking.request import Request

    requests = [
        Request(user=planted.answers.users[0], n=3),
        Request(user="nobody", n=1000),
        Request(items={planted.answers.items[0]: 1.0}, n=3),
    ]
    for made in recommender.recommend_json(requests, now=NOW):
        content = orjson.loads(made)
        assert origin(made) == (content["served_by"], content["fallback"] is not None)
    hostile = {"title": '"served_by":"x"', "served_by": "y", "fallback": None, "next": None}
    assert origin(orjson.dumps(hostile)) == ("y", False)


def test_nobody_else_reads_them_without_a_key(home):
    client = client_of(home)
    assert client.get("/metrics").status_code == 200
    elsewhere = {"REMOTE_ADDR": "203.0.113.5"}
    assert client.get("/metrics", environ_base=elsewhere).status_code == 403
    assert client.get("/metrics?name=x").status_code == 400


def test_the_folder_of_a_worker_that_was_killed_tells_of_none_of_its_requests(tmp_path):
    """A worker dies in the middle of a request: nothing is under way there any more."""
    code = """
import os, sys
from api import metrics
metrics.in_flight.inc(5)
if sys.argv[1:]:
    print(metrics.text().decode())
os.kill(os.getpid(), 9)
"""
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=environment, cwd=Path.cwd())
    assert list(tmp_path.glob("gauge_live*.db"))
    output = subprocess.run(
        [sys.executable, "-u", "-c", code, "tell"], env=environment, capture_output=True, text=True
    ).stdout
    assert value(output, "nichegraph_requests_in_flight") == 5


# ── what operators are given ─────────────────────────────────────────────────────────────


OPERATING = Path(__file__).parents[1] / "docs" / "operating"


def queries():
    """Every query of the dashboard and the alert rules."""
    dashboard = json.loads((OPERATING / "dashboard.json").read_text())
    for panel in dashboard["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    for group in yaml.safe_load((OPERATING / "alerts.yml").read_text())["groups"]:
        yield from (rule["expr"] for rule in group["rules"])


def test_dashboard_and_alerts_ask_for_metrics_that_exist_and_leave_none_out():
    used = {name for query in queries() for name in re.findall(r"nichegraph_\w+", query)}
    assert {re.sub("_(bucket|count|sum)$", "", name) for name in used} == declared()


def test_the_labels_that_are_asked_for_exist():
    known = {"status", "route", "method", "served_by", "why", "outcome", "le", "instance", "job"}
    for query in queries():
        grouped = re.findall(r"by \(([^)]*)\)", query)
        chosen = re.findall(r"[{,]\s*(\w+)\s*[=!]", query)
        assert {name.strip() for names in grouped for name in names.split(",")} <= known, query
        assert set(chosen) <= known, query


def test_every_metric_stands_in_the_docs():
    text = (OPERATING.parent / "service.md").read_text()
    assert declared() == set(re.findall(r"`(nichegraph_\w+)`", text))


def test_compose_scrapes_when_the_marks_are_taken_away():
    lines = (OPERATING.parents[1] / "docker-compose.yml").read_text().splitlines()
    begin = next(at for at, line in enumerate(lines) if line.endswith("# prometheus:"))
    kept = [*lines[:begin], *(line.replace("# ", "", 1) for line in lines[begin:])]
    compose = yaml.safe_load("\n".join(kept))
    prometheus = compose["services"]["prometheus"]
    assert [part["source"] for part in prometheus["configs"]] == list(compose["configs"])
    assert set(prometheus["secrets"]) <= set(compose["secrets"])
    scrape = yaml.safe_load(compose["configs"]["prometheus"]["content"])["scrape_configs"][0]
    assert scrape["static_configs"] == [{"targets": ["api:8000"]}]
    assert scrape["job_name"] in (OPERATING / "alerts.yml").read_text()
