"""Lists with each of a user's interests in proportion, compared with lists without.

Both come from the code that serves, with the neutral profile, on the same held-out part. Users with
a single interest get the same list twice, which is checked; the figures are for the others.
`covered` is the share of a user's interests that the shown 20 touch; `off` is how far the shares
of the interests in the list are from those in the history: half the sum of the differences.
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
from graph.weighting import weigh
from recommender.evaluation.truth import cut, known_truth
from recommender.learning.build import RefreshConfig
from recommender.learning.train import build_release
from recommender.ranking.candidates import Subjects
from recommender.ranking.interests import interests_of, shares_of_interests, voices
from recommender.ranking.request import NEUTRAL, Request
from recommender.serving.recommend import Recommender
from recommender.serving.subjects import SubjectReader

SHOWN = 20
MOST_USERS = 3000  # asked
TRIALS = [("movielens", "time"), ("movielens", "random"), ("lastfm", "time"), ("lastfm", "random"),
          ("citeulike", "random")]  # fmt: skip


def main(arguments: list[str]) -> dict[str, Any]:
    """Measure; `--set NAME` may be repeated (default movielens, lastfm, citeulike)."""
    parser = argparse.ArgumentParser(prog="bench interests")
    parser.add_argument("--set", action="append", dest="sets", metavar="NAME")
    parser.add_argument("--preset", default="default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    config = RefreshConfig(preset=options.preset, seed=options.seed)
    wanted = _sets.chosen(options.sets or ["movielens", "lastfm", "citeulike"])
    table: list[dict[str, Any]] = []
    ratios: dict[str, Any] = {}
    for name, split in TRIALS:
        if name not in wanted:
            continue
        print(f"{name}, {split}", file=sys.stderr)
        with tempfile.TemporaryDirectory(prefix="nichegraph-bench-") as folder:
            fit, test = cut(_sets.all_events(name, Path(folder)), config, split, now=_sets.NOW)
            graph = weigh(fit, config.weighting, _sets.NOW)
            release = build_release(fit, graph, config, Path(folder) / "release", now=_sets.NOW)
            truth, _ = known_truth(test, release.users, release.items, graph)
            rows, figures = compared(Recommender(release), truth, options.seed)
        table += [{"set": f"{name}, {split}", **row} for row in rows]
        ratios |= {
            f"{name}, {split}: {name_of_figure}": value for name_of_figure, value in figures.items()
        }
    return {"bench": "interests", "table": table, "ratios": ratios}


def compared(recommender: Recommender, truth: Any, seed: int) -> tuple[Any, dict[str, Any]]:
    """A row with interests and one without, for users with several; and what they cost."""
    users = np.flatnonzero(np.diff(truth.indptr))
    users = np.sort(np.random.default_rng(seed).permutation(users)[:MOST_USERS])
    labels = _labels(recommender, users)
    began = time.process_time()
    _labels(recommender, users)
    grouping = time.process_time() - began
    several = np.array([own_labels.max(initial=0) > 0 for own_labels in labels])
    names = recommender.release.users.ids(users.tolist())
    lists = {
        by_interests: np.stack([_list(recommender, name, by_interests) for name in names])
        for by_interests in (False, True)
    }
    if not (lists[True] == lists[False])[~several].all():
        raise AssertionError("a history of one piece got another list")
    seconds = {}
    for by_interests in lists:
        began = time.process_time()
        for at in np.flatnonzero(several):
            _list(recommender, names[at], by_interests)
        seconds[by_interests] = time.process_time() - began
    kept = np.flatnonzero(several)
    wanted = truth[users[kept]]
    relevant = np.diff(wanted.indptr)
    rows, gains = [], {}
    for by_interests, ranked in lists.items():
        hits = metrics.hits(ranked[kept], wanted)
        gains[by_interests] = metrics.ndcg(hits, relevant, SHOWN)
        shares = [_shares_shown(recommender, users[at], labels[at], ranked[at]) for at in kept]
        rows.append(
            {
                "interests": by_interests,
                "users": len(kept),
                "ndcg@20": round(float(gains[by_interests].mean()), 4),
                "recall@20": round(float(metrics.recall(hits, relevant, SHOWN).mean()), 4),
                "covered": round(float(np.mean([covered for covered, _ in shares])), 3),
                "off": round(float(np.mean([off for _, off in shares])), 3),
            }
        )
    low, high = metrics.bootstrap(gains[True] - gains[False], seed=seed)[0]
    return rows, {
        "share of users with several": round(float(several.mean()), 3),
        "NDCG@20, with less without": f"{low:+.4f} … {high:+.4f}",
        "their request's time over without": seconds[True] / seconds[False],
        "ms more": round(1000 * (seconds[True] - seconds[False]) / len(kept), 2),
        "ms of grouping a history": round(1000 * grouping / len(users), 4),
    }


def _labels(recommender: Recommender, users: Any) -> list[Any]:
    histories = _histories(recommender, users)
    labels = interests_of(recommender.release.likeness, histories)
    return np.split(labels, histories.indptr[1:-1])


def _histories(recommender: Recommender, users: Any) -> Subjects:
    return SubjectReader(recommender.release, recommender.filters, recommender.circles).users(users)


def _list(recommender: Recommender, user: str, by_interests: bool) -> Any:
    request = Request(user=user, n=SHOWN, profile=NEUTRAL, reasons=False, interests=by_interests)
    answer = recommender.recommend([request], now=_sets.NOW)[0]
    rows = recommender.release.items.rows([item.item for item in answer.items])
    return np.pad(rows, (0, SHOWN - len(rows)), constant_values=-1).astype(np.int32)


def _shares_shown(
    recommender: Recommender, user: int, labels: Any, shown: Any
) -> tuple[float, float]:
    """The share of the interests that a list touches, and how far it is from their proportion."""
    release = recommender.release
    subject = replace(_histories(recommender, np.array([user])), interests=labels)
    pool = shown[shown >= 0]
    scores = voices(release.table, subject, pool)
    counts = np.bincount(scores.argmax(axis=1), minlength=scores.shape[1])
    off = np.abs(counts / max(counts.sum(), 1) - shares_of_interests(labels, subject.weights)).sum()
    return float((counts > 0).mean()), float(off / 2)
