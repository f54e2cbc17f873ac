"""Nothing that the server tells operators names a person or holds a key: logs, metrics, traces.

A user and keys whose ids occur nowhere else send all kinds of requests to a real server, right ones
and wrong ones, in rounds. In each a refresh learns of the person, and another release is served;
after the first Redis is away. Then everything that was told is searched for them. What the server
told is also looked at for what it must hold.
"""

import gzip
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from collections import defaultdict
from contextlib import ExitStack, nullcontext
from functools import partial
from types import SimpleNamespace
from urllib.parse import quote

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from api.keys import SCOPES, KeyFile, subject_token
from recommender.releases.home import Home
from recommender.releases.publishing import current
from tests.test_api_worker import PATIENCE, free_port, until
from tests.test_ending import start
from tests.test_results import redis_at

PERSON = "canary-person-7f3a"
TRACE = "0af7651916cd43dd8448eb211c80319c"


class Collector(http.server.BaseHTTPRequestHandler):
    """A collector of OTLP over HTTP; it keeps what arrives."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.arrived.append((self.path, self.headers["Content-Type"], body))
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def collector():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    server.arrived = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def rounds(pytestconfig):
    return 12 if pytestconfig.getoption("--long") else 2


@pytest.fixture(scope="module")
def run(planted_home, tmp_path_factory, collector, rounds):
    """A server that was asked for everything and has ended: what it and refreshes told, secrets."""
    folder = tmp_path_factory.mktemp("canary")
    home = Home(shutil.copytree(planted_home.folder, folder / "home"))
    keys, moment = KeyFile(home.keys), int(time.time())
    made = {scope: keys.create([scope], now=moment) for scope in SCOPES}
    all_of_them = keys.create(list(SCOPES), now=moment)
    signed = keys.create(["recommend", "track"], now=moment, signed_subjects=True)
    token = subject_token(signed.signing, PERSON, moment + 3600)
    port = free_port()
    settings = {
        "LOG_FORMAT": "json",
        "REQUEST_LOG": "1",
        "TRACES_URL": f"http://127.0.0.1:{collector.server_port}/v1/traces",
        "CONSOLE_ENABLED": "true",
        "SIMILAR_USERS_ENABLED": "true",
        "REQUESTS_PER_SECOND": "100000",  # so that requests are counted, in Redis too
        "ITEMS_PER_SECOND": "1000000",
    }
    output = SimpleNamespace(statuses=defaultdict(set), ids=[], metrics="", releases=set())
    output.refreshes = ""

    def ask(method, path, body=None, key=all_of_them.secret, **headers):
        headers = {"X-API-Key": key, "Content-Type": "application/json"} | headers
        content = None if body is None else json.dumps(body).encode()
        address = f"http://127.0.0.1:{port}{path}"
        request = urllib.request.Request(address, content, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                status, text = answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read().decode()
        output.statuses[method, path.partition("?")[0]].add(status)
        assert key not in text or status < 300
        assert "Traceback" not in text
        return text

    def served(release):
        output.releases.add(release)
        until(lambda: {json.loads(ask("GET", "/ready"))["release"] for _ in range(9)} == {release})
        ask("GET", f"/v1/users/{quote(PERSON)}/recommendations")

    def another_release(number):
        """A refresh, while the person is in the inbox and the store, and the way back."""
        before = current(home)
        words = ["refresh", "--preset", "fast", "--force", "--seed", str(number)]
        done = subprocess.run(
            [sys.executable, "-m", "api.cli.main", "--home", str(home.folder), *words],
            env=os.environ | environment, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        output.refreshes += done.stdout + done.stderr
        served(current(home))
        if number % 2:
            ask("PUT", "/v1/releases/current", {"release": before})
            served(before)

    with ExitStack() as shared, (folder / "log").open("w") as log:
        there = redis_at(folder) if shutil.which("redis-server") else nullcontext("")
        settings["REDIS_URL"] = shared.enter_context(there)
        environment = {f"NICHEGRAPH_{name}": text for name, text in settings.items()}
        server = start(home.folder, port, environment, workers=2, output=log)
        try:
            until(lambda: ask("GET", "/live"))
            output.releases.add(json.loads(ask("GET", "/ready"))["release"])
            for number in range(rounds):
                refreshed = partial(another_release, number)
                everything(ask, made, signed.secret, token, number, output, refreshed)
                shared.close()  # Redis goes away
            until(lambda: "nichegraph_requests_total" in ask("GET", "/metrics"))
            output.metrics = ask("GET", "/metrics")
        finally:
            server.terminate()
            assert server.wait(PATIENCE) == 0
    output.log = (folder / "log").read_text()
    output.audit = "".join(path.read_text() for path in sorted(home.audit.iterdir()))
    output.traces = list(collector.arrived)
    secrets = [*made.values(), all_of_them, signed]
    output.secrets = [key.secret.split("_", 2)[2] for key in secrets]
    output.secrets += [signed.signing, token, token.partition(".")[2]]
    return output


def everything(ask, made, signed, token, number, output, another_release):
    """Requests of every kind about one person, right and wrong, by every key, and a refresh."""
    person = quote(PERSON)
    event = {"user": PERSON, "item": "evergreen-1", "session": f"{PERSON}-session"}
    ask("PUT", f"/v1/users/{person}", {"attributes": {"name": PERSON}})
    ask("PUT", f"/v1/users/{person}/consent", {"track": True})
    ask("POST", "/v1/events", event | {"event_id": f"{PERSON}-{number}"})
    ask("POST", "/v1/events", event | {"value": "much"})  # wrong
    ask("POST", f"/v1/users/{person}/alias", {"anonymous": f"{PERSON}-cookie"})
    answer = ask(
        "GET", f"/v1/users/{person}/recommendations?n=5", traceparent=f"00-{TRACE}-{1:016x}-01"
    )
    output.ids.append(json.loads(answer)["request_id"])
    subjects = [{"user": PERSON}, {"household": [PERSON, "reader-1"]}, {"similar_to": PERSON}]
    ask("POST", "/v1/recommendations", {"subjects": subjects})
    ask("GET", f"/v1/users/{person}/recommendations?n=many")  # wrong
    ask("GET", f"/v1/users/{person}/recommendations/evergreen-2/why")
    ask("GET", f"/v1/users/{person}/recommendations/{PERSON}/why")  # no such item
    ask("GET", f"/v1/users/{person}")
    ask("GET", f"/v1/users/{person}/similar")
    ask("GET", f"/v1/users/{person}/data")
    ask("GET", f"/v1/graph?kind=user&name={person}")
    ask("GET", f"/v1/search?q={person}")
    ask("POST", "/v1/cypher", {"query": f"MATCH (u:User {{id: '{PERSON}'}}) RETURN u.id"})
    ask("POST", "/v1/cypher", {"query": f"MATCH (u:{PERSON!r} RETURN u"})  # wrong
    ask("GET", f"/v1/erasures/{person}")  # wrong
    ask("GET", f"/no/such/{person}")
    ask("BREW", f"/v1/users/{person}")
    ask("GET", f"/v1/users/{person}/recommendations", key=f"ng_00000000_{PERSON}")
    ask("GET", f"/v1/pixel/{PERSON}/{token}.gif")
    ask("GET", f"/v1/users/{person}/recommendations", key=signed, **{"X-Subject": token})
    ask("GET", "/v1/users/somebody/recommendations", key=signed, **{"X-Subject": token})
    for key in made.values():
        ask("GET", f"/v1/users/{person}/recommendations?n=2", key=key.secret)
        ask("DELETE", "/v1/items/no-such-item", key=key.secret)
    another_release()
    ask("DELETE", f"/v1/users/{person}")


def lines_of(output):
    return [json.loads(line) for line in output.log.splitlines()]


def spans_of(output):
    for path, content_type, body in output.traces:
        assert (path, content_type) == ("/v1/traces", "application/x-protobuf")
        for part in ExportTraceServiceRequest.FromString(body).resource_spans:
            names = {each.key: each.value.string_value for each in part.resource.attributes}
            assert names["service.name"] == "nichegraph"
            yield from (span for scope in part.scope_spans for span in scope.spans)


def test_all_kinds_of_requests_were_answered_and_none_by_a_fault_of_ours(run):
    statuses = set().union(*run.statuses.values())
    assert {200, 202, 400, 401, 403, 404, 405} <= statuses
    assert 500 not in statuses
    assert len(run.statuses) >= 20


def test_neither_the_person_nor_a_key_nor_a_stack_trace_stands_in_what_is_told(run):
    texts = {
        "log": run.log,
        "what refreshes print": run.refreshes,
        "audit log": run.audit,
        "metrics": run.metrics,
        "traces": "".join(body.decode("latin-1") for *_, body in run.traces),
    }
    for name, text in texts.items():
        assert len(text) > 1_000, name
        for secret in (PERSON, quote(PERSON), "Traceback", *run.secrets):
            assert secret not in text, (name, text[max(text.index(secret) - 200, 0) :][:500])


def test_every_request_has_a_line_with_its_route_release_and_request_id(run, rounds):
    lines = [line for line in lines_of(run) if line["event"] == "answered"]
    route = "/v1/users/{user}/recommendations"
    lists = [line for line in lines if line["route"] == route and line["status"] == 200]
    assert {line["request_id"] for line in lists} >= set(run.ids)
    assert {line["release"] for line in lists} == run.releases
    assert len(run.releases) == rounds + 1
    many = [line for line in lines if line.get("lists") == 3]
    assert len(many) == rounds
    assert all(line["ms"] > 0 and re.fullmatch(r"[0-9a-f]{8}", line["key"]) for line in many)
    assert {line["route"] for line in lines if line["status"] == 404} >= {"none"}
    counted = int(
        re.search(r'nichegraph_requests_total\{[^}]*cypher"[^}]*200"\} (\d+)', run.metrics)[1]
    )
    cypher = [line for line in lines if line["route"] == "/v1/cypher" and line["status"] == 200]
    assert len(cypher) == counted


def test_every_request_has_a_span_that_continues_the_callers_trace(run, rounds):
    spans = list(spans_of(run))
    answered = [line for line in lines_of(run) if line["event"] == "answered"]
    assert len(spans) == len(answered)
    continued = [span for span in spans if span.trace_id.hex() == TRACE]
    assert len(continued) == rounds
    for span in continued:
        attributes = {
            each.key: each.value.string_value or each.value.int_value for each in span.attributes
        }
        assert span.name == "GET /v1/users/{user}/recommendations"
        assert span.parent_span_id.hex() == f"{1:016x}"
        assert attributes["http.response.status_code"] == 200
        assert attributes["nichegraph.release"] in run.releases
        assert attributes["nichegraph.request_id"] in run.ids
        assert 0 < span.end_time_unix_nano - span.start_time_unix_nano < PATIENCE * 1e9
