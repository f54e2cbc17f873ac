"""Lists over HTTP, compared by wrk with an empty Flask route that answers as many bytes.

The real server as `nichegraph serve` starts it, no result kept from one request for the next; the
other server is granian with the same workers and threads. They are asked in turns, case after case,
for random users. `of empty` is the median of the turns' ratios; `CPU µs` is processor time of the
server's processes for one request (for one user where many are asked for at once).

Needs wrk (`apt-get install wrk`).
"""

import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import numpy as np
from flask import Flask

from benchmarks._sets import ALL, DATA, NOW, chosen
from loaders.format import Options
from loaders.ingest import load
from recommender.learning.build import RefreshConfig
from recommender.learning.refresh import refresh
from recommender.releases.home import Home
from recommender.releases.publishing import current, open_release
from recommender.releases.release import Release

SHOWN = 20
MANY = 100  # subjects of a batch
ASKED = 2000  # different users, or batches of them
UNSAVED = {"NICHEGRAPH_CACHE_BYTES": "0"}  # every list is made anew
TRIES = 3000  # of 0.1 s each, until a server answers that may have to compile first
TICKS = os.sysconf("SC_CLK_TCK")

# wrk runs this: lines of a file are asked for at random, and the summary is one line of JSON.
SCRIPT = """
local lines = {}
for line in io.lines(os.getenv("ASKED")) do lines[#lines + 1] = line end
local post = os.getenv("POSTED") == "1"
local headers = post and {["Content-Type"] = "application/json"} or {}
function init(args) math.randomseed(tonumber(os.getenv("SEED"))) end
function request()
  local line = lines[math.random(#lines)]
  if post then return wrk.format("POST", "/v1/recommendations", headers, line) end
  return wrk.format("GET", line)
end
function done(summary, latency, requests)
  local bad = summary.errors.status + summary.errors.read + summary.errors.timeout
  io.write(string.format('\\n{"requests":%d,"us":%d,"p50":%d,"p99":%d,"bad":%d,"bytes":%d}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), bad,
    summary.bytes))
end
"""


class Case(NamedTuple):
    """What is asked for: paths, or bodies of `POST /v1/recommendations` for `users` each."""

    name: str
    lines: list[str]
    users: int = 1


class Server(NamedTuple):
    """A server that runs: the leader of its processes, and its port."""

    pid: int
    port: int

    def cpu(self) -> float:
        """Seconds of processor time of all its processes."""
        total = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == self.pid:  # its session
                total += int(fields[11]) + int(fields[12])
        return total / TICKS

    def memory(self, folder: Path) -> tuple[float, float]:
        """MB of the worker that has most of its own, and what it shares; workers map `folder`."""
        workers = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                session = int((process / "stat").read_text().rpartition(")")[2].split()[3])
                if session != self.pid or str(folder) not in (process / "maps").read_text():
                    continue
                lines = (process / "smaps_rollup").read_text().splitlines()
            except OSError:
                continue
            sizes = {"Private": 0.0, "Shared": 0.0}
            for line in lines:
                kind = line.partition("_")[0]
                if kind in sizes and line.split()[0] != "Shared_Hugetlb:":
                    sizes[kind] += 1024 * int(line.split()[1]) / 1e6
            workers.append((sizes["Private"], sizes["Shared"]))
        return max(workers)


def main(arguments: list[str]) -> dict[str, Any]:
    """Measure; `--set NAME` (default: gowalla and ml-latest-small), `--home FOLDER` keeps homes."""
    parser = argparse.ArgumentParser(prog="bench serve")
    parser.add_argument("--set", action="append", dest="sets")
    parser.add_argument("--home", type=Path, help="folder of homes; made where there is none")
    parser.add_argument("--preset", choices=["fast", "default"], default="default")
    parser.add_argument("--connections", type=int, nargs="*", default=[1, 16])
    parser.add_argument("--seconds", type=int, default=2, help="of one case, a turn")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    if shutil.which("wrk") is None:
        raise SystemExit("bench serve needs wrk, for example `apt-get install wrk`")
    table: list[dict[str, Any]] = []
    for name in chosen(options.sets or ["gowalla", "movielens"]):
        with tempfile.TemporaryDirectory(prefix="nichegraph-bench-") as folder:
            home = home_of(name, (options.home or Path(folder)) / name, options.preset)
            table += measured(name, home, Path(folder), options)
    return {"bench": "serve", "table": table, "ratios": ratios(table)}


