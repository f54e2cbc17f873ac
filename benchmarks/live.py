"""From an acknowledged write to its effect in every worker, and what the overlay costs.

Two servers with a worker each follow one home, so that each worker can be asked for itself. Memory
and time to start are those of a process that opens the release and reads the journal as a worker
does. Lists with an overlay are compared with those without in one process, in turns.
"""

import argparse
import http.client
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.inbox import _free_port, _home, _wait_for
from graph.model import tag_parts
from recommender.inbox.facts import PUT, Fact, fact
from recommender.inbox.journal import Journal
from recommender.ranking.request import Request
from recommender.releases.home import Home
from recommender.serving.live import Live
from recommender.serving.recommend import Recommender

NOW = 1_760_000_000
TOGETHER = 10_000  # facts of one transaction
TURNS, FEW = 30, 20  # in turns so many lists are made
NEW_ITEMS = 10  # beside which lists are made
LONGEST = 20.0  # seconds that an effect is waited for
JSON = {"Content-Type": "application/json"}


def main(arguments: list[str]) -> dict:
    """Measure; `--times N` of each kind of write, `--events N` and `--items N` overlaid."""
    parser = argparse.ArgumentParser(prog="bench live")
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        home = _home(Path(folder) / "home")
        table: list[dict] = [*_effects(home, chosen.times)]
        costs = {
            name: _cost(home, Path(folder) / name, facts)
            for name, facts in (
                ("events", _events(home, chosen.events)),
                ("items", _items(home, chosen.items)),
            )
        }
        ratio = _lists(home, Path(folder) / "lists")
        beside = {
            text: _beside_new_items(home, Path(folder) / text, reasons=reasons)
            for text, reasons in (("with reasons", True), ("without reasons", False))
        }
    slowest = max(row["p99 ms"] for row in table)
    table += [{"what": f"overlay of {name}", **cost} for name, cost in costs.items()]
    return {
        "bench": "live",
        "table": table,
        "ratios": {
            "the slowest p99 from acknowledgement to effect over 1 s": round(slowest / 1e3, 3),
            "lists of users without newer events, with 100,000 overlaid events over none": ratio,
            **{
                f"lists {text} beside {NEW_ITEMS} new items among 1,000 over lists without": figure
                for text, figure in beside.items()
            },
            "seconds to read the events over the promise of 10": round(
                costs["events"]["seconds"] / 10, 3
            ),
            "memory of both over the promise of 500 MB a worker": round(
                sum(cost["MB"] for cost in costs.values()) / 500, 3
            ),
        },
    }


# ── from acknowledgement to effect ───────────────────────────────────────────────────────


def _effects(home: Home, times: int) -> Iterator[dict]:
    """For each kind of write, how long after its acknowledgement each worker showed its effect."""
    with ExitStack() as stack:
        ports = [stack.enter_context(_server(home)) for _ in range(2)]
        users = [f"reader-{number}" for number in range(100, 100 + 2 * times)]
        for kind, one_write in (
            ("an event", lambda number: _click(ports[0], users[number])),
            ("a new item", lambda number: _publish(ports[0], number)),
            ("a hidden item", lambda _: _hide(ports[0])),
            ("an erased person", lambda number: _erase(ports[0], users[times + number])),
        ):
            seconds = [took for number in range(times) for took in _until(ports, one_write(number))]
            seconds.sort()
            yield {
                "what": kind,
                "times, in each of 2 workers": times,
                "p50 ms": round(statistics.median(seconds) * 1e3),
                "p99 ms": round(seconds[int(len(seconds) * 0.99)] * 1e3),
            }


@contextmanager
def _server(home: Home) -> Iterator[int]:
    port = _free_port()
    words = ["--home", str(home.folder), "serve", "--port", str(port), "--workers", "1"]
    server = subprocess.Popen(
        [sys.executable, "-m", "api.cli.main", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(port, "/ready")
        yield port
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)


def _until(ports: list[int], seen: Callable[[int], bool]) -> list[float]:
    """Seconds from now until each worker shows the effect."""
    began = time.monotonic()
    took = [float("inf")] * len(ports)

    def watch(at: int) -> None:
        while time.monotonic() - began < LONGEST:
            if seen(ports[at]):
                took[at] = time.monotonic() - began
                return
            time.sleep(0.002)

    watchers = [threading.Thread(target=watch, args=(at,)) for at in range(len(ports))]
    for watcher in watchers:
        watcher.start()
    for watcher in watchers:
        watcher.join()
    if max(took) > LONGEST:
        raise RuntimeError(f"no effect after {LONGEST:g} s")
    return took


def _call(port: int, method: str, path: str, body: Any = None) -> Any:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request(method, path, None if body is None else json.dumps(body), JSON)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status} {content[:200]!r}")
        return json.loads(content)


def _listed(port: int, path: str) -> list[str]:
    return [entry["item"] for entry in _call(port, "GET", path)["items"]]


def _click(port: int, user: str) -> Callable[[int], bool]:
    path = f"/v1/users/{user}/recommendations?n=5&reasons=false"
    item = _listed(port, path)[0]
    _call(port, "POST", "/v1/events", {"user": user, "item": item, "event_id": user})
    return lambda other: item not in _listed(other, path)


