"""What a refresh and a worker cost as the catalogue grows: time and memory per item.

Each size is a generated catalogue of planted niches, ten events to an item. The build is that of a
refresh (snapshot, weighting, table, vectors, index, release). It reads its data from memory, since
loading has a bench of its own, and leaves out segments, which are learned from at most 20,000 users
at any size. Then a worker opens the release and answers. Each runs in a process of its own, so
that peaks of memory are not mixed. Compared with implicit's ALS (64 factors, 15 iterations) on the
same weighted matrix, with as many threads, and its `recommend` for the same users.

`peak` is the most that a build held, as the kernel says, with the pages of files that it reads;
`peak own` leaves those out, since the system can take them back, and is looked at fifty times a
second. `own` is the part of a worker's memory that belongs to it alone; `mapped` are pages of the
release that it has touched, which the workers of a host share. The columns with `http` are those of
a server with two workers that wrk asks for the same users, over one connection (p50) and over 16;
there `own` and `shared` are what the kernel says of a worker after that. `niche` is the share of
recommended items that lie in the user's own two niches; items in no niche (the popular head) count
as outside.
"""

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.serve import SCRIPT, Case, ask, ours, path_of
from graph.model import SCHEMAS
from graph.snapshot import take_snapshot
from graph.weighting import weigh
from loaders.synthetic import END, Synthetic, generate
from recommender.learning.build import RefreshConfig
from recommender.learning.train import build_release
from recommender.ranking.request import Request
from recommender.releases.home import Home
from recommender.releases.publishing import current, open_release, publish
from recommender.releases.release import Release
from recommender.serving.recommend import Recommender

PER_ITEM = 10  # events
SHOWN = 20
ASKED = 1000  # users
THREADS = 2
MB = 1e6
UNITS = {"k": 1000, "M": 1_000_000}
Row = dict[str, Any]


def main(arguments: list[str]) -> dict[str, Any]:
    """Measure; `--sizes 10k,30k` items (`10k,100k,1M` takes an hour), `--presets fast,default`."""
    parser = argparse.ArgumentParser(prog="bench scale")
    parser.add_argument("--sizes", default="10k,30k", help="items, as 300, 10k or 1M")
    parser.add_argument("--presets", default="fast,default")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=int, default=4, help="over HTTP; 0: no server is started")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    presets = [name for name in options.presets.split(",") if name]
    with tempfile.TemporaryDirectory(prefix="nichegraph-bench-") as folder:
        apart(built, 300, options.seed, "default", folder)  # whatever is not yet compiled
    table: list[Row] = []
    for size in (number(word) for word in options.sizes.split(",")):
        with tempfile.TemporaryDirectory(prefix="nichegraph-bench-") as folder:
            for preset in presets:
                home = str(Path(folder) / preset)
                row = {"items": size, "events": PER_ITEM * size, "what": f"preset {preset}"}
                row |= apart(built, size, options.seed, preset, home)
                row |= apart(served, size, options.seed, home)
                table.append(row | apart(over_http, size, options.seed, home, options.seconds))
            row = {"items": size, "events": PER_ITEM * size, "what": "ALS (implicit)"}
            table.append(row | apart(als, size, options.seed))
    return {"bench": "scale", "seed": options.seed, "table": table, "ratios": ratios(table)}


