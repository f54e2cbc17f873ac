"""The drainer beside a real server: it comes back when it is killed, and ends with its server."""

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from api import drainer as drainer_module
from api.settings import load_settings
from graph.stores.embedded_store import EmbeddedStore
from recommender.inbox.facts import fact
from recommender.inbox.journal import Journal
from recommender.inbox.lag import read_state
from recommender.releases.audit import lines
from recommender.releases.home import Home
from tests.test_api_worker import free_port, until


@contextmanager
def server(home, port):
    """`nichegraph serve` with one worker; whatever is left of it is killed at the end."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "api.cli.main",
            "--home",
            str(home.folder),
            "serve",
            "--port",
            str(port),
            "--workers",
            "1",
        ],
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        until(lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/live", timeout=60))
        yield process
    finally:
        process.terminate()
        process.wait(60)


def children(parent, word):
    """Process ids of what a server started whose command line holds a word."""
    result = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if word not in (path / "cmdline").read_bytes():
                continue
            if int((path / "stat").read_text().rpartition(")")[2].split()[1]) == parent.pid:
                result.append(int(path.name))
        except (OSError, IndexError):
            continue
    return result


def drainers(parent):
    return children(parent, b"api.drainer")


def send(port, *items):
    body = {"events": [{"user": "ann", "item": item, "event_id": item} for item in items]}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/events",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["sequence"]


def alive(pid):
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at /proc")
@pytest.mark.parametrize("encrypted", [False, True])
def test_killed_drainers_and_servers_neither_lose_nor_double(tmp_path, monkeypatch, encrypted):
    home = Home(tmp_path / "home").create()
    if encrypted:
        key = tmp_path / "journal.key"
        key.touch(0o600)
        key.write_text("5a" * 32)
        monkeypatch.setenv("NICHEGRAPH_JOURNAL_KEY_FILE", str(key))

    def drained(sequence):
        state = read_state(home.inbox)
        return state is not None and state.position >= sequence

    first_port, second_port = free_port(), free_port()
    with server(home, first_port) as first:
        until(lambda: drainers(first))
        until(lambda: drained(send(first_port, "a")))
        (pid,) = drainers(first)
        os.kill(pid, signal.SIGKILL)
        sent = send(first_port, "b")  # is acknowledged without a drainer
        until(lambda: drained(sent))
        (pid,) = drainers(first)
        with server(home, second_port) as second:
            until(lambda: drainers(second))
            sent = send(second_port, "c", "a")
            until(lambda: drained(sent))
            workers = children(first, b"multiprocessing")  # they outlive a server that is killed
            first.kill()  # the second server's drainer takes over
            until(lambda: not alive(pid))
            sent = send(second_port, "d")
            until(lambda: drained(sent))
            (pid,) = drainers(second)
            for worker in workers:
                os.kill(worker, signal.SIGKILL)
        until(lambda: not alive(pid))
    store = EmbeddedStore(home.store)
    assert sorted(store.read("events")["item"].to_pylist()) == ["a", "b", "c", "d"]
    store.close()


def test_a_drainer_that_is_asked_to_end_ends_well(tmp_path):
    home = Home(tmp_path / "home").create()
    EmbeddedStore(home.store).close()
    words = [sys.executable, "-m", "api.drainer"]
    environment = os.environ | {"NICHEGRAPH_HOME": str(home.folder)}
    pipe = subprocess.PIPE
    with subprocess.Popen(words, env=environment, stdin=pipe, stdout=pipe, stderr=pipe) as drainer:
        assert drainer.stdout.read(1)  # it beats
        drainer.terminate()
        assert drainer.wait(60) == 0, drainer.stderr.read()


def test_how_it_stands_is_told_although_facts_keep_coming(tmp_path, monkeypatch):
    """It never finds the journal empty: whatever it writes, there is a further fact."""
    home = Home(tmp_path / "home").create()
    journal = Journal(home.inbox)

    class Busy(EmbeddedStore):
        """Where each write takes as long as the next event takes to come."""

        def apply(self, batch, **options):
            done = super().apply(batch, **options)
            journal.append([fact("items", {"id": f"item-{journal.last_sequence()}"})], now=1)
            return done

    monkeypatch.setattr(drainer_module, "open_store", lambda _: Busy(home.store))
    monkeypatch.setattr(drainer_module, "_beat", lambda: None)
    journal.append([fact("items", {"id": "item"})], now=1)
    stop = threading.Event()
    settings = load_settings(home.folder)
    draining = threading.Thread(target=drainer_module._drain_on, args=(settings, home, stop))
    draining.start()
    try:
        until(lambda: (state := read_state(home.inbox)) is not None and state.position > 1)
        until(lambda: any(line["what"] == "write" for line in lines(home.audit)))
        written = [line for line in lines(home.audit) if line["what"] == "write"]
        assert draining.is_alive()
    finally:
        stop.set()
        draining.join()
    with closing(journal):
        state = read_state(home.inbox)
        assert (state.position, state.problem) == (journal.last_sequence() - 1, None)
    assert written[0]["after"] == 0
    assert 1 < written[-1]["upto"] <= state.position
