"""New releases under load: is each answer of one release, how soon in every worker, at what cost?

The real server with two workers. 16 connections ask for lists of random users without a pause, and
each answer is compared with what its release answers to that request; anything else is a failure.
Meanwhile releases are published one after the other, and older ones pruned as after a refresh. The
same requests without new releases, before, tell the normal p99. A release is late in a worker as
long as answers name the one before. Memory is that of the worker that has most of its own.
"""

import argparse
import http.client
import json
import random
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Self

import numpy as np

from benchmarks.scale import END, PER_ITEM, Made, users_asking
from benchmarks.serve import Server, ours, path_of
from graph.snapshot import take_snapshot
from graph.weighting import weigh
from loaders.synthetic import generate
from recommender.learning.build import RefreshConfig
from recommender.learning.train import build_release
from recommender.ranking.request import Request
from recommender.releases.home import Home
from recommender.releases.publishing import prune, publish
from recommender.serving.recommend import Recommender

KEPT = 2  # releases
USERS = 300
Answers = dict[str, bytes]  # path -> the items of the answer


def main(arguments: list[str]) -> dict[str, Any]:
    """Measure; `--releases 50`, `--seconds 2` between them, `--items 3000` of a made catalogue."""
    parser = argparse.ArgumentParser(prog="bench swap")
    parser.add_argument("--releases", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=2, help="between two releases")
    parser.add_argument("--items", type=int, default=3000)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="nichegraph-bench-") as folder:
        sources, expected = made(Path(folder), options.items)
        home = Home(Path(folder) / "home").create()
        published(home, sources, 0)
        with ours(home, argparse.Namespace(workers=2, threads=2)) as server:
            row = under_load(server, home, sources, expected, options)
    return {
        "bench": "swap",
        "table": [row],
        "ratios": {
            "failed requests": row["failed"],
            "p99 while releases change over the normal one": round(
                row["p99 ms"] / row["normal p99 ms"], 2
            ),
            "memory of a worker after all releases over that after three": row["memory ratio"],
        },
    }


def made(folder: Path, items: int) -> tuple[list[Path], list[Answers]]:
    """Two releases of one catalogue that rank differently, and what each answers."""
    catalogue = generate(PER_ITEM * items, 1, items=items)
    snapshot = take_snapshot(Made(catalogue))  # type: ignore[arg-type]
    users = users_asking(catalogue)[:USERS]
    sources, expected = [], []
    for number, preset in enumerate(("fast", "default")):
        config = RefreshConfig(preset=preset, threads=2)
        graph = weigh(snapshot, config.weighting, END)
        source = folder / f"made{number}"
        recommender = Recommender(build_release(snapshot, graph, config, source, now=END))
        answers = recommender.recommend_json([Request(user=user) for user in users], now=END)
        sources.append(source)
        expected.append(
            {path_of(user): items_of(text) for user, text in zip(users, answers, strict=True)}
        )
    return sources, expected


def items_of(answer: bytes) -> bytes:
    """The list itself, which says nothing of the release's name."""
    return answer[: answer.rindex(b'],"served_by"')]


def published(home: Home, sources: list[Path], number: int) -> str:
    """Publish a copy of one of the sources, by turns."""
    staged = home.releases / f"copy-{number}"
    shutil.copytree(sources[number % len(sources)], staged)
    name = publish(home, staged, f"{number % len(sources)}-of-{number}").name
    prune(home, KEPT)
    return name


class Load:
    """Connections that ask without a pause, and what they saw."""

    def __init__(self, port: int, expected: list[Answers], connections: int) -> None:
        self._port, self._expected = port, expected
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.taken: list[float] = []  # seconds of each request
        self.failed: list[str] = []
        self.last: dict[str, float] = {}  # release -> when an answer last named it
        self._threads = [
            threading.Thread(target=self._ask, args=(seed,)) for seed in range(connections)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, seed: int) -> None:
        paths = random.Random(seed)
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        while not self._stop.is_set():
            path = paths.choice(list(self._expected[0]))
            began = time.perf_counter()
            try:
                connection.request("GET", path)
                response = connection.getresponse()
                body, status = response.read(), response.status
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(repr(error))
                connection.close()
                continue
            self._note(path, status, body, time.perf_counter() - began)

    def _note(self, path: str, status: int, body: bytes, took: float) -> None:
        if status != 200:
            self.failed.append(f"{status}: {body[:200]!r}")
            return
        release = json.loads(body)["release"]
        made_from = int(release.split("-")[1])
        if items_of(body) != self._expected[made_from][path]:
            self.failed.append(f"{path}: not what {release} answers")
        with self._lock:
            self.taken.append(took)
            self.last[release] = time.monotonic()


def under_load(
    server: Server, home: Home, sources: list[Path], expected: list[Answers], options: Any
) -> dict[str, Any]:
    """The row of the table."""
    with Load(server.port, expected, options.connections) as warm:
        time.sleep(options.seconds)
    with Load(server.port, expected, options.connections) as normal:
        time.sleep(max(5 * options.seconds, 5))
    late, sizes, names = [], [], []
    with Load(server.port, expected, options.connections) as load:
        for number in range(1, options.releases + 1):
            published_at = time.monotonic()
            names.append(published(home, sources, number))
            time.sleep(options.seconds)
            before = [at for name, at in load.last.items() if name != names[-1]]
            late.append(max([at - published_at for at in before], default=0.0))
            sizes.append(server.memory(home.releases)[0])
    failed = [*warm.failed, *normal.failed, *load.failed]
    for text in failed[:5]:
        print(text)
    return {
        "releases": options.releases,
        "requests": len(load.taken),
        "failed": len(failed),
        "seen": len(load.last.keys() & set(names)),
        "normal p99 ms": round(1e3 * float(np.percentile(normal.taken, 99)), 1),
        "p99 ms": round(1e3 * float(np.percentile(load.taken, 99)), 1),
        "longest s until all workers": round(max(late), 2),
        "own MB after three": round(sizes[min(2, len(sizes) - 1)]),
        "own MB at the end": round(sizes[-1]),
        "memory ratio": round(sizes[-1] / sizes[min(2, len(sizes) - 1)], 3),
        "old files mapped": old_files(server, home),
    }


def old_files(server: Server, home: Home) -> int:
    """How many files of releases other than the newest the server's processes still map."""
    newest = max(path.name for path in home.releases.glob("[0-9]*"))
    mapped = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if int((process / "stat").read_text().rpartition(")")[2].split()[3]) != server.pid:
                continue
            for line in (process / "maps").read_text().splitlines():
                if str(home.releases) in line and newest not in line:
                    mapped.add(line.split(maxsplit=5)[-1])
        except OSError:
            continue
    return len(mapped)


if __name__ == "__main__":
    import sys

    print(json.dumps(main(sys.argv[1:]), indent=1))
