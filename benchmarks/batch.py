"""Lists for every user into a Parquet file, as `nichegraph recommend --all`; and 1,000 requests.

Beside it: one `recommend()` call per user, which is what a loop over single requests costs.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks._sets import NOW, SETS, all_events, chosen
from graph.weighting import weigh
from recommender.learning.build import RefreshConfig
from recommender.learning.train import build_release
from recommender.ranking.request import NEUTRAL, Request
from recommender.serving.list_files import write_lists
from recommender.serving.recommend import Recommender

SHOWN = 20
BUDGET = 5000  # users a second on 2 threads, for gowalla


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measure; `--set NAME` (default gowalla), `--rounds N` of which the best counts."""
    parser = argparse.ArgumentParser(prog="bench batch")
    parser.add_argument("--set", action="append", dest="sets", choices=list(SETS))
    parser.add_argument("--preset", choices=["fast", "default"], default="fast")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments or [])
    table: list[dict[str, Any]] = []
    ratios: dict[str, float] = {}
    for name in chosen(options.sets or ["gowalla"]):
        with tempfile.TemporaryDirectory() as folder:
            rows = _measured(name, Path(folder), options.preset, options.rounds)
        table += rows
        alone = rows[-1]["users/s"]
        for row in rows[:-1]:
            ratios[f"{name}: {row['what']} over one by one"] = row["users/s"] / alone
        without, reasons = (1 / rows[at]["users/CPU s"] for at in (2, 3))
        ratios[f"{name}: CPU ms of an item's reasons over 1"] = 1000 * (reasons - without) / SHOWN
        ratios[f"{name}: neutral lists/s over {BUDGET:,}"] = rows[0]["users/s"] / BUDGET
        ratios[f"{name}: default lists/s over {BUDGET:,}"] = rows[1]["users/s"] / BUDGET
    return {"bench": "batch", "table": table, "ratios": ratios}


def _measured(name: str, folder: Path, preset: Any, rounds: int) -> list[dict[str, Any]]:
    config = RefreshConfig(preset=preset)
    snapshot = all_events(name, folder / "home")
    graph = weigh(snapshot, config.weighting, NOW)
    recommender = Recommender(build_release(snapshot, graph, config, folder / "release", now=NOW))
    users = recommender.release.users
    some = users.ids(range(min(1000, len(users))))
    out = folder / "lists.parquet"

    def everybody(profile: str | None) -> None:
        write_lists(recommender, out, "parquet", n=SHOWN, profile=profile, now=NOW)

    def together(*, reasons: bool) -> None:
        requests = [Request(user=user, n=SHOWN, reasons=reasons) for user in some]
        recommender.recommend(requests, now=NOW)

    def alone() -> None:
        for user in some[:200]:
            recommender.recommend([Request(user=user, n=SHOWN, reasons=False)], now=NOW)

    ways = [
        ("all to Parquet, neutral, 2 threads", len(users), lambda: everybody(NEUTRAL)),
        ("all to Parquet, default, 2 threads", len(users), lambda: everybody(None)),
        ("1,000 requests in one call", len(some), lambda: together(reasons=False)),
        ("the same with reasons", len(some), lambda: together(reasons=True)),
        ("requests one by one", len(some[:200]), alone),
    ]
    rows = []
    for way, count, work in ways:
        seconds, busy = min(_timed(work) for _ in range(rounds))
        rows.append(
            {
                "set": name,
                "what": way,
                "users": count,
                "users/s": round(count / seconds),
                "users/CPU s": round(count / busy),
            }
        )
    return rows


def _timed(work: Any) -> tuple[float, float]:
    began, busy = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began, time.process_time() - busy
