"""What segment profiles are worth: NDCG@20 and long-tail share on test data, with intervals.

A fifth of each user's pairs is test data, drawn at random, used once. Segments, profiles and the
default are learned from the rest, as a refresh does. Rows: no reranking; the built-in default
(served if too few users tell anything); the learned default, which is the best single profile; and
segment profiles. Below them: what segment profiles gain over a single one when both move along
what was learned, and what they would gain if the profiles were chosen on the test data itself. No
choice can gain more than that.
"""

import argparse
import tempfile
import time
from contextlib import closing
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from embeddings import metrics
from graph.domains import derive_domains
from graph.snapshot import take_snapshot
from graph.stores.embedded_store import EmbeddedStore
from graph.weighting import weigh
from loaders.ingest import load
from loaders.synthetic import generate
from recommender.evaluation.truth import cut, known_truth
from recommender.learning.build import RefreshConfig
from recommender.learning.profile_learning import Look, candidates
from recommender.learning.train import build_release
from recommender.ranking.request import DEFAULT
from recommender.ranking.rerank import DEFAULT_PROFILE, NEUTRAL_PROFILE, Profile
from recommender.segments.settings import SegmentSettings
from recommender.serving.profiles import SEGMENTS
from recommender.serving.recommend import Recommender

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
SETS = {
    "ml-latest-small": "movielens",
    "hetrec2011-lastfm-2k": "lastfm",
    "citeulike-a": "citeulike",
}
SHOWN = 20
SLOPES = np.geomspace(0.001, 30, 120)  # NDCG given up for each 1 of long-tail share
DRAWS = 500  # of users, for intervals
PerUser = tuple[Any, Any, Any]


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measure each data set that lies beside the project; if there is none, planted niches."""
    parser = argparse.ArgumentParser(prog="bench segments")
    parser.add_argument("--data", action="append", choices=[*SETS, "planted"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments or [])
    names = options.data or [name for name in SETS if (SHARED / name).is_dir()] or ["planted"]
    rows, ratios, curves, gains = [], {}, {}, []
    for name in names:
        result = measure(name, options.threads)
        rows += result["table"]
        ratios |= {f"{name}: {key}": value for key, value in result["ratios"].items()}
        curves[name] = result["segments"]
        gains += [{"data": name, "gain": key, **gain} for key, gain in result["gains"].items()]
    return {
        "bench": "segments",
        "data": ", ".join(names),
        "table": rows,
        "ratios": ratios,
        "gains": gains,
        "segments": curves,
    }


def measure(name: str, threads: int) -> dict[str, Any]:
    """All rows of one data set."""
    now = int(time.time())
    config = RefreshConfig(threads=threads)
    with tempfile.TemporaryDirectory(prefix="nichegraph-bench-") as folder:
        snapshot = _snapshot(name, Path(folder), now)
        fit, test = cut(snapshot, config, "random", now=now)
        domains = derive_domains(fit, config.seed)
        graph = weigh(fit, config.weighting, now, domains)
        release = build_release(
            fit, graph, config, Path(folder) / "release", now=now, say=print,
            settings=SegmentSettings(), domains=domains,
        )  # fmt: skip
        recommender = Recommender(release, threads=threads)
        truth, _ = known_truth(test, recommender.release.users, recommender.release.items, graph)
        return _measured(name, recommender, truth)


def _measured(name: str, recommender: Recommender, truth: Any) -> dict[str, Any]:
    users = np.flatnonzero(np.diff(truth.indptr)).astype(np.int64)
    truth = truth[users]
    release = recommender.release
    look = Look.at(
        candidates(recommender, users), truth, release,
        int(release.manifest["created_at"]), recommender.mixes(users),
    )  # fmt: skip
    learned = release.segments.get("profiles", {})
    places = recommender.segments.of_users()[users].tolist()
    own = [
        segment if (segment := recommender.segments.name(at)) in learned else DEFAULT
        for at in places
    ]
    ask = cache(lambda profile: _per_user(look, profile))

    named = recommender.profiles.named
    measured = {
        "neutral": ask(NEUTRAL_PROFILE),
        "built-in default": ask(DEFAULT_PROFILE),
        "learned default": ask(named[DEFAULT]),
        "segments": _mixed(own, {segment: ask(named[segment]) for segment in {*own}}),
    }
    served = recommender.rank_users(
        users, SHOWN, profile=SEGMENTS, now=int(release.manifest["created_at"])
    ).items
    if not np.array_equal(served, measured["segments"][2]):
        raise AssertionError("the lists measured are not those that are served")
    base = measured["neutral"]
    rows = [_row(name, ranker, lists, base, truth.shape[1]) for ranker, lists in measured.items()]
    gains: dict[str, Any] = {}
    if learned:
        single = [ask(_best(learned[DEFAULT]["curve"], slope)) for slope in SLOPES]
        several = [
            _mixed(
                own, {segment: ask(_best(learned[segment]["curve"], slope)) for segment in {*own}}
            )
            for slope in SLOPES
        ]
        gains = _as_chosen(measured["learned default"], measured["segments"])
        gains |= _gains(single, several, measured["learned default"][:2])
        most = _chosen_on_test(ask, own, learned)
        ceiling = _gains(most[0], most[1], measured["learned default"][:2])
        gains |= {f"{key}, if chosen on test data": value for key, value in ceiling.items()}
    ratios = {}
    for default in ("built-in default", "learned default"):
        ndcg, tail, _ = measured[default]
        ratios[f"NDCG of the {default} over neutral"] = float(ndcg.mean() / base[0].mean())
        ratios[f"tail share of the {default} over neutral"] = float(
            tail.mean() / max(base[1].mean(), 1e-12)
        )
    return {
        "table": rows,
        "ratios": ratios | {key: gain["mean"] for key, gain in gains.items()},
        "gains": gains,
        "segments": release.segments["segments"],
    }


def _per_user(look: Look, profile: Profile) -> PerUser:
    """Per user NDCG@20 and long-tail share, and the lists."""
    lists = look.lists(profile)
    return look.ndcg(lists), look.tail(lists), lists


def _mixed(own: list[str], answers: dict[str, PerUser]) -> PerUser:
    """For each user what the profile of the user's own segment gives."""
    names = list(answers)
    segment_rows, at = np.array([names.index(name) for name in own]), np.arange(len(own))
    ndcg, tail, lists = (np.stack([answers[name][part] for name in names]) for part in range(3))
    return ndcg[segment_rows, at], tail[segment_rows, at], lists[segment_rows, at]


