"""What segment profiles are worth: NDCG@20 and long-tail share on test data, with intervals.

A fifth of each user's pairs is test data, drawn at random, used once. Segments, profiles and the
default are learned from the rest, as a refresh does. Rows: no reranking, the built-in default,
the best single profile, segment profiles, and the most long tail that a single profile and
segment profiles give at the NDCG@20 of the best single one.
"""

import argparse
import tempfile
import time
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from graph.embedded_store import EmbeddedStore
from graph.snapshot import take_snapshot
from graph.weighting import weigh
from loaders.ingest import load
from loaders.synthetic import generate
from recommender import metrics
from recommender.build import RefreshConfig, build
from recommender.evaluation import cut, known_truth
from recommender.profiles import SEGMENTS
from recommender.recommend import Recommender
from recommender.refresh import write
from recommender.release import open_release
from recommender.rerank import DEFAULT_PROFILE, Profile
from recommender.segment_settings import SegmentSettings
from recommender.segment_step import add_segments

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
SETS = {
    "ml-latest-small": "movielens",
    "hetrec2011-lastfm-2k": "lastfm",
    "citeulike-a": "citeulike",
}
SHOWN = 20
SLOPES = np.geomspace(0.02, 5, 12)  # NDCG given for one more of long-tail share


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measure each data set that lies beside the project, else planted niches."""
    parser = argparse.ArgumentParser(prog="bench segments")
    parser.add_argument("--data", action="append", choices=[*SETS, "planted"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments or [])
    names = options.data or [name for name in SETS if (SHARED / name).is_dir()] or ["planted"]
    rows, ratios, found = [], {}, {}
    for name in names:
        result = measure(name, options.threads)
        rows += result["table"]
        ratios |= {f"{name}: {key}": value for key, value in result["ratios"].items()}
        found[name] = result["segments"]
    return {
        "bench": "segments",
        "data": ", ".join(names),
        "table": rows,
        "ratios": ratios,
        "segments": found,
    }


def measure(name: str, threads: int) -> dict[str, Any]:
    """All rows of one data set."""
    now = int(time.time())
    config = RefreshConfig(threads=threads)
    with tempfile.TemporaryDirectory(prefix="nichegraph-bench-") as folder:
        snapshot = _snapshot(name, Path(folder), now)
        fit, test = cut(snapshot, config, "random", now=now)
        graph = weigh(fit, config.weighting, now)

        def write_to(path: Path, made: Any, seen: Any) -> None:
            write(path, made, seen, config, now=now)

        built, _ = add_segments(
            build(fit, graph, config, print), fit, graph, config, SegmentSettings(),
            Path(folder) / "trial", last=None, now=now, write=write_to, say=print,
        )  # fmt: skip
        write_to(Path(folder) / "release", built, fit)
        recommender = Recommender(open_release(Path(folder) / "release"), threads=threads)
        truth, _ = known_truth(test, recommender.release.users, recommender.release.items, graph)
        return _measured(name, recommender, truth, graph)


def _measured(name: str, recommender: Recommender, truth: Any, graph: Any) -> dict[str, Any]:
    users = np.flatnonzero(np.diff(truth.indptr)).astype(np.int64)
    truth = truth[users]
    relevant = np.diff(truth.indptr)
    counts = np.bincount(graph.user_items.indices, minlength=truth.shape[1])
    in_tail = metrics.tail(counts)

    def ask(profile: str) -> tuple[Any, Any, Any]:
        """Per user NDCG@20 and long-tail share, and the lists."""
        lists = recommender.rank_users(users, SHOWN, profile=profile).items
        ndcg = metrics.ndcg(metrics.hits(lists, truth), relevant, SHOWN)
        return ndcg, (in_tail[lists] & (lists >= 0)).mean(axis=1), lists

    named = recommender.profiles.named
    named["built-in"] = DEFAULT_PROFILE
    measured = {
        "neutral": ask("neutral"),
        "built-in default": ask("built-in"),
        "best single": ask("default"),
        "segments": ask(SEGMENTS),
    }
    learned = recommender.release.manifest["segments"].get("profiles", {})
    singles, several = [measured["best single"]], [measured["segments"]]
    for slope in SLOPES:  # both frontiers: what the select part says is best at each slope
        for name_, one in learned.items():
            named[name_] = _best(one["curve"], slope)
        singles.append(ask("default"))
        several.append(ask(SEGMENTS))
    level = measured["best single"][0].mean()
    for key, found in (("single, equal NDCG", singles), ("segments, equal NDCG", several)):
        enough = [one for one in found if one[0].mean() >= level]
        if enough:
            measured[key] = max(enough, key=lambda one: one[1].mean())
    base = measured["neutral"]
    rows = []
    for ranker, (own_ndcg, own_tail, lists) in measured.items():
        intervals = metrics.bootstrap(
            np.stack([own_ndcg - base[0], own_tail - base[1]], axis=1), seed=0
        )
        rows.append(
            {
                "data": name,
                "lists": ranker,
                "ndcg@20": round(float(own_ndcg.mean()), 4),
                "against neutral": _share(own_ndcg, base[0], intervals[0]),
                "tail share": round(float(own_tail.mean()), 4),
                "tail against neutral": _share(own_tail, base[1], intervals[1]),
                "gini": round(metrics.gini(lists, truth.shape[1]), 4),
                "coverage": round(metrics.coverage(lists, truth.shape[1]), 4),
            }
        )
    gained: dict[str, Any] = {}
    if "segments, equal NDCG" in measured:
        own, other = (measured[f"{one}, equal NDCG"][1] for one in ("segments", "single"))
        low, high = metrics.bootstrap(own - other, seed=0)[0] / max(other.mean(), 1e-12)
        gained = {
            "tail share of segments over single at equal NDCG": float(own.mean() / other.mean()),
            "gain of that, 95 %": f"{low:+.1%} … {high:+.1%}",
        }
    default = measured["built-in default"]
    ratios = {
        **gained,
        "NDCG of the built-in default over neutral": float(default[0].mean() / base[0].mean()),
        "tail share of the built-in default over neutral": float(
            default[1].mean() / max(base[1].mean(), 1e-12)
        ),
    }
    return {
        "table": rows,
        "ratios": ratios,
        "segments": recommender.release.manifest["segments"]["segments"],
    }


def _best(curve: list[dict[str, float]], slope: float) -> Profile:
    """The point of a learned curve with the most NDCG and `slope` times its long-tail share."""
    point = max(curve, key=lambda one: one["shown_ndcg"] + slope * one["shown_long_tail_share"])
    return Profile(**{field.name: point[field.name] for field in fields(Profile)})


def _share(own: Any, base: Any, interval: Any) -> str:
    level = max(float(base.mean()), 1e-12)
    low, high = interval / level
    return f"{float(own.mean()) / level - 1:+.1%} ({low:+.1%} … {high:+.1%})"


def _snapshot(name: str, folder: Path, now: int) -> Any:
    with closing(EmbeddedStore(folder / "store.sqlite")) as store:
        if name == "planted":
            for batch in generate(30_000, seed=1).batches():
                store.apply(batch)
        else:
            load(
                [SHARED / name],
                SETS[name],
                store,
                staging_folder=folder / "staging",
                rejects_file=folder / "rejects.csv",
                now=now,
            )
        return take_snapshot(store)