def apart(work: Callable[..., Row], *arguments: Any) -> Row:
    """What `work` gives in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def built(size: int, seed: int, preset: Any, folder: str) -> Row:
    """A refresh into `folder`: seconds, peak memory, bytes of the release."""
    own = OwnPeak()
    store = Made(generate(PER_ITEM * size, seed, items=size))
    began, busy = time.perf_counter(), time.process_time()

    def say(step: str) -> None:
        took = time.process_time() - busy
        print(f"{size:,} {took:6.1f} CPU s {memory('VmRSS'):6.0f} MB: {step}", file=sys.stderr)

    say(f"preset {preset}")
    config = RefreshConfig(preset=preset, threads=THREADS)
    snapshot = take_snapshot(store)  # type: ignore[arg-type]
    del store  # one in a file or on a server takes no memory either
    pa.default_memory_pool().release_unused()
    graph = weigh(snapshot, config.weighting, END)
    home = Home(Path(folder)).create()
    made = build_release(snapshot, graph, config, home.folder / "made", now=END, say=say)
    release = publish(home, made.folder, "scale")
    took = time.perf_counter() - began, time.process_time() - busy
    say("done")
    files = sum(path.stat().st_size for path in release.folder.iterdir())
    peak_own = {"peak own MB": round(own.stop())}
    return costs(size, *took) | peak_own | {"release KB/item": round(files / 1e3 / size, 2)}


def served(size: int, seed: int, folder: str) -> Row:
    """A worker over the release in `folder`: milliseconds, users/s, memory, niches."""
    recommender = Recommender(released(folder))
    catalogue = generate(PER_ITEM * size, seed, items=size)
    users = users_asking(catalogue)
    requests = [Request(user=user, n=SHOWN, reasons=False) for user in users]
    recommender.recommend(requests[:5], now=END)  # what is compiled is loaded
    singly = [
        timed(lambda request=request: recommender.recommend([request], now=END))
        for request in requests
    ]
    seconds, answers = timed(lambda: recommender.recommend(requests, now=END))
    shown = [[item.item for item in answer.items] for answer in answers]
    return answered([took for took, _ in singly], seconds) | {
        "niche": niche_share(catalogue, users, shown),
        "own MB": round(memory("RssAnon")),
        "mapped MB": round(memory("RssFile")),
    }


def over_http(size: int, seed: int, folder: str, seconds: int) -> Row:
    """A server over the home in `folder`: requests/s, milliseconds, memory of a worker."""
    if not seconds:
        return {}
    paths = [
        path_of(user, reasons="false")
        for user in users_asking(generate(PER_ITEM * size, seed, items=size))
    ]
    home, case = Home(Path(folder)), Case("plain", paths)
    script = home.folder / "ask.lua"
    script.write_text(SCRIPT, encoding="utf-8")
    with ours(home, argparse.Namespace(workers=2, threads=2)) as server:
        for turn in range(2):  # the first warms up
            alone, busy = (ask(server, case, count, seconds, script, turn) for count in (1, 16))
        own, shared = server.memory(home.releases)
    return {
        "http requests/s": round(busy["requests/s"]),
        "http p50 ms": round(alone["p50 ms"], 2),
        "http p99 ms": round(busy["p99 ms"], 2),
        "http CPU µs": round(busy["CPU µs"]),
        "http own MB": round(own),
        "http shared MB": round(shared),
    }


def released(folder: str) -> Release:
    home = Home(Path(folder))
    return open_release(home.releases / str(current(home)))


def als(size: int, seed: int) -> Row:
    """The same figures of implicit's ALS."""
    from implicit.als import AlternatingLeastSquares
    from scipy.sparse import csr_matrix
    from threadpoolctl import threadpool_limits

    catalogue = generate(PER_ITEM * size, seed, items=size)
    store = Made(catalogue)
    began, busy = time.perf_counter(), time.process_time()
    snapshot = take_snapshot(store)  # type: ignore[arg-type]
    likes = csr_matrix(weigh(snapshot, RefreshConfig().weighting, END).user_items)
    model = AlternatingLeastSquares(
        factors=64, iterations=15, alpha=5.0, random_state=seed, num_threads=THREADS
    )
    with threadpool_limits(1, "blas"):  # implicit runs its own threads
        model.fit(likes, show_progress=False)
    row = costs(size, time.perf_counter() - began, time.process_time() - busy)
    users = users_asking(catalogue)
    rows = snapshot.users.rows(users)
    model.recommend(rows[0], likes[rows[0]], N=SHOWN)
    singly = [timed(lambda row=row: model.recommend(row, likes[row], N=SHOWN)) for row in rows]
    seconds, (lists, _) = timed(lambda: model.recommend(rows, likes[rows], N=SHOWN))
    shown = [snapshot.items.ids(rows_shown.tolist()) for rows_shown in lists]
    niche = niche_share(catalogue, users, shown)
    return row | answered([took for took, _ in singly], seconds) | {"niche": niche}