def _as_chosen(single: PerUser, several: PerUser) -> dict[str, Any]:
    """What the segments' profiles give over the single one, each as the select part chose it."""
    users = len(single[0])
    draws = np.random.default_rng(0).multinomial(users, np.full(users, 1 / users), DRAWS) / users
    draws = np.vstack([np.full(users, 1 / users), draws])
    return {
        f"{figure}, both as chosen": _interval(
            (draws @ several[at] / (draws @ single[at]) - 1).tolist()
        )
        for at, figure in enumerate(("NDCG", "tail share"))
    }


def _chosen_on_test(ask: Any, own: list[str], learned: Any) -> tuple[list[PerUser], list[PerUser]]:
    """The frontiers if the best were known: no way of choosing from the same curves beats them.

    Both may use every profile that stands on any curve.
    """
    points = [point for profiles in learned.values() for point in profiles["curve"]]
    grid = [ask(profile) for profile in sorted({_profile(p) for p in points}, key=repr)]
    ndcg, tail = (np.stack([point[part] for point in grid]) for part in range(2))
    groups = {name: np.array([segment == name for segment in own]) for name in {*own}}
    single, several = [], []
    for slope in SLOPES:
        value = ndcg + slope * tail
        single.append(grid[int(value.mean(axis=1).argmax())])
        best = {
            name: grid[int(value[:, members].mean(axis=1).argmax())]
            for name, members in groups.items()
        }
        several.append(_mixed(own, best))
    return single, several


def _gains(single: list[PerUser], several: list[PerUser], at: Any) -> dict[str, Any]:
    """Tail share at equal NDCG and NDCG at equal tail share, of segments over single, at `at`.

    Both frontiers are walked from point to point; the level is that of the best single profile.
    Intervals by drawing users again, with the same draw for both.
    """
    users = len(at[0])
    draws = np.random.default_rng(0).multinomial(users, np.full(users, 1 / users), DRAWS) / users
    draws = np.vstack([np.full(users, 1 / users), draws])
    fronts = [
        (
            draws @ np.stack([point[0] for point in front]).T,
            draws @ np.stack([o[1] for o in front]).T,
        )
        for front in (single, several)
    ]
    ndcg, tail = draws @ at[0], draws @ at[1]
    more_tail, more_ndcg = [], []
    for draw in range(len(draws)):
        pairs = [(front[0][draw], front[1][draw]) for front in fronts]
        tails = [_along(n, t, ndcg[draw]) for n, t in pairs]
        ndcgs = [_along(t, n, tail[draw]) for n, t in pairs]
        more_tail.append(tails[1] / tails[0] - 1)
        more_ndcg.append(ndcgs[1] / ndcgs[0] - 1)
    return {
        "tail share at equal NDCG": _interval(more_tail),
        "NDCG at equal tail share": _interval(more_ndcg),
    }


def _along(known: Any, wanted: Any, level: float) -> float:
    """The most of `wanted` on a frontier's steps where `given` is `level` or more."""
    order = np.argsort(wanted, kind="stable")
    wanted, known = wanted[order], np.maximum.accumulate(known[order][::-1])[::-1]
    at = int(np.count_nonzero(known >= level)) - 1
    if at < 0:
        return float(wanted[0])
    if at + 1 == len(known) or known[at] == known[at + 1]:
        return float(wanted[at])
    part = (known[at] - level) / (known[at] - known[at + 1])
    return float(wanted[at] + part * (wanted[at + 1] - wanted[at]))


def _interval(values: list[float]) -> dict[str, float]:
    low, high = np.nanpercentile(values[1:], [2.5, 97.5])
    return {"mean": values[0], "low": float(low), "high": float(high)}


def _row(name: str, ranker: str, measured: PerUser, base: PerUser, items: int) -> dict[str, Any]:
    own_ndcg, own_tail, lists = measured
    both = np.stack([own_ndcg - base[0], own_tail - base[1]], axis=1)
    intervals = metrics.bootstrap(both, seed=0)
    return {
        "data": name,
        "lists": ranker,
        "ndcg@20": round(float(own_ndcg.mean()), 4),
        "against neutral": _share(own_ndcg, base[0], intervals[0]),
        "tail share": round(float(own_tail.mean()), 4),
        "tail against neutral": _share(own_tail, base[1], intervals[1]),
        "gini": round(metrics.gini(lists, items), 4),
        "coverage": round(metrics.coverage(lists, items), 4),
    }


def _best(curve: list[dict[str, float]], slope: float) -> Profile:
    """The point of a learned curve with the most NDCG plus `slope` times its long-tail share."""
    return _profile(
        max(curve, key=lambda point: point["shown_ndcg"] + slope * point["shown_long_tail_share"])
    )


def _profile(point: dict[str, Any]) -> Profile:
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
