"""Processor time of one list by step: in one process, with and without HTTP, alone and in batches.

The steps contain each other: what a `route` takes beyond a `list` is what is done around it. The
empty route is that of `bench serve`, in this process, with as many bytes as a list without reasons.
Requests are for random users; each figure is the best of some rounds, in turns.
"""

import argparse
import io
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
from flask import Flask

from benchmarks._sets import chosen
from benchmarks.serve import MANY, UNSAVED, home_of, path_of
from recommender.ranking.request import Request

ASKED = 1000  # requests of a round


def main(arguments: list[str]) -> dict[str, Any]:
    """Measure; `--set NAME` (default: movielens), `--home FOLDER` keeps homes."""
    parser = argparse.ArgumentParser(prog="bench steps")
    parser.add_argument("--set", default="movielens", dest="name")
    parser.add_argument("--home", type=Path, help="folder of homes; made where there is none")
    parser.add_argument("--preset", choices=["fast", "default"], default="default")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    (name,) = chosen([options.name])
    with tempfile.TemporaryDirectory(prefix="nichegraph-bench-") as folder:
        home = home_of(name, (options.home or Path(folder)) / name, options.preset)
        os.environ.update({"NICHEGRAPH_HOME": str(home.folder), **UNSAVED})
        table = [{"set": name, **row} for row in measured(options.rounds)]
    taken = {str(row["step"]): float(row["CPU µs"]) for row in table}
    return {
        "bench": "steps",
        "table": table,
        "ratios": {
            f"{what} over an empty route": round(taken[what] / taken["empty route"], 2)
            for what in ("route", "route with reasons")
        },
    }


def measured(rounds: int) -> list[dict[str, Any]]:
    """The rows of the table."""
    from api.app import create_app
    from api.bootstrap import now, open_live
    from api.settings import load_settings

    settings = load_settings()
    live = open_live(settings)
    live.watch()  # as a worker does
    app, serving = create_app(settings, live), live.recommender()
    ids = serving.release.users
    drawn = np.random.default_rng(0).integers(0, len(ids), ASKED).tolist()
    users = ids.ids(drawn)
    size = len(serving.recommend_json([Request(user=users[0], reasons=False)], now=now())[0])
    bare = Flask("empty")
    bare.add_url_rule("/", "empty", lambda: bare.response_class(b"x" * size))

    def singly(reasons: bool) -> None:
        for user in users:
            serving.recommend_json([Request(user=user, reasons=reasons)], now=now())

    def together(reasons: bool) -> None:
        for start in range(0, ASKED, MANY):
            some = users[start : start + MANY]
            serving.recommend_json([Request(user=u, reasons=reasons) for u in some], now=now())

    def over(application: Any, paths: list[str]) -> None:
        for path in paths:
            answered(application, path)

    plain = [path_of(user, reasons="false") for user in users]
    steps: dict[str, Callable[[], None]] = {
        "empty route": lambda: over(bare, ["/"] * ASKED),
        "list": lambda: singly(False),
        "list with reasons": lambda: singly(True),
        "route": lambda: over(app, plain),
        "route with reasons": lambda: over(app, [path_of(user) for user in users]),
        "list of a batch": lambda: together(False),
        "list of a batch, with reasons": lambda: together(True),
    }
    best = dict.fromkeys(steps, float("inf"))
    for turn in range(rounds + 1):  # the first warms up
        for name, work in steps.items():
            began = time.process_time()
            work()
            if turn:
                best[name] = min(best[name], time.process_time() - began)
    return [{"step": name, "CPU µs": round(1e6 * best[name] / ASKED, 1)} for name in steps]


def answered(application: Any, path: str) -> bytes:
    """The body of a GET, by a bare call of a WSGI application."""
    parts = urlsplit(path)
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": unquote(parts.path, "latin-1"),
        "QUERY_STRING": parts.query,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "127.0.0.1",
        "SCRIPT_NAME": "",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
    }

    def start(status: str, _headers: list[tuple[str, str]], _error: object = None) -> None:
        if not status.startswith("200"):
            raise SystemExit(f"bench steps: {path} was answered with {status}")

    body = application(environ, start)
    try:
        return b"".join(body)
    finally:
        if hasattr(body, "close"):
            body.close()


if __name__ == "__main__":
    import json

    print(json.dumps(main(sys.argv[1:]), indent=1))
