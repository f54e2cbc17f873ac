"""A server under mixed traffic for hours: whether memory, open files or threads grow.

Clients ask for lists of all kinds, write events, items and consents, erase people who come back,
and send wrong requests, at a fixed rate. Meanwhile the home is refreshed again and again, so
releases are swapped, and what was written leaves the overlay. Who and what is written about comes
from fixed sets: what a server holds for good does not grow, so whatever grows is a leak. `MB/h` is
the slope of a process's own memory (RssAnon) after the warm-up, over the means of ten windows, with
its 95 % interval.
"""

import argparse
import contextlib
import http.client
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
from scipy import stats

from benchmarks.inbox import _free_port, _home
from recommender.releases.home import Home
from recommender.serving.live import Live

WINDOWS = 10  # of the time after the warm-up
SAMPLE_SECONDS = 1.0
JSON = {"Content-Type": "application/json"}
ERASING = b"being erased"  # who writes about somebody in that moment is refused rightly
PEOPLE, THINGS = 200, 50  # who writes, who comes back, what is published: of each so many
SETTINGS = {"CACHE_BYTES": "1000000", "KEEP_RELEASES": "2", "REQUEST_LOG": "0.01"}


class Stand(NamedTuple):
    """How a process stands."""

    name: str
    own: float  # MB of memory that it shares with nobody
    files: int
    threads: int


Sample = tuple[float, dict[int, Stand]]  # seconds since the start, the server's processes


def main(arguments: list[str]) -> dict[str, Any]:
    """Measure; `--minutes N` in all (120), `--rate N` requests/s, `--refresh-seconds N`."""
    parser = argparse.ArgumentParser(prog="bench soak")
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument("--warm-up", type=float, default=0.25, help="share of the time")
    parser.add_argument("--rate", type=float, default=40.0)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--refresh-seconds", type=float, default=60.0)
    parser.add_argument("--home", type=Path, help="one with a release, copied; else made up")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="nichegraph-soak-") as folder:
        own = Path(folder) / "home"
        home = Home(shutil.copytree(chosen.home, own)) if chosen.home else _home(own)
        samples, sent, refreshes = _run(home, chosen)
    warm = 60 * chosen.minutes * chosen.warm_up
    return report([(at, stands) for at, stands in samples if at >= warm], sent, refreshes)


def report(samples: list[Sample], sent: Counter, refreshes: int) -> dict[str, Any]:
    """The table of processes, and what must hold of all of them."""
    kept = sorted(set.intersection(*(set(stands) for _, stands in samples)))
    return {
        "bench": "soak",
        "table": [_about([(at, stands[pid]) for at, stands in samples]) for pid in kept],
        "sent": dict(sorted(sent.items())),
        "ratios": {
            "requests": sum(sent.values()),
            "failed": sum(count for name, count in sent.items() if name.startswith("failed")),
            "refreshes that were swapped to": refreshes,
            "processes that ended": len(set(samples[0][1]) - set(kept)),
        },
    }