def home_of(name: str, folder: Path, preset: Any) -> Home:
    """A home with a release of a set; as it is where there is one."""
    home = Home(folder).create()
    if current(home) is None:
        from graph.stores.embedded_store import EmbeddedStore

        data_set = ALL[name]
        with closing(EmbeddedStore(home.store)) as store:
            load(
                [DATA / data_set.folder / data_set.train],
                data_set.format,
                store,
                staging_folder=home.folder / "staging",
                rejects_file=home.folder / "rejects.csv",
                now=NOW,
                options=Options(ordered=data_set.ordered),
            )
            config = RefreshConfig(preset=preset, threads=2)
            refresh(store, home, config, now=NOW, force=True)
    return home


def measured(
    name: str, home: Home, folder: Path, options: argparse.Namespace
) -> list[dict[str, Any]]:
    """The rows of one set."""
    cases = cases_of(open_release(home.releases / str(current(home))))
    script = folder / "ask.lua"
    script.write_text(SCRIPT, encoding="utf-8")
    turns: dict[tuple[str, int], list[tuple[dict[str, float], dict[str, float]]]] = {}
    with ours(home, options) as server:
        sizes = [size_of(server, case) for case in cases]
        with empty(sizes, options) as other:
            for turn in range(options.turns + 1):  # the first only warms up
                for number, case in enumerate(cases):
                    for connections in connections_of(case, options):
                        mine, bare = (
                            ask(each, lines, connections, options.seconds, script, turn)
                            for each, lines in ((server, case), (other, Case("", [f"/{number}"])))
                        )
                        if turn:
                            turns.setdefault((case.name, connections), []).append((mine, bare))
    return [
        summed(name, case, connections, turns[case.name, connections], size)
        for case, size in zip(cases, sizes, strict=True)
        for connections in connections_of(case, options)
    ]


def connections_of(case: Case, options: argparse.Namespace) -> list[int]:
    """Batches are asked for one at a time: a worker lets one in, and sends the others away."""
    return options.connections if case.users == 1 else [1]


def cases_of(release: Release) -> list[Case]:
    """What is asked of a release."""
    rng = np.random.default_rng(0)
    users = release.users.ids(rng.permutation(len(release.users))[:ASKED].tolist())
    cases = [
        Case("plain", [path_of(user, reasons="false") for user in users]),
        Case("with reasons", [path_of(user) for user in users]),
    ]
    if len(release.domains) > 1:
        sizes = np.diff(release.domain_items.indptr)
        domain = release.domains.id(int(np.argsort(-sizes)[1]))
        lines = [path_of(user, reasons="false", domain=domain) for user in users]
        cases.append(Case("of a domain", lines))
    for case, reasons in (("batch", False), ("batch with reasons", True)):
        bodies = []
        for _ in range(50):
            some = rng.choice(len(users), MANY, replace=len(users) < MANY).tolist()
            subjects = [{"user": users[at], "n": SHOWN, "reasons": reasons} for at in some]
            bodies.append(json.dumps({"subjects": subjects}))
        cases.append(Case(case, bodies, MANY))
    return cases


def path_of(user: str, **query: str) -> str:
    return f"/v1/users/{quote(user, safe='')}/recommendations?{urlencode({'n': SHOWN, **query})}"


def size_of(server: Server, case: Case) -> int:
    """The median size of an answer, in bytes."""
    sizes = []
    for line in case.lines[:20]:
        url = f"http://127.0.0.1:{server.port}"
        data = None if case.users == 1 else line.encode()
        url += line if case.users == 1 else "/v1/recommendations"
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            sizes.append(len(answer.read()))
    return int(statistics.median(sizes))


def ask(
    server: Server, case: Case, connections: int, seconds: int, script: Path, seed: int
) -> dict[str, float]:
    """What wrk found, and processor time."""
    lines = script.with_name("asked.txt")
    lines.write_text("\n".join(case.lines), encoding="utf-8")
    url = f"http://127.0.0.1:{server.port}"
    words = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds}s",
        "--timeout=30s",
        "-s",
        str(script),
    ]
    environment = {"ASKED": str(lines), "SEED": str(seed), "POSTED": str(int(case.users > 1))}
    before = server.cpu()
    printed = subprocess.run(
        [*words, url], env={**os.environ, **environment}, capture_output=True, text=True, check=True
    ).stdout
    spent = server.cpu() - before
    figures = json.loads(printed[printed.rindex("\n{") :])
    if figures["bad"] or not figures["requests"]:
        raise SystemExit(f"bench serve: {case.name}: {figures['bad']:,} answers were no lists")
    return {
        "requests/s": figures["requests"] / figures["us"] * 1e6,
        "p50 ms": figures["p50"] / 1e3,
        "p99 ms": figures["p99"] / 1e3,
        "CPU µs": spent / figures["requests"] * 1e6,
    }


