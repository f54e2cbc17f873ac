"""A Gorse that runs beside us, on the same pairs with the same split: how good, how fast.

Gorse is started by whoever runs this (docs/comparison.md says how), with an empty data store. Both
get the relevant train pairs of a set with their times and nothing else, over their own doors:
`nichegraph load` and `POST /api/feedback`. Both are then asked over HTTP for 20 items for each user
with test pairs; what a user chose in train is left out by both. Requests/s are wrk's, in turns.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from scipy.sparse import csr_array

from benchmarks import _sets
from benchmarks.serve import SCRIPT, SHOWN, Case, Server, ask, ours, path_of
from embeddings import metrics
from graph.snapshot import GraphSnapshot
from graph.vocabulary import Vocabulary
from graph.weighting import weigh
from recommender.evaluation.truth import known_truth
from recommender.learning.build import RefreshConfig
from recommender.learning.split import Pairs, relevant_pairs
from recommender.releases.home import Home

KIND = "like"  # of feedback; positive_feedback_types of Gorse's configuration
TOGETHER = 5_000  # pairs of one request


def main(arguments: list[str]) -> dict[str, Any]:
    """Measure; `--port N` of a Gorse on this machine, `--wait N` seconds for it to learn."""
    parser = argparse.ArgumentParser(prog="bench gorse")
    parser.add_argument("--set", default="movielens")
    parser.add_argument("--port", type=int, default=8087)
    parser.add_argument("--wait", type=float, default=900.0)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--preset", choices=["fast", "default"], default="default")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    config = RefreshConfig()
    with tempfile.TemporaryDirectory(prefix="nichegraph-gorse-") as name:
        folder = Path(name)
        fit, test = _sets.parts(_sets.chosen([options.set])[0], config, folder)
        graph = weigh(fit, config.weighting, _sets.NOW)
        pairs = relevant_pairs(fit, graph.user_items, config.seed)
        truth, _ = known_truth(test, fit.users, fit.items, graph)
        _give(options.port, fit, pairs)
        home = _home(folder, fit, pairs, options.preset)
        time.sleep(options.wait)
        gorse = Server(0, options.port)
        with ours(home, options) as server:
            table = _figures(folder, server, gorse, fit, truth, options)
    mine, other = table
    return {
        "bench": "gorse",
        "table": table,
        "ratios": {
            f"ours over Gorse: {what}": round(mine[what] / other[what], 3) if other[what] else None
            for what in ("recall@20", "ndcg@20", "requests/s")
        },
    }


def _give(port: int, fit: GraphSnapshot, pairs: Pairs) -> None:
    """Put the pairs into Gorse; it makes the users and items itself."""
    feedback = [
        {"FeedbackType": KIND, "UserId": user, "ItemId": item, "Value": 1, "Timestamp": at}
        for user, item, at in _named(fit, pairs)
    ]
    for begin in range(0, len(feedback), TOGETHER):
        _call(port, "/api/feedback", feedback[begin : begin + TOGETHER])


def _named(fit: GraphSnapshot, pairs: Pairs) -> Iterator[tuple[str, str, str]]:
    users, items = fit.users.ids(pairs.users.tolist()), fit.items.ids(pairs.items.tolist())
    for user, item, at in zip(users, items, pairs.at.tolist(), strict=True):
        yield user, item, datetime.fromtimestamp(max(at, 0), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _home(folder: Path, fit: GraphSnapshot, pairs: Pairs, preset: str) -> Home:
    """A home of ours with the same pairs, loaded and refreshed from the command line."""
    file = folder / "pairs.csv"
    with file.open("w", newline="", encoding="utf-8") as opened:
        rows = csv.writer(opened)
        rows.writerow(["user", "item", "at", "kind"])
        rows.writerows((*named, KIND) for named in _named(fit, pairs))
    home = Home(folder / "home")
    command = [sys.executable, "-m", "api.cli.main", "--home", str(home.folder)]
    for words in (["load", str(file)], ["refresh", "--preset", preset]):
        subprocess.run([*command, *words], check=True, stdout=subprocess.DEVNULL)
    return home


def _figures(
    folder: Path,
    server: Server,
    gorse: Server,
    fit: GraphSnapshot,
    truth: csr_array,
    options: argparse.Namespace,
) -> list[dict[str, Any]]:
    rows = np.flatnonzero(np.diff(truth.indptr))
    users = fit.users.ids(rows.tolist())
    script = folder / "ask.lua"
    script.write_text(SCRIPT, encoding="utf-8")
    doors = (
        ("nichegraph", server, [path_of(user, reasons="false") for user in users]),
        ("Gorse", gorse, [f"/api/recommend/{quote(user, safe='')}?n={SHOWN}" for user in users]),
    )
    rates: dict[str, list[dict[str, float]]] = {name: [] for name, *_ in doors}
    for turn in range(options.turns):
        for name, door, lines in doors:
            case = Case(name, lines)
            rates[name].append(ask(door, case, options.connections, options.seconds, script, turn))
    return [
        {
            "what": name,
            **_judged(_lists(door.port, lines), fit.items, truth[rows]),
            **{
                what: round(float(np.median([turn[what] for turn in rates[name]])), 1)
                for what in ("requests/s", "p50 ms", "p99 ms")
            },
        }
        for name, door, lines in doors
    ]


def _lists(port: int, lines: Sequence[str]) -> list[list[str]]:
    """The items of each answer: ours are entries of an object, Gorse's an array of ids."""
    lists = []
    for line in lines:
        answer = _call(port, line)
        entries = answer["items"] if isinstance(answer, dict) else answer or []
        lists.append([each if isinstance(each, str) else _id_of(each) for each in entries])
    return lists


def _id_of(entry: dict[str, Any]) -> str:
    return str(entry["item"] if "item" in entry else entry["Id"])


def _judged(lists: list[list[str]], items: Vocabulary, truth: csr_array) -> dict[str, Any]:
    ranked = np.full((len(lists), SHOWN), -1, np.int32)
    for row, shown in enumerate(lists):
        ranked[row, : len(shown)] = items.rows(shown)[:SHOWN]
    hit, relevant = metrics.hits(ranked, truth), np.diff(truth.indptr)
    return {
        "users": len(lists),
        "recall@20": round(float(metrics.recall(hit, relevant, SHOWN).mean()), 4),
        "ndcg@20": round(float(metrics.ndcg(hit, relevant, SHOWN).mean()), 4),
    }


def _call(port: int, path: str, body: Any = None) -> Any:
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", content, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)
