"""A real server ends with its requests answered, and serves a home that it cannot write."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest

from tests.test_api_worker import PATIENCE, free_port, get, until
from tests.test_compose import in_read_only_root, namespaces  # noqa: F401
from tests.test_prometheus import scraped, value

SLACK = 5  # seconds that a busy machine may need to end what was told to end
SUBJECTS = 1000  # of a request that takes a while


def start(home, port, environment, wrapped=lambda words: words, workers=1, output=None):
    words = [sys.executable, "-m", "api.cli.main", "--home", str(home), "serve"]
    return subprocess.Popen(
        wrapped([*words, "--port", str(port), "--workers", str(workers)]),
        env=os.environ | environment,
        stdout=output or subprocess.DEVNULL,
        stderr=output or subprocess.DEVNULL,
    )


@pytest.fixture
def home(planted_home, tmp_path):
    return shutil.copytree(planted_home.folder, tmp_path / "home")


def test_a_request_under_way_is_answered_before_the_server_ends(home):
    port, answers = free_port(), []
    server = start(home, port, {"NICHEGRAPH_REQUEST_SECONDS": "100"})
    body = {"subjects": [{"user": f"reader-{k}", "n": 20} for k in range(SUBJECTS)]}
    asking = threading.Thread(target=lambda: answers.append(get(port, "/v1/recommendations", body)))
    try:
        until(lambda: get(port, "/ready"))
        asking.start()
        until(lambda: value(scraped(port), "nichegraph_requests_in_flight") == 2)
        assert not answers
        server.send_signal(signal.SIGTERM)
        assert server.wait(PATIENCE) == 0
        asking.join(PATIENCE)
        assert len(answers[0]["answers"]) == SUBJECTS
        with pytest.raises(OSError):  # noqa: PT011
            get(port, "/live")
    finally:
        server.kill()
        server.wait(PATIENCE)


def test_a_stuck_request_and_a_stuck_drainer_hold_the_server_up_for_ten_seconds_at_most(home):
    """A body that never comes, and a drainer that hears nothing; the other worker is idle."""
    port = free_port()
    server = start(home, port, {}, workers=2)
    try:
        until(lambda: get(port, "/ready"))
        with socket.create_connection(("127.0.0.1", port)) as stuck:
            head = "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n"
            stuck.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode())
            until(lambda: value(scraped(port), "nichegraph_requests_in_flight") == 2)
            (drainer,) = processes("api.drainer", of=server.pid)
            os.kill(drainer, signal.SIGSTOP)
            began = time.monotonic()
            server.send_signal(signal.SIGTERM)
            assert server.wait(PATIENCE) == 0
            assert time.monotonic() - began < 10 + SLACK
            assert not processes("", of=server.pid) and not Path(f"/proc/{drainer}").exists()
    finally:
        server.kill()
        server.wait(PATIENCE)


def processes(words, of):
    """Processes of a parent whose command line has these words."""
    return [
        int(stat.parent.name)
        for stat in Path("/proc").glob("[0-9]*/stat")
        if stat.read_text().rpartition(")")[2].split()[1] == str(of)
        and words in (stat.parent / "cmdline").read_text()
    ]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """A folder for compiled code, which may be written to."""
    return tmp_path_factory.mktemp("compiled")


@pytest.mark.parametrize("inbox", [False, True], ids=["never written to", "written to before"])
def test_a_home_that_cannot_be_written_is_served_and_takes_no_writes(
    home, tmp_path, namespaces, inbox, compiled
):
    shutil.rmtree(home / "inbox", ignore_errors=True)
    if inbox:
        (home / "inbox").mkdir()
    port = free_port()
    writable = [tmp_path / "temporary", compiled]
    writable[0].mkdir()
    environment = {"TMPDIR": str(writable[0]), "NUMBA_CACHE_DIR": str(writable[1])}
    server = start(
        home, port, environment, lambda words: in_read_only_root(tmp_path, writable, words)
    )
    try:
        until(lambda: get(port, "/ready"))
        assert len(get(port, "/v1/users/reader-1/recommendations?n=3")["items"]) == 3
        with pytest.raises(urllib.error.HTTPError) as refused:
            get(port, "/v1/events", {"user": "ann", "item": "x"})
        assert refused.value.code == 503
        assert "is read-only; mount it writable" in json.load(refused.value)["detail"]
        ready = get(port, "/ready")
        assert str(home) not in json.dumps(ready)
        assert (ready["status"], ready["writes"]) == ("ready", "refused")
        assert "is read-only" in ready["inbox"]["closed"]
        assert value(scraped(port), "nichegraph_inbox_open") == 0
        assert server.poll() is None
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(PATIENCE)
