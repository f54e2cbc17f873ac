"""What learned weights bring: learned, uniform and no tags, by the code that serves.

On citeulike-a (tags and citations), hetrec lastfm (tags given by users, plays) and ml-latest-small
(ratings, tags, genres): weights are learned by `nichegraph tune weighting` from the train part;
then three releases are built by the code of a refresh, which differ in the weighting only, and
asked for the same test part. "uniform" is the neutral weighting, "no tags" the same with every
category of tags at 0. For all three, the neutral weighting decides what is relevant and what lies
in the tail. Intervals are bootstrapped over users; differences are between the same users.
"""

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import _sets
from embeddings import metrics
from graph.model import tag_parts
from graph.snapshot import GraphSnapshot
from graph.weighting import Weighting, weigh
from recommender.evaluation.truth import HeldOut, known_truth
from recommender.evaluation.weighting_tuning import tune_weighting
from recommender.learning.build import RefreshConfig
from recommender.learning.train import build_release
from recommender.ranking.request import NEUTRAL
from recommender.serving.recommend import Recommender

SHOWN = 20
DEFAULT_SETS = ["citeulike", "lastfm", "movielens"]
LEARNED, UNIFORM, NO_TAGS = "learned", "uniform", "no tags"


def main(arguments: list[str]) -> dict[str, Any]:
    """Measure; `--set NAME` may be repeated, `--preset fast`, `--trials 120`, `--minutes 10`."""
    parser = argparse.ArgumentParser(prog="bench weighting")
    parser.add_argument("--set", action="append", dest="sets", metavar="NAME")
    parser.add_argument("--preset", default="fast", choices=("fast", "default"))
    parser.add_argument("--trials", type=int, default=120)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    table: list[dict[str, Any]] = []
    ratios: dict[str, float] = {}
    reports = {}
    for name in _sets.chosen(options.sets or DEFAULT_SETS):
        config = RefreshConfig(seed=options.seed, preset=options.preset)
        rows, reports[name] = measure(name, config, options.trials, 60 * options.minutes)
        table += rows
        value = {row["name"]: row["ndcg@20"] for row in rows}
        ratios[f"{name}/learned_over_uniform"] = round(value[LEARNED] / value[UNIFORM], 4)
        ratios[f"{name}/uniform_over_no_tags"] = round(value[UNIFORM] / value[NO_TAGS], 4)
    return {
        "bench": "weighting",
        "preset": options.preset,
        "seed": options.seed,
        "table": table,
        "ratios": ratios,
        "learned": reports,
    }


def measure(
    name: str, config: RefreshConfig, trials: int, seconds: float
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """A row for each weighting, and what was learned."""
    with tempfile.TemporaryDirectory(prefix="nichegraph-bench-") as folder:
        fit, test = _sets.parts(name, config, Path(folder))
        _say(f"{name}: learning weights")
        tuned = tune_weighting(
            fit,
            Weighting(),
            now=_sets.NOW,
            seed=config.seed,
            trials=trials,
            seconds=seconds,
            threads=config.threads,
        )
        _say(tuned.to_toml())
        categories = {tag_parts(key)[0] for key in fit.tags}
        weightings = {
            LEARNED: tuned.weighting,
            UNIFORM: Weighting(),
            NO_TAGS: replace(Weighting(), categories=dict.fromkeys(categories, 0.0)),
        }
        values = {
            label: _per_user(
                fit, test, replace(config, weighting=weighting), Path(folder) / "release"
            )
            for label, weighting in weightings.items()
        }
    rows = []
    for label, figures in values.items():
        row: dict[str, Any] = {"set": name, "name": label}
        for metric, ours in figures.items():
            row[metric] = round(float(ours.mean()), 4)
            row[f"{metric} interval"] = _interval(ours, config.seed)
            if label != UNIFORM:
                difference = ours - values[UNIFORM][metric]
                row[f"{metric} less uniform"] = round(float(difference.mean()), 4)
                row[f"{metric} less uniform, interval"] = _interval(difference, config.seed)
        rows.append(row)
    report = tuned.to_json() | {"kept": [o.knob.name for o in tuned.weights if o.verdict == "kept"]}
    return rows, report


def _per_user(
    fit: GraphSnapshot, test: HeldOut, config: RefreshConfig, folder: Path
) -> dict[str, np.ndarray]:
    """NDCG@20 of each user with something to find, and of each with a tail item to find."""
    began = time.perf_counter()
    neutral = weigh(fit, Weighting(), _sets.NOW)
    graph = weigh(fit, config.weighting, _sets.NOW)
    release = build_release(fit, graph, config, folder, now=_sets.NOW)
    truth, _ = known_truth(test, release.users, release.items, neutral)
    users = np.flatnonzero(np.diff(truth.indptr)).astype(np.int64)
    truth = truth[users]
    ranked = Recommender(release, threads=config.threads).rank_users(users, SHOWN, profile=NEUTRAL)
    in_tail = metrics.tail(np.bincount(neutral.user_items.indices, minlength=truth.shape[1]))
    wanted = truth.copy()
    wanted.data = wanted.data * in_tail[wanted.indices]
    wanted.eliminate_zeros()
    counts = np.diff(wanted.indptr)
    _say(f"built and asked in {time.perf_counter() - began:.0f} s")
    overall = metrics.ndcg(metrics.hits(ranked.items, truth), np.diff(truth.indptr), SHOWN)
    of_tail = metrics.ndcg(metrics.hits(ranked.items, wanted), counts, SHOWN)
    return {"ndcg@20": overall, "tail_ndcg@20": of_tail[counts > 0]}


def _interval(values: np.ndarray, seed: int) -> list[float]:
    return [round(float(edge), 4) for edge in metrics.bootstrap(values, seed=seed)[0]]


def _say(text: str) -> None:
    print(text, file=sys.stderr)
