"""How well a release answers: every item ranked, train masked, by the code that serves.

`evaluate_snapshot` measures on given test data; `evaluate_store` cuts a test part off first.
Figures are those of the neutral profile, with those of the default one beside them. Nothing
is learned from the test part: it is used once, after everything is fitted.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from scipy.sparse import csr_array

from graph.arrays import I32, I64
from graph.domains import derive_domains
from graph.snapshot import GraphSnapshot, take_snapshot
from graph.store import GraphStore
from graph.vocabulary import Vocabulary
from graph.weighted import WeightedGraph
from graph.weighting import weigh
from recommender.evaluation import ratings
from recommender.evaluation.figures import SHOWN, Measured, View, difference
from recommender.evaluation.steps import Say, Steps, peak_rss_mb
from recommender.evaluation.truth import HeldOut, check_something_to_find, cut, known_truth
from recommender.learning.baselines import Baseline, rank_all, tuned
from recommender.learning.build import RefreshConfig
from recommender.learning.split import How
from recommender.learning.train import build_release
from recommender.segments.settings import SegmentSettings
from recommender.serving.profiles import SEGMENTS
from recommender.serving.recommend import Recommender

RANK_BLOCK = 4096  # users ranked in one call
SAMPLED_USERS = 6_000  # users asked of single sources and baselines; what is served is asked of all
OF_ALL_LISTS = ("coverage", "gini")  # grow with the number of lists


class Lister(Protocol):
    """What makes the lists that are measured; `Recommender` is one."""

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the sources that can be asked alone."""
        ...

    def rank_users(
        self,
        user_rows: I64,
        n: int,
        *,
        profile: str = ...,
        source: str | None = None,
        now: int = 0,
    ) -> Any:
        """Something with `items` i32 (b, n), -1 where a list is shorter."""
        ...


def evaluate_store(
    store: GraphStore,
    config: RefreshConfig,
    folder: Path,
    *,
    method: How | None = None,
    now: int,
    baselines: bool = True,
    settings: SegmentSettings | None = None,
    say: Say = lambda _: None,
) -> dict[str, Any]:
    """Hold back a part of the store's interactions, learn from the rest, and look for that part.

    Args:
        store: where the events lie.
        config: as for a refresh; its seed draws the parts, too.
        folder: empty; the release on trial is built here.
        method: see `split.held_out`; None: by time where times exist, else at random.
        now: seconds since 1970.
        baselines: whether to tune and measure those as well.
        settings: how users are grouped and which profiles an editor wrote; None: the defaults.
        say: called with a sentence at each step.
    """
    steps = Steps(say)
    with steps.step("snapshot"):
        snapshot = take_snapshot(store, consent=config.consent)
    with steps.step("split"):
        fit, test = cut(snapshot, config, method, now=now)
    return evaluate_snapshot(
        fit, test, config, folder, now=now, baselines=baselines, settings=settings, steps=steps
    )


def evaluate_snapshot(
    fit: GraphSnapshot,
    test: HeldOut,
    config: RefreshConfig,
    folder: Path,
    *,
    now: int,
    baselines: bool = True,
    thorough: bool = False,
    settings: SegmentSettings | None = None,
    steps: Steps | None = None,
) -> dict[str, Any]:
    """Build a release from `fit` in `folder`, as a refresh would, and measure it on `test`.

    An `InputError` when `test` has no pair that could be found.

    `settings` are those of `evaluate_store`. `thorough` tunes the baselines on their whole grids
    and asks them about all users.
    """
    steps = steps or Steps()
    with steps.step("weigh"):
        domains = derive_domains(fit, config.seed)
        graph = weigh(fit, config.weighting, now, domains)
    truth, counts = known_truth(test, fit.users, fit.items, graph)
    check_something_to_find(counts)
    with steps.step("build"):
        release = build_release(
            fit,
            graph,
            config,
            folder,
            now=now,
            say=steps.say,
            settings=settings or SegmentSettings(),
            domains=domains,
        )
    recommender = Recommender(release, settings=settings, threads=config.threads)
    tuned_baselines: dict[str, Baseline] = {}
    if baselines:
        with steps.step("tune baselines"):
            tuned_baselines = tuned(graph.user_items, seed=config.seed, thorough=thorough)
    result = evaluate(
        recommender,
        truth,
        graph,
        baselines=tuned_baselines,
        seed=config.seed,
        now=now,
        sampled_users=None if thorough else SAMPLED_USERS,
        steps=steps,
    )
    with steps.step("ratings"):
        rated = _rating_errors(fit, test, release.users, release.items, recommender)
    if rated:
        result["ratings"] = rated
        result["served"].update(rated["neighbours"])
    return {
        "dataset": {"test": test.cut, "preset": config.preset, "seed": config.seed},
        "counts": {
            "users": len(release.users),
            "items": len(release.items),
            "tags": len(release.tags),
            "train_pairs": int(graph.user_items.nnz),
            **counts,
        },
        **result,
        "steps": steps.taken,
        "peak_rss_mb": peak_rss_mb(),
    }


