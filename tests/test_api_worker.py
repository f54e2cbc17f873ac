"""A worker on a real server: what it imports, how it swaps, how many answer."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager

import pytest

from recommender.releases.publishing import activate, list_releases

FORBIDDEN = (
    "torch",
    "torch_geometric",
    "gensim",
    "sklearn",
    "neo4j",
    "pandas",
    "networkx",
    "faiss",
    "ladybug",
    "matplotlib",
)
PATIENCE = 120.0  # seconds until a test gives up; no promise about speed


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get(port, path, body=None, **headers):
    address = f"http://127.0.0.1:{port}{path}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"} | headers)
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return json.load(answer)


def until(condition):
    ends = time.monotonic() + PATIENCE
    while time.monotonic() < ends:
        try:
            if condition():
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError("waited in vain")


@contextmanager
def served(home, *options):
    """`nichegraph serve` on a free port; stopped at the end."""
    port = free_port()
    words = ["--home", str(home), "serve", "--port", str(port), *options]
    server = subprocess.Popen(
        [sys.executable, "-m", "api.cli.main", *words],
        env={**os.environ, "PYTHONWARNINGS": "default"},
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        until(lambda: get(port, "/live"))
        yield port
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(PATIENCE)


@pytest.fixture
def home(planted_home, tmp_path):
    return shutil.copytree(planted_home.folder, tmp_path / "home")


def test_a_worker_imports_nothing_that_only_training_needs(used_home):
    code = f"""
import os, sys
os.environ["NICHEGRAPH_HOME"] = {str(used_home.folder)!r}
os.environ["NICHEGRAPH_CONSOLE_ENABLED"] = "true"
from api.app import application
client = application().test_client()
assert client.get("/v1/users/reader-1/recommendations").status_code == 200
assert client.get("/v1/popular").status_code == 200
assert client.post("/v1/items/similar", json={{"title": "a"}}).status_code == 200
asked = client.post("/v1/cypher", json={{"query": "MATCH (i:Item) RETURN count(i) AS n"}})
assert asked.status_code == 200, asked.data
client.application.extensions["console"].close()
print(*sorted(set({FORBIDDEN!r}) & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_a_worker_that_takes_writes_does_not_bring_pandas_either(tmp_path):
    code = """
import sys
from api.app import application
client = application().test_client()
event = {"user": "ann", "item": "é", "at": 1_760_000_000, "value": 2}
assert client.post("/v1/events", json=event).status_code == 202
assert client.put("/v1/items/x", json={"title": "é", "tags": ["a"]}).status_code == 202
print("pandas" in sys.modules)
assert client.post("/v1/events", json=event | {"at": "2025-01-02"}).status_code == 202
"""
    environment = {**os.environ, "NICHEGRAPH_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert done.stdout.split() == ["False"], done.stderr


def test_the_real_server_answers_and_swaps_when_current_moves(home, monkeypatch):
    from recommender.releases.home import Home

    opened = Home(home)
    monkeypatch.setenv("NICHEGRAPH_CONSOLE_ENABLED", "true")
    with served(home, "--workers", "2") as port:
        first = get(port, "/ready")["release"]
        assert get(port, "/v1/users/a%2Fb/recommendations?n=1")["served_by"] == "popular"
        assert get(port, "/v1/users/reader-1/recommendations?n=3")["release"] == first
        query = {"query": "MATCH (i:Item) RETURN count(i) > 0 AS some"}
        assert get(port, "/v1/cypher", query)["rows"] == [[True]]
        subprocess.run(
            [
                sys.executable,
                "-m",
                "api.cli.main",
                "--home",
                str(home),
                "refresh",
                "--preset",
                "fast",
                "--seed",
                "5",
            ],
            check=True,
            capture_output=True,
        )
        second = list_releases(opened)[-1]["name"]
        assert second != first
        seen = set()

        def swapped():
            seen.add(get(port, "/ready")["release"])
            return all(get(port, "/ready")["release"] == second for _ in range(20))

        until(swapped)
        assert seen <= {first, second}
        activate(opened, first)
        until(lambda: all(get(port, "/ready")["release"] == first for _ in range(20)))


def test_a_server_without_a_release_waits_for_one(home, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with served(empty, "--workers", "1") as port:
        with pytest.raises(urllib.error.HTTPError) as refused:
            get(port, "/ready")
        assert refused.value.code == 503
        refused.value.close()
        shutil.copytree(home / "releases", empty / "releases", dirs_exist_ok=True)
        until(lambda: get(port, "/ready")["status"] == "ready")
