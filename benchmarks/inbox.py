"""Events written over HTTP while lists are served, compared with a bare SQLite insert per request.

Both sides run on granian with the same workers and threads, and are asked by the same clients in
the same run, in turns. The bare side parses the body and inserts its text into one table, one
committed transaction a request, `synchronous=FULL`: no checks, no identity, no drain.

`--encrypted` compares instead a journal with a key and one without, in one process without a
server, in turns: facts appended one a commit and many a commit, and read.
"""

import argparse
import http.client
import json
import multiprocessing
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from contextlib import closing
from pathlib import Path

import numpy as np

from graph.stores.embedded_store import EmbeddedStore
from loaders.synthetic import generate
from recommender.inbox.facts import fact
from recommender.inbox.journal import Journal
from recommender.learning.build import RefreshConfig
from recommender.learning.refresh import refresh
from recommender.releases.home import Home

NOW = 1_760_000_000


def main(arguments: list[str]) -> dict:
    """Measure; `--seconds N` for each part, `--clients N` at once, `--batch N` events."""
    parser = argparse.ArgumentParser(prog="bench inbox")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--batch", type=int, default=1_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--encrypted", action="store_true")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args(arguments)
    if chosen.encrypted:
        return _encrypted(chosen)
    rows: list[dict] = []
    with tempfile.TemporaryDirectory() as folder:
        home = _home(Path(folder) / "home")
        os.environ["BARE_FILE"] = str(Path(folder) / "bare.sqlite")
        ours, bare = _start_ours(home, chosen), _start_bare(chosen)
        try:
            for turn in range(chosen.rounds):
                for name, port in (("nichegraph", ours[1]), ("bare insert", bare[1])):
                    for beside in (False, True):
                        alone = _ask(name, port, ours[1], chosen, size=1, beside=beside, turn=turn)
                        batched = _ask(
                            name, port, ours[1], chosen, size=chosen.batch, beside=beside, turn=turn
                        )
                        rows += [alone, batched]
            drained = _wait_for_the_drain(ours[1])
        finally:
            for server, _ in (ours, bare):
                server.send_signal(signal.SIGTERM)
                server.wait(30)
    best = _best(rows)
    single = {name: best[name, 1, True]["requests/s"] for name in ("nichegraph", "bare insert")}
    return {
        "bench": "inbox",
        "table": list(best.values()),
        "ratios": {
            "requests/s one by one, beside lists, over a bare insert": round(
                single["nichegraph"] / single["bare insert"], 3
            ),
            "requests/s over the promise of 500": round(single["nichegraph"] / 500, 3),
            "events/s in batches over the promise of 5,000": round(
                best["nichegraph", chosen.batch, True]["events/s"] / 5_000, 3
            ),
        },
        "drain": drained,
    }


def _encrypted(chosen: argparse.Namespace) -> dict:
    """Facts/s and processor time of a journal with a key and of one without: medians of turns."""
    turns: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    sides = {"in the clear": None, "encrypted": "5a" * 32}
    for turn in range(chosen.rounds):
        for side in list(sides)[:: 1 if turn % 2 else -1]:
            with tempfile.TemporaryDirectory(dir=".") as folder:  # on a disk, not in memory
                for what, own in _appended_and_read(Path(folder), sides[side], chosen).items():
                    turns[what, side].append(own)
    table, ratios = [], {}
    for (what, side), own in turns.items():
        rate, cpu = np.median(own, axis=0).tolist()
        row = {"what": what, "side": side, "facts/s": round(rate), "CPU µs a fact": round(cpu, 1)}
        table.append(row)
        if side == "in the clear":
            with_key = np.median(turns[what, "encrypted"], axis=0)
            ratios[f"facts/s, {what}"] = round(with_key[0] / rate, 3)
            ratios[f"processor time, {what}"] = round(with_key[1] / cpu, 3)
    return {"bench": "inbox, encrypted over in the clear", "table": table, "ratios": ratios}


def _appended_and_read(
    folder: Path, key: str | None, chosen: argparse.Namespace
) -> dict[str, tuple[float, float]]:
    """What was done -> facts/s, and µs of processor time a fact."""
    result, number = {}, 0

    def since(began: tuple[float, float], count: int) -> tuple[float, float]:
        seconds, busy = time.monotonic() - began[0], time.process_time() - began[1]
        return count / seconds, busy / count * 1e6

    with closing(Journal(folder / "journal.sqlite", key=key)) as journal:
        for size in (1, chosen.batch):
            began, before = (time.monotonic(), time.process_time()), number
            while time.monotonic() < began[0] + chosen.seconds:
                events = [
                    {"user": f"reader-{k % 997}", "item": f"item-{k}", "event_id": f"e-{k}"}
                    for k in range(number, number + size)
                ]
                journal.append([fact("events", event) for event in events], now=NOW)
                number += size
            result[f"appended, {size:,} a commit"] = since(began, number - before)
        began, after = (time.monotonic(), time.process_time()), 0
        while rows := journal.facts_after(after, 10_000):
            after = rows[-1].sequence
        result["read"] = since(began, number)
    return result