class Made:
    """A generated catalogue in memory: all that a refresh asks of a store."""

    def __init__(self, catalogue: Synthetic) -> None:
        parts: dict[str, list[pa.Table]] = {name: [] for name in SCHEMAS}
        for batch in catalogue.batches():
            for name, rows in batch.items():
                parts[name].append(rows)
        self._tables = {
            name: pa.concat_tables(rows) if rows else SCHEMAS[name].empty_table()
            for name, rows in parts.items()
        }
        self._events = catalogue.events

    def watermark(self) -> int:
        return self._events

    def read(self, table: str, *, until: int | None = None) -> pa.Table:  # noqa: ARG002
        return self._tables[table]


def users_asking(catalogue: Synthetic) -> list[str]:
    """Ids of the users that are asked for."""
    users = catalogue.answers.users
    drawn = np.random.default_rng(0).permutation(len(users))[:ASKED]
    return [users[row] for row in drawn.tolist()]


def niche_share(catalogue: Synthetic, users: list[str], shown: list[list[str]]) -> float:
    """The mean share of the lists' places that hold items of the users' own niches."""
    answers = catalogue.answers
    niche_of = dict(zip(answers.items, answers.item_niches.tolist(), strict=True))
    row_of = {user: row for row, user in enumerate(answers.users)}
    right = 0
    for user, items in zip(users, shown, strict=True):
        own = set(answers.user_niches[row_of[user]].tolist())
        right += sum(niche_of[item] in own for item in items)
    return round(right / (SHOWN * len(users)), 3)


def costs(size: int, seconds: float, cpu: float) -> Row:
    peak = memory("VmHWM")
    return {
        "build s": round(seconds, 1),
        "CPU µs/item": round(1e6 * cpu / size),
        "peak MB": round(peak),
        "peak KB/item": round(1000 * peak / size, 2),
    }


def answered(singly: list[float], together: float) -> Row:
    p50, p99 = np.percentile(singly, [50, 99])
    return {
        "p50 ms": round(1000 * float(p50), 2),
        "p99 ms": round(1000 * float(p99), 2),
        "users/s": round(len(singly) / together),
    }


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


class OwnPeak:
    """The most that this process held of its own from now on; pages of files are left out."""

    def __init__(self) -> None:
        self._most, self._over = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._over.wait(0.02):
            self._most = max(self._most, memory("RssAnon"))

    def stop(self) -> float:
        """Megabytes."""
        self._over.set()
        self._thread.join()
        return self._most


def memory(field: str) -> float:
    """Megabytes of this process, by the kernel's name for them."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{field}:"):
            return 1024 * int(line.split()[1]) / MB
    return float("nan")


def number(word: str) -> int:
    """10k -> 10,000."""
    return int(float(word[:-1]) * UNITS[word[-1]]) if word[-1] in UNITS else int(word)


def ratios(table: list[Row]) -> dict[str, float]:
    """Each preset over ALS at each size, and per item the largest size over the smallest."""
    result: dict[str, float] = {}
    of = {(row["items"], row["what"]): row for row in table}
    sizes = sorted({row["items"] for row in table})
    for (size, ranker), row in of.items():
        als_row = of[size, "ALS (implicit)"]
        if row is als_row:
            continue
        for column in ("CPU µs/item", "peak MB", "p50 ms", "niche"):
            name = f"{ranker}: {column} over ALS, {size:,} items"
            result[name] = round(row[column] / max(als_row[column], 1e-9), 3)
        if size == sizes[-1] != sizes[0]:
            for column in ("CPU µs/item", "peak KB/item"):
                grown = row[column] / of[sizes[0], ranker][column]
                result[f"{ranker}: {column}, {size:,} over {sizes[0]:,}"] = round(grown, 3)
    return result


if __name__ == "__main__":
    import json

    print(json.dumps(main(sys.argv[1:]), indent=1))
