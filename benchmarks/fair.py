"""One client that sends batches of 1,000 subjects: what it does to the lists of everybody else.

Clients ask for a list every few milliseconds, over a connection each. In turns nobody else asks, or
one more client sends `POST /v1/recommendations` with 1,000 users, one after the other. The ratio of
the 99th percentiles is to stay below 3.
"""

import argparse
import http.client
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

from benchmarks.inbox import _free_port, _home, _wait_for
from recommender.releases.home import Home
from recommender.serving.live import Live

JSON = {"Content-Type": "application/json"}
SUBJECTS = 1_000
PROMISE = 3.0


def main(arguments: list[str]) -> dict[str, Any]:
    """Measure; `--turns N` of `--seconds N` each way, `--clients N` beside the greedy one."""
    parser = argparse.ArgumentParser(prog="bench fair")
    parser.add_argument("--turns", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--pause", type=float, default=0.02, help="seconds between two lists")
    parser.add_argument("--home", type=Path, help="one with a release; else it is made up")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args(arguments)
    port = _free_port()
    with tempfile.TemporaryDirectory(prefix="nichegraph-fair-") as folder:
        home = Home(chosen.home) if chosen.home else _home(Path(folder) / "home")
        users = list(Live(home).recommender().release.users)
        words = ["--home", str(home.folder), "serve", "--port", str(port)]
        server = subprocess.Popen(
            [sys.executable, "-m", "api.cli.main", *words],
            env={**os.environ, "NICHEGRAPH_CACHE_BYTES": "0"},  # every list is made anew
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _wait_for(port, "/ready")
            _turn(port, users, chosen, greedy=True)  # so that everything is compiled
            turns = [
                (_turn(port, users, chosen, greedy=False), _turn(port, users, chosen, greedy=True))
                for _ in range(chosen.turns)
            ]
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(30)
    table = [
        _row("nobody else", [alone for alone, _ in turns]),
        _row("beside batches of 1,000", [beside for _, beside in turns]),
    ]
    ratio = table[1]["p99 ms"] / table[0]["p99 ms"]
    return {
        "bench": "fair",
        "table": table,
        "ratios": {
            "p99 beside batches over p99 alone": round(ratio, 2),
            "of the promise of 3": round(ratio / PROMISE, 2),
        },
    }


Turn = tuple[list[float], int]  # seconds of each list; how many batches were answered


def _row(name: str, turns: list[Turn]) -> dict[str, Any]:
    cuts = statistics.quantiles([second for seconds, _ in turns for second in seconds], n=100)
    return {
        "what": name,
        "lists": sum(len(seconds) for seconds, _ in turns),
        "batches": sum(batches for _, batches in turns),
        "p50 ms": round(cuts[49] * 1e3, 2),
        "p99 ms": round(cuts[98] * 1e3, 2),
    }


def _turn(port: int, users: list[str], chosen: argparse.Namespace, *, greedy: bool) -> Turn:
    stop, seconds, batches = threading.Event(), [], []
    threads = [
        threading.Thread(target=_ask, args=(port, users, seed, chosen.pause, seconds, stop))
        for seed in range(chosen.clients)
    ]
    if greedy:
        threads.append(threading.Thread(target=_send_batches, args=(port, users, batches, stop)))
    for thread in threads:
        thread.start()
    time.sleep(chosen.seconds)
    stop.set()
    for thread in threads:
        thread.join()
    return seconds, len(batches)


def _ask(
    port: int,
    users: list[str],
    seed: int,
    pause: float,
    seconds: list[float],
    stop: threading.Event,
) -> None:
    rng = random.Random(seed)
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        while not stop.wait(pause):
            began = time.perf_counter()
            user = quote(rng.choice(users))
            connection.request("GET", f"/v1/users/{user}/recommendations?n=20")
            answer = connection.getresponse()
            content = answer.read()
            if answer.status != 200:
                raise RuntimeError(f"{answer.status}: {content[:200]!r}")
            seconds.append(time.perf_counter() - began)


def _send_batches(port: int, users: list[str], batches: list[int], stop: threading.Event) -> None:
    subjects = [{"user": users[number % len(users)]} for number in range(SUBJECTS)]
    body = json.dumps({"subjects": subjects})
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        while not stop.is_set():
            connection.request("POST", "/v1/recommendations", body, JSON)
            answer = connection.getresponse()
            answer.read()
            batches.append(answer.status)