def _publish(port: int, number: int) -> Callable[[int], bool]:
    item = f"fresh-{number}"
    _call(port, "PUT", f"/v1/items/{item}", {"title": item, "tags": [f"fresh tag {number}"]})
    path = f"/v1/search?q={item}&n=5"
    return lambda other: item in json.dumps(_call(other, "GET", path))


def _hide(port: int) -> Callable[[int], bool]:
    item = _listed(port, "/v1/popular?n=1")[0]
    _call(port, "PATCH", f"/v1/items/{item}", {"hidden": True})
    return lambda other: item not in _listed(other, "/v1/popular?n=3")


def _erase(port: int, user: str) -> Callable[[int], bool]:
    _call(port, "DELETE", f"/v1/users/{user}")
    path = f"/v1/users/{user}/recommendations?n=1&reasons=false"
    return lambda other: _call(other, "GET", path)["served_by"] == "popular"


# ── what the overlay costs ───────────────────────────────────────────────────────────────


def _events(home: Home, count: int) -> Iterator[Fact]:
    """Ten events each of known and of new users, on known items."""
    items = list(Live(home).recommender().release.items)
    for number in range(count):
        user = number // 10
        name = f"reader-{user}" if user % 2 else f"newcomer-{user}"
        content = {"user": name, "item": items[number * 7919 % len(items)], "kind": "view"}
        yield fact("events", content | {"event_id": f"e{number}", "at": NOW + number % 1000})


def _items(home: Home, count: int) -> Iterator[Fact]:
    """New items with a title, three tags that others have, and a domain: all find their place."""
    known = [tag_parts(key) for key in Live(home).recommender().release.tags]
    for number in range(count):
        own = {known[number * k % len(known)] for k in (1, 3, 7)}
        tags = [{"category": category, "tag": tag} for category, tag in sorted(own)]
        content = {"id": f"fresh-{number}", "title": f"Fresh item {number}", "tags": tags}
        yield fact(PUT, content | {"created_at": NOW, "domains": [{"domain": "fresh"}]})


def _cost(home: Home, folder: Path, facts: Iterator[Fact]) -> dict:
    """Memory and time of a process that reads these facts at start, as a worker does."""
    count = _written(folder / "journal.sqlite", facts)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.live", str(home.folder), str(folder / "journal.sqlite")],
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    return {"facts": count, **json.loads(done.stdout)}


def _written(path: Path, facts: Iterator[Fact]) -> int:
    journal, count, some = Journal(path), 0, []
    for each in facts:
        some.append(each)
        if len(some) == TOGETHER:
            count += len(journal.append(some, now=NOW))
            some = []
    count += len(journal.append(some, now=NOW))
    journal.close()
    return count


def _resident() -> float:
    """MB of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def _peak() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1e3


def measure(home: Path, journal_file: Path) -> dict:
    """What reading the journal costs in this process; run as a process of its own."""
    from api.app import leave_pandas_out

    leave_pandas_out()
    bare = Live(Home(home)).recommender()
    bare.recommend_json([Request()], now=NOW)
    before, began, worked = _resident(), time.perf_counter(), time.process_time()
    live = Live(Home(home), journal=Journal(journal_file))
    overlay = live.recommender().overlay
    took, worked = time.perf_counter() - began, time.process_time() - worked
    again = time.perf_counter()
    live.recommender().recommend_json([Request(user="reader-1")], now=NOW)
    return {
        "seconds": round(took, 2),
        "processor seconds": round(worked, 2),
        "MB": round(_resident() - before),
        "peak MB": round(_peak() - before),
        "users": len(overlay.users),
        "first list ms": round((time.perf_counter() - again) * 1e3, 1),
    }


def _lists(home: Home, folder: Path) -> float:
    """Time of lists of users without newer events, with an overlay over without, in turns."""
    _written(folder / "journal.sqlite", _events(home, 100_000))
    without = Live(home).recommender()
    with_ = Live(home, journal=Journal(folder / "journal.sqlite")).recommender()
    users = [user for user in without.release.users if user not in with_.overlay.users]
    return _in_turns(without, with_, users)


def _beside_new_items(home: Home, folder: Path, *, reasons: bool) -> float:
    """Time of lists beside a few new items over that of lists without any, in turns."""
    _written(folder / "journal.sqlite", _items(home, NEW_ITEMS))
    without = Live(home).recommender()
    with_ = Live(home, journal=Journal(folder / "journal.sqlite")).recommender()
    return _in_turns(without, with_, list(without.release.users), reasons=reasons)


def _in_turns(
    without: Recommender, with_: Recommender, users: list[str], *, reasons: bool = True
) -> float:
    """Processor time with the overlay over that without, each the best of some turns.

    A few lists are made by the one and then by the other, so that other work disturbs both alike.
    """
    requests = [Request(user=user, reasons=reasons) for user in users[:200]]
    parts = [requests[start : start + FEW] for start in range(0, len(requests), FEW)]
    best = [[float("inf")] * len(parts) for _ in range(2)]
    for _ in range(TURNS):
        for number, part in enumerate(parts):
            for serving, own in zip((without, with_), best, strict=True):
                began = time.process_time()
                for request in part:
                    serving.recommend_json([request], now=NOW)
                own[number] = min(own[number], time.process_time() - began)
    return round(sum(best[1]) / sum(best[0]), 3)


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]), Path(sys.argv[2]))))