def _home(folder: Path) -> Home:
    home = Home(folder).create()
    store = EmbeddedStore(home.store)
    for batch in generate(20_000, seed=1).batches():
        store.apply(batch)
    refresh(store, home, RefreshConfig(preset="fast", threads=1), now=NOW)
    store.close()
    return home


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _start_ours(home: Home, chosen: argparse.Namespace) -> tuple[subprocess.Popen, int]:
    port = _free_port()
    words = ["--home", str(home.folder), "serve", "--port", str(port)]
    words += ["--workers", str(chosen.workers)]
    environment = {**os.environ, "NICHEGRAPH_THREADS": str(chosen.threads)}
    server = subprocess.Popen(
        [sys.executable, "-m", "api.cli.main", *words],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _wait_for(port, "/ready")
    return server, port


def _start_bare(chosen: argparse.Namespace) -> tuple[subprocess.Popen, int]:
    port = _free_port()
    command = ["granian", "--interface", "wsgi", "--port", str(port), "--http", "1"]
    command += ["--workers", str(chosen.workers), "--blocking-threads", str(chosen.threads)]
    server = subprocess.Popen(
        [*command, "benchmarks.inbox:bare_application"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _wait_for(port, "/live")
    return server, port


def _wait_for(port: int, path: str) -> None:
    for _ in range(600):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise RuntimeError(f"nothing answers at port {port}")


_local = threading.local()


def bare_application(environ: dict, start: object) -> list[bytes]:
    """The plainest WSGI application that keeps what it is sent."""
    if environ["REQUEST_METHOD"] == "POST":
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        document = json.loads(body)
        if not hasattr(_local, "db"):
            _local.db = sqlite3.connect(os.environ["BARE_FILE"], timeout=30, isolation_level=None)
            _local.db.execute("PRAGMA journal_mode = WAL")
            _local.db.execute("PRAGMA synchronous = FULL")
            _local.db.execute("CREATE TABLE IF NOT EXISTS events (body TEXT)")
        texts = [(json.dumps(event),) for event in document.get("events", [document])]
        _local.db.execute("BEGIN IMMEDIATE")
        _local.db.executemany("INSERT INTO events VALUES (?)", texts)
        _local.db.execute("COMMIT")
    start("200 OK", [("Content-Type", "application/json")])  # type: ignore[operator]
    return [b"{}"]


def _ask(
    name: str,
    port: int,
    lists_port: int,
    chosen: argparse.Namespace,
    *,
    size: int,
    beside: bool,
    turn: int,
) -> dict:
    """Write for a while from several processes, with or without requests for lists meanwhile."""
    clients = chosen.clients if size == 1 else min(chosen.clients, 2)
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    mark = f"{name}-{turn}-{size}-{beside}"
    writers = [
        context.Process(target=_write, args=(port, size, chosen.seconds, f"{mark}-{k}", answers))
        for k in range(clients)
    ]
    if beside:
        writers.append(context.Process(target=_read, args=(lists_port, chosen.seconds, answers)))
    for writer in writers:
        writer.start()
    answers_read = [answers.get(timeout=chosen.seconds + 60) for _ in writers]
    for writer in writers:
        writer.join()
    took = sorted(moment for kind, moments in answers_read if kind == "write" for moment in moments)
    lists = sum(len(moments) for kind, moments in answers_read if kind == "read")
    requests = len(took) / chosen.seconds
    return {
        "side": name,
        "events a request": size,
        "clients": clients,
        "beside lists": beside,
        "requests/s": round(requests, 1),
        "events/s": round(requests * size),
        "p50 ms": round(took[len(took) // 2] * 1e3, 1),
        "p99 ms": round(took[len(took) * 99 // 100] * 1e3, 1),
        "lists/s": round(lists / chosen.seconds, 1),
    }


def _write(port: int, size: int, seconds: float, mark: str, answers: object) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    ends, took, number = time.monotonic() + seconds, [], 0
    while time.monotonic() < ends:
        events = [
            {
                "user": f"reader-{number % 997}",
                "item": f"item-{k}",
                "event_id": f"{mark}-{number}-{k}",
            }
            for k in range(size)
        ]
        body = json.dumps(events[0] if size == 1 else {"events": events})
        began = time.monotonic()
        connection.request("POST", "/v1/events", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        if answer.status not in (200, 202):
            raise RuntimeError(f"status {answer.status}")
        took.append(time.monotonic() - began)
        number += 1
    answers.put(("write", took))  # type: ignore[attr-defined]


def _read(port: int, seconds: float, answers: object) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    ends, took, number = time.monotonic() + seconds, [], 0
    while time.monotonic() < ends:
        began = time.monotonic()
        connection.request("GET", f"/v1/users/reader-{number % 997}/recommendations?reasons=false")
        connection.getresponse().read()
        took.append(time.monotonic() - began)
        number += 1
    answers.put(("read", took))  # type: ignore[attr-defined]


def _wait_for_the_drain(port: int) -> dict:
    """How long after the end of writing the store has taken everything."""
    began = time.monotonic()
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", "/ready")
        inbox = json.loads(connection.getresponse().read())["inbox"]
        if not inbox["waiting"]:
            seconds = round(time.monotonic() - began, 1)
            return {"facts": inbox["sequence"], "seconds after the last write": seconds}
        time.sleep(0.2)


def _best(rows: list[dict]) -> dict:
    best: dict = {}
    for row in rows:
        key = (row["side"], row["events a request"], row["beside lists"])
        if key not in best or row["requests/s"] > best[key]["requests/s"]:
            best[key] = row
    return best