def _about(course: list[tuple[float, Stand]]) -> dict[str, Any]:
    slope, low, high = slope_of([(at / 3600, stand.own) for at, stand in course])
    halves = [course[: len(course) // 2], course[len(course) // 2 :]]
    return {
        "process": course[0][1].name,
        "MB": round(statistics.mean(stand.own for _, stand in course), 1),
        "MB/h": round(slope, 2),
        "95 %": f"{low:.2f} to {high:.2f}",
        "files": " then ".join(_range([stand.files for _, stand in half]) for half in halves),
        "files, mostly": " then ".join(
            str(statistics.median_low([stand.files for _, stand in half])) for half in halves
        ),
        "threads": " then ".join(_range([stand.threads for _, stand in half]) for half in halves),
    }


def _range(counts: list[int]) -> str:
    """Fewest and most: what is never closed raises the fewest, what is open for a moment not.

    While a worker swaps releases it has two of them open.
    """
    fewest, most = min(counts), max(counts)
    return str(fewest) if fewest == most else f"{fewest} to {most}"


def slope_of(points: list[tuple[float, float]]) -> tuple[float, float, float]:
    """Slope over the means of `WINDOWS` windows, and its 95 % interval by Student's t."""
    windows = [np.mean(part, axis=0) for part in np.array_split(np.array(points), WINDOWS)]
    x, y = np.array(windows).T
    if not np.ptp(y):
        return 0.0, 0.0, 0.0
    line = stats.linregress(x, y)
    reach = float(stats.t.ppf(0.975, WINDOWS - 2)) * line.stderr
    return float(line.slope), float(line.slope - reach), float(line.slope + reach)


# ── the server and what is done to it ────────────────────────────────────────────────────


def _run(home: Home, chosen: argparse.Namespace) -> tuple[list[Sample], Counter, int]:
    port, sent, stop = _free_port(), Counter(), threading.Event()
    command = [sys.executable, "-m", "api.cli.main", "--home", str(home.folder)]
    more = {f"NICHEGRAPH_{name}": text for name, text in SETTINGS.items()}
    server = subprocess.Popen(
        [*command, "serve", "--port", str(port), "--workers", str(chosen.workers)],
        env={**os.environ, **more},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    samples: list[Sample] = []
    refreshes = 0
    try:
        _wait_for(server, port)
        traffic = Traffic(home)
        pause = chosen.clients / chosen.rate
        clients = [
            threading.Thread(target=_client, args=(port, traffic, seed, pause, sent, stop))
            for seed in range(chosen.clients)
        ]
        for client in clients:
            client.start()
        began, refresh, refreshed = time.monotonic(), None, 0.0
        while (at := time.monotonic() - began) < 60 * chosen.minutes:
            samples.append(sample(server.pid, at))
            if refresh is None and at - refreshed > chosen.refresh_seconds:
                words = ["refresh", "--preset", "fast", "--force", "--seed", str(refreshes)]
                refresh = subprocess.Popen(
                    [*command, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                )
            elif refresh is not None and refresh.poll() is not None:
                refreshes += refresh.returncode == 0
                refresh, refreshed = None, at
            time.sleep(SAMPLE_SECONDS)
        if refresh is not None:
            refresh.wait(120)
    finally:
        stop.set()
        server.send_signal(signal.SIGTERM)
        server.wait(30)
    for client in clients:
        client.join(60)
    return samples, sent, refreshes


def _wait_for(server: subprocess.Popen, port: int) -> None:
    """Until lists are served; compiling for the first time takes minutes on a busy machine."""
    while server.poll() is None:
        with contextlib.suppress(OSError), closing(_connection(port)) as connection:
            connection.request("GET", "/ready")
            if connection.getresponse().status == 200:
                return
        time.sleep(0.5)
    raise RuntimeError(f"the server ended with code {server.returncode}")


def _connection(port: int) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", port, timeout=60)


def _client(
    port: int, traffic: "Traffic", seed: int, pause: float, sent: Counter, stop: threading.Event
) -> None:
    """Send a request every `pause` seconds; a server that ends is no failure."""
    rng = random.Random(seed)
    with closing(_connection(port)) as connection:
        while not stop.wait(pause):
            name, method, path, body = traffic.draw(rng)
            try:
                connection.request(method, path, None if body is None else json.dumps(body), JSON)
                answer = connection.getresponse()
                text = answer.read()
            except (OSError, http.client.HTTPException) as error:
                if not stop.is_set():
                    sent[f"failed: {name}: {type(error).__name__}"] += 1
                connection.close()
                continue
            refused = answer.status >= 400 and ERASING not in text
            wrong = answer.status >= 500 or refused != (name == "wrong")
            sent[f"failed: {name}: {answer.status}" if wrong else name] += 1


class Traffic:
    """Draws requests; who and what they are about comes from fixed sets."""

    def __init__(self, home: Home) -> None:
        release = Live(home).recommender().release
        self.users, self.items = list(release.users), list(release.items)
        self.kinds = [name for name in dir(self) if name.startswith("draw_")]
        self.weights = [SHARES[name.removeprefix("draw_")] for name in self.kinds]

    def draw(self, rng: random.Random) -> tuple[str, str, str, Any]:
        """A kind, method, path and body."""
        (kind,) = rng.choices(self.kinds, self.weights)
        return (kind.removeprefix("draw_"), *getattr(self, kind)(rng))

    def draw_list(self, rng: random.Random) -> tuple[str, str, Any]:
        return "GET", f"/v1/users/{quote(rng.choice(self.users))}/recommendations?n=20", None

    def draw_stranger(self, rng: random.Random) -> tuple[str, str, Any]:
        return "GET", f"/v1/users/{rng.random()}/recommendations", None

    def draw_many(self, rng: random.Random) -> tuple[str, str, Any]:
        subjects: list[dict] = [{"user": user, "n": 10} for user in rng.sample(self.users, 8)]
        subjects.append({"items": rng.sample(self.items, 3)})
        return "POST", "/v1/recommendations", {"subjects": subjects}

    def draw_why(self, rng: random.Random) -> tuple[str, str, Any]:
        user, item = quote(rng.choice(self.users)), quote(rng.choice(self.items))
        return "GET", f"/v1/users/{user}/recommendations/{item}/why", None

    def draw_look(self, rng: random.Random) -> tuple[str, str, Any]:
        item = quote(rng.choice(self.items))
        paths = [f"/v1/items/{item}/similar", "/v1/popular", "/v1/trending", "/v1/search?q=e"]
        return (
            "GET",
            rng.choice([*paths, "/metrics", "/ready", f"/v1/graph?kind=item&id={item}"]),
            None,
        )

    def draw_event(self, rng: random.Random) -> tuple[str, str, Any]:
        number = rng.randrange(PEOPLE * 10)
        user, at = self.users[number % len(self.users)], 1_759_000_000 + number
        item = self.items[number * 31 % len(self.items)]
        event = {"user": user, "item": item, "event_id": f"e{number}", "at": at}
        if number % 2 == 0:  # somebody who may have been erased: older events would be refused
            event = {"user": f"guest-{number % PEOPLE}", "item": item, "event_id": f"e{number}"}
        return "POST", "/v1/events", event

    def draw_item(self, rng: random.Random) -> tuple[str, str, Any]:
        number = rng.randrange(THINGS)
        body = {"title": f"Thing {rng.random()}", "tags": [f"tag {number % 7}"]}
        return "PUT", f"/v1/items/thing-{number}", body

    def draw_consent(self, rng: random.Random) -> tuple[str, str, Any]:
        user = f"guest-{rng.randrange(PEOPLE)}"
        return "PUT", f"/v1/users/{user}/consent", {"personalise": rng.random() < 0.5}

    def draw_erase(self, rng: random.Random) -> tuple[str, str, Any]:
        return "DELETE", f"/v1/users/guest-{rng.randrange(PEOPLE)}", None

    def draw_wrong(self, rng: random.Random) -> tuple[str, str, Any]:
        return rng.choice(
            [
                ("GET", f"/v1/no/{rng.random()}", None),
                ("POST", "/v1/events", {"user": "ann", "value": "much"}),
                ("GET", "/v1/popular?n=many", None),
            ]
        )


SHARES = {
    "list": 50, "stranger": 5, "many": 5, "why": 3, "look": 10, "event": 20, "item": 2,
    "consent": 2, "erase": 1, "wrong": 2,
}  # fmt: skip


# ── how processes stand ──────────────────────────────────────────────────────────────────


def sample(server: int, at: float) -> Sample:
    """The server's process and those that it started."""
    stands = {}
    for pid in (server, *_children(server)):
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            status = dict(line.split(":", 1) for line in lines)
            files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
            own = int(status["RssAnon"].split()[0]) / 1e3
            stands[pid] = Stand(_name(pid), own, files, int(status["Threads"]))
        except (OSError, KeyError):  # it has just ended
            continue
    return at, stands


def _name(pid: int) -> str:
    command = Path(f"/proc/{pid}/cmdline").read_text()
    names = {"spawn_main": "worker", "api.drainer": "drainer", "serve": "server"}
    return next((name for words, name in names.items() if words in command), "other")


def _children(parent: int) -> list[int]:
    children = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if stat.read_text().rpartition(")")[2].split()[1] == str(parent):
                children.append(int(stat.parent.name))
        except OSError:
            continue
    return sorted(children)