def evaluate(
    recommender: Lister,
    truth: csr_array,
    graph: WeightedGraph,
    *,
    baselines: Mapping[str, Baseline],
    seed: int,
    now: int = 0,
    sampled_users: int | None = SAMPLED_USERS,
    steps: Steps | None = None,
) -> dict[str, Any]:
    """The figures of what is served, of each source alone and of the baselines.

    Args:
        recommender: ranks users by rows; masks what they have seen.
        truth: (u, i) what is to be found, in the rows of the release; users without any are
            left out of all averages.
        graph: what was learned from. It gives popularity, what is masked for the baselines, and how
            alike items are (by tags, or else by common users).
        baselines: name -> fitted baseline.
        seed: of the bootstrap, and of the draw of users.
        now: seconds since 1970, for the freshness of what visitors get.
        sampled_users: if there are more users, so many are drawn. Single sources and baselines
            answer for these only, and what is served is compared on the same ones. None: all.
        steps: called at each step; it measures them.
    """
    steps = steps or Steps()
    users = np.flatnonzero(np.diff(truth.indptr)).astype(np.int64)
    view = View(truth[users], graph)
    drawn = np.arange(len(users))
    if sampled_users is not None and len(users) > sampled_users:
        order = np.random.default_rng(seed).permutation(len(users))
        drawn = np.sort(order[:sampled_users])
    sampled_view = view if len(drawn) == len(users) else View(truth[users[drawn]], graph)
    measured: dict[str, Measured] = {}
    with steps.step("served"):
        measured["served"] = view.measure(_ranked(recommender, users, now))
    with steps.step("served_default"):
        ranked = _ranked(recommender, users, now, profile=SEGMENTS)
        measured["served_default"] = view.measure(ranked)
    for source in recommender.sources:
        with steps.step(f"source {source}"):
            ranked = _ranked(recommender, users[drawn], now, source=source)
            measured[f"source {source}"] = sampled_view.measure(ranked)
    for name, baseline in baselines.items():
        with steps.step(f"baseline {name}"):
            ranked = rank_all(baseline.score_block, users[drawn], graph.user_seen, SHOWN)
            measured[f"baseline {name}"] = sampled_view.measure(ranked)
    if sampled_view is not view:
        for name in set(measured) - {"served", "served_default"}:
            measured[name].figures |= dict.fromkeys(OF_ALL_LISTS)
    with steps.step("intervals"):
        for measures in measured.values():
            measures.add_intervals(seed)
        against = {
            name: difference(measured["served"].of(drawn), measured[f"baseline {name}"], seed)
            for name in baselines
        }
    rows = {
        name: {
            **measured[f"baseline {name}"].figures,
            "users": len(drawn),
            "parameters": dict(baseline.parameters),
        }
        for name, baseline in baselines.items()
    }
    return {
        "served": measured["served"].figures,
        "served_default": measured["served_default"].figures,
        "sources": {
            name: {**measured[f"source {name}"].figures, "users": len(drawn)}
            for name in recommender.sources
        },
        "baselines": rows,
        "served_minus_baseline": against,
    }


def table_rows(result: Mapping[str, Any]) -> tuple[list[str], list[list[Any]]]:
    """The result as one table: columns, and a row for each ranker."""
    columns = ["ndcg@20", "recall@20", "map@20", "hit@20", "tail_ndcg@20", "coverage"]
    columns += ["novelty", "long_tail_share"]  # what fits a terminal; --json has all
    rankers = {"served": result["served"], "served, default profile": result["served_default"]}
    rankers |= {f"source {name}": figures for name, figures in result["sources"].items()}
    rankers |= {f"baseline {name}": figures for name, figures in result["baselines"].items()}
    rows = [
        [
            name,
            *("" if figures[column] is None else round(figures[column], 4) for column in columns),
        ]
        for name, figures in rankers.items()
    ]
    return ["ranker", *columns], rows


def _ranked(recommender: Lister, users: I64, now: int, **wanted: str) -> I32:
    """(u, SHOWN) items; without a profile or source that is wanted, as relevance alone ranks."""
    parts: Sequence[I32] = [
        recommender.rank_users(users[begin : begin + RANK_BLOCK], SHOWN, now=now, **wanted).items
        for begin in range(0, len(users), RANK_BLOCK)
    ]
    return np.concatenate(parts) if parts else np.zeros((0, SHOWN), np.int32)


def _rating_errors(
    fit: GraphSnapshot,
    test: HeldOut,
    users: Vocabulary,
    items: Vocabulary,
    recommender: Recommender,
) -> dict[str, Any]:
    if not len(test.ratings.values):
        return {}
    rows = users.rows(test.users)[test.ratings.users]
    columns = items.rows(test.items)[test.ratings.items]
    known = (rows >= 0) & (columns >= 0)
    test_ratings = ratings.Ratings(rows[known], columns[known], test.ratings.values[known])
    table = recommender.release.table
    neighbours, scores = table.neighbours, table.scores
    origin, rank = np.nonzero(neighbours >= 0)
    similar = csr_array(
        (scores[origin, rank].astype(np.float64), (origin, neighbours[origin, rank])),
        shape=(len(items), len(items)),
    )
    return ratings.errors(ratings.ratings_of(fit), test_ratings, (len(users), len(items)), similar)