def summed(
    name: str,
    case: Case,
    connections: int,
    turns: list[tuple[dict[str, float], dict[str, float]]],
    size: int,
) -> dict[str, Any]:
    """One row of the medians over all turns."""

    def middle(side: int, what: str) -> float:
        return statistics.median(turn[side][what] for turn in turns)

    rate = middle(0, "requests/s")
    return {
        "set": name,
        "what": case.name,
        "connections": connections,
        "bytes": size,
        "requests/s": round(rate, 1),
        "users/s": round(rate * case.users),
        "empty/s": round(middle(1, "requests/s")),
        "of empty": round(
            statistics.median(mine["requests/s"] / bare["requests/s"] for mine, bare in turns), 3
        ),
        "p50 ms": round(middle(0, "p50 ms"), 2),
        "p99 ms": round(middle(0, "p99 ms"), 2),
        "CPU µs": round(middle(0, "CPU µs") / case.users),
        "empty CPU µs": round(middle(1, "CPU µs")),
    }


def ratios(table: list[dict[str, Any]]) -> dict[str, float]:
    """Each single case over the empty route, and batches over single requests."""
    figures: dict[str, float] = {}
    of = {(row["set"], row["what"], row["connections"]): row for row in table}
    for (name, what, connections), row in of.items():
        where = f"{name}, {connections} connections"
        if not what.startswith("batch"):
            figures[f"{where}: {what} over an empty route"] = row["of empty"]
            continue
        single = of.get((name, "with reasons" if "reasons" in what else "plain", connections))
        if single is None:
            continue
        ratio = row["users/s"] / single["users/s"]
        figures[f"{where}: users/s of {what} over single requests"] = round(ratio, 2)
    return figures


# ── the two servers ──────────────────────────────────────────────────────────────────────


@contextmanager
def ours(home: Home, options: argparse.Namespace) -> Iterator[Server]:
    """`nichegraph serve` over a home."""
    port = free_port()
    words = ["--home", str(home.folder), "serve", "--port", str(port)]
    words += ["--workers", str(options.workers)]
    more = {"NICHEGRAPH_THREADS": str(options.threads), **UNSAVED}
    with running([sys.executable, "-m", "api.cli.main", *words], port, "/ready", more) as server:
        yield server


@contextmanager
def empty(sizes: list[int], options: argparse.Namespace) -> Iterator[Server]:
    """An empty Flask application, whose path `/k` answers as many bytes as the k-th size says."""
    port = free_port()
    command = ["granian", "--interface", "wsgi", "--port", str(port), "--http", "1", "--no-ws"]
    command += ["--workers", str(options.workers), "--blocking-threads", str(options.threads)]
    command += ["--backlog", "1024", "--factory", "benchmarks.serve:empty_application"]
    environment = {"EMPTY_SIZES": json.dumps(sizes)}
    with running(
        [f"{Path(sys.executable).parent}/{command[0]}", *command[1:]], port, "/0", environment
    ) as server:
        yield server


def empty_application() -> Flask:
    """Routes that do nothing."""
    app = Flask("empty")

    def answering(size: int) -> Any:
        body = b'"' + b"x" * (size - 2) + b'"'
        return lambda: app.response_class(body, mimetype="application/json")

    for number, size in enumerate(json.loads(os.environ["EMPTY_SIZES"])):
        app.add_url_rule(f"/{number}", f"empty{number}", answering(size))
    return app


@contextmanager
def running(command: list[str], port: int, path: str, more: dict[str, str]) -> Iterator[Server]:
    """A server in a session of its own, from when it answers until it has ended."""
    server = subprocess.Popen(
        command,
        env={**os.environ, **more},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_for(server, port, path)
        yield Server(server.pid, port)
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)


def wait_for(server: subprocess.Popen[bytes], port: int, path: str) -> None:
    for _ in range(TRIES):
        if server.poll() is not None:
            raise SystemExit(f"bench serve: the server ended with code {server.returncode}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10):
                return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"bench serve: nothing answers at port {port}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1:]), indent=1))
