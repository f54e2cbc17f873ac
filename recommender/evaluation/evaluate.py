"""How well a release answers: every item ranked, train masked, over the path that serves.

`evaluate_snapshot` tells the story for given test data, `evaluate_store` cuts the test part off
first. Figures are of the neutral profile; those of the default one stand beside them. Nothing
is learned from the test part: it is used once, after everything is fitted.
"""

import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from scipy.sparse import csr_array

from embeddings import metrics
from graph.arrays import F64, I32, I64
from graph.domains import derive_domains
from graph.errors import InputError
from graph.model import NO_TIME
from graph.snapshot import GraphSnapshot, drop_pairs, take_snapshot
from graph.store import GraphStore
from graph.vocabulary import Vocabulary
from graph.weighted import WeightedGraph
from graph.weighting import scale_of, weigh
from recommender.evaluation import ratings
from recommender.learning.build import RefreshConfig
from recommender.learning.train import build_release
from recommender.measures.baselines import Baseline, rank_all, tuned
from recommender.measures.split import How, held_out, relevant_pairs
from recommender.ranking.request import NEUTRAL
from recommender.segments.settings import SegmentSettings
from recommender.serving.profiles import SEGMENTS
from recommender.serving.recommend import Recommender

Say = Callable[[str], None]

SHOWN = 20  # length of the lists
CUTS = (10, 20)
RANK_BLOCK = 4096  # users ranked in one call
COMPARED = ("recall@20", "ndcg@20")
SAMPLED_USERS = 6_000  # asked of single sources and baselines at most: what is served gets all
DIVERSITY_LISTS = 500  # at most are compared item by item, evenly drawn: it is the dearest
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
        profile: str = NEUTRAL,
        source: str | None = None,
        now: int = 0,
    ) -> Any:
        """Something with `items` i32 (b, n), -1 where a list is shorter."""
        ...


@dataclass(frozen=True)
class HeldOut:
    """Pairs to be found, and ratings to be guessed, by ids of their own vocabularies."""

    users: Vocabulary
    items: Vocabulary
    pairs: tuple[I64, I64]  # rows of users and items, each pair once
    ratings: ratings.Ratings
    cut: str  # "given", or how it was cut


@dataclass
class Steps:
    """Seconds and memory of each step, in order."""

    say: Say = lambda _: None
    taken: dict[str, dict[str, float]] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure a block. Memory is the highest of this process up to the end of the block."""
        self.say(name)
        began = time.perf_counter()
        yield
        seconds = round(time.perf_counter() - began, 3)
        self.taken[name] = {"seconds": seconds, "peak_rss_mb": peak_rss_mb()}


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
    """Hold a part of the store's interactions back, learn from the rest, look for the part.

    Args:
        store: where the events lie.
        config: as of a refresh; its seed draws the parts, too.
        folder: empty; the release on trial is built here.
        method: see `split.held_out`; None: by time where times exist, else at random.
        now: seconds since 1970.
        baselines: whether to tune and measure those as well.
        settings: how users are grouped and which profiles an editor wrote; None: the defaults.
        say: called with a sentence at each step.
    """
    steps = Steps(say)
    with steps.step("snapshot"):
        snapshot = take_snapshot(store)
    with steps.step("split"):
        fit, test = cut(snapshot, config, method, now=now)
    return evaluate_snapshot(
        fit, test, config, folder, now=now, baselines=baselines, settings=settings, steps=steps
    )


def cut(
    snapshot: GraphSnapshot, config: RefreshConfig, method: How | None, *, now: int
) -> tuple[GraphSnapshot, HeldOut]:
    """The part to learn from, and the relevant pairs that were held out of it.

    Which pairs are held out is drawn by all ratings; which of them are good, and to be found, the
    scale of the part to learn from tells, as it would of ratings that come later.
    """
    graph = weigh(snapshot, config.weighting, now)
    pairs = relevant_pairs(snapshot, graph.user_items, config.seed)
    if method is None:
        method = "time" if (pairs.at != NO_TIME).any() else "random"
    out = held_out(pairs, method)
    users, items = pairs.users[out], pairs.items[out]
    fit = drop_pairs(snapshot, users.astype(np.int32), items.astype(np.int32))
    rated = ratings.ratings_of(snapshot)
    width = len(snapshot.items)
    gone = np.isin(rated.users * width + rated.items, users * width + items)
    kept = ratings.Ratings(rated.users[gone], rated.items[gone], rated.values[gone])
    scale = scale_of(fit, config.weighting)
    if scale != scale_of(snapshot, config.weighting):
        judged = weigh(snapshot, replace(config.weighting, rating_scale=scale), now).user_items
        good = np.asarray(judged[users, items]).ravel() > 0
        users, items = users[good], items[good]
    return fit, HeldOut(
        users=snapshot.users, items=snapshot.items, pairs=(users, items), ratings=kept, cut=method
    )


def given_part(
    snapshot: GraphSnapshot, config: RefreshConfig, *, now: int, train: GraphSnapshot
) -> HeldOut:
    """Test data given from outside, read into a snapshot of its own.

    What a good rating is the scale of the `train` part tells.
    """
    scale = scale_of(train, config.weighting)
    graph = weigh(snapshot, replace(config.weighting, rating_scale=scale), now)
    pairs = relevant_pairs(snapshot, graph.user_items, config.seed)
    rated = ratings.ratings_of(snapshot)
    return HeldOut(
        users=snapshot.users,
        items=snapshot.items,
        pairs=(pairs.users, pairs.items),
        ratings=rated,
        cut="given",
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
    _check_something_to_find(counts)
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
        graph: what was learned from: popularity, what is masked for the baselines, and by tags
            (else by common users) how alike items are.
        baselines: name -> fitted baseline.
        seed: of the bootstrap, and of the draw of users.
        now: seconds since 1970, for the freshness of what visitors get.
        sampled_users: so many users are drawn when there are more; single sources and baselines
            answer for them only, what is served is compared on the same ones. None: all.
        steps: called at each step; it measures them.
    """
    steps = steps or Steps()
    users = np.flatnonzero(np.diff(truth.indptr)).astype(np.int64)
    view = _View(truth[users], graph)
    drawn = np.arange(len(users))
    if sampled_users is not None and len(users) > sampled_users:
        order = np.random.default_rng(seed).permutation(len(users))
        drawn = np.sort(order[:sampled_users])
    sampled_view = view if len(drawn) == len(users) else _View(truth[users[drawn]], graph)
    measured: dict[str, _Measured] = {}
    for key, profile in (("served", NEUTRAL), ("served_default", SEGMENTS)):
        with steps.step(key):
            measured[key] = view.measure(_ranked(recommender, users, profile, None, now))
    for source in recommender.sources:
        with steps.step(f"source {source}"):
            ranked = _ranked(recommender, users[drawn], NEUTRAL, source, now)
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
            name: _difference(measured["served"].of(drawn), measured[f"baseline {name}"], seed)
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


def known_truth(
    test: HeldOut, users: Vocabulary, items: Vocabulary, graph: WeightedGraph
) -> tuple[csr_array, dict[str, int]]:
    """The test pairs in the rows of the release (u, i), and the counts of what was left out.

    Left out: users and items that nobody knows, pairs that the train data has too (they are
    masked in every ranking), and users without any relevant train event.
    """
    rows, columns = (
        vocabulary.rows(own)[positions] if len(own) else np.zeros(0, np.int64)
        for vocabulary, own, positions in zip(
            (users, items), (test.users, test.items), test.pairs, strict=True
        )
    )
    user_known, item_known = rows >= 0, columns >= 0
    known = user_known & item_known
    width = len(items)
    seen = graph.user_seen
    owners = np.repeat(np.arange(seen.shape[0], dtype=np.int64), np.diff(seen.indptr))
    masked = known & np.isin(rows * width + columns, owners * width + seen.indices)
    silent = known & (np.diff(graph.user_items.indptr)[np.where(known, rows, 0)] == 0)
    kept = known & ~masked & ~silent
    truth = csr_array(
        (np.ones(int(kept.sum()), np.float32), (rows[kept], columns[kept])),
        shape=(len(users), width),
    )
    truth.sort_indices()
    return truth, {
        "test_pairs_given": len(rows),
        "test_pairs_of_unknown_users": int((~user_known).sum()),
        "test_pairs_of_unknown_items": int((user_known & ~item_known).sum()),
        "test_pairs_in_train": int(masked.sum()),
        "test_pairs_of_users_without_history": int((silent & ~masked).sum()),
        "test_pairs": int(kept.sum()),
        "test_users": len(np.unique(rows[kept])),
        "unknown_users": len(np.unique(test.pairs[0][~user_known])),
        "unknown_items": len(np.unique(test.pairs[1][~item_known])),
    }


def _check_something_to_find(counts: Mapping[str, int]) -> None:
    if counts["test_pairs"]:
        return
    pairs = counts["test_pairs_given"]
    raise InputError(
        "there is nothing to find: "
        + (
            f"of {pairs:,} test pairs {counts['test_pairs_of_unknown_users']:,} are of users and "
            f"{counts['test_pairs_of_unknown_items']:,} of items that the train data does not "
            f"know, {counts['test_pairs_in_train']:,} are in the train data, and "
            f"{counts['test_pairs_of_users_without_history']:,} of users without anything to "
            "learn from; check that both name users and items alike"
            if pairs
            else "no relevant pair was held out; load more events, or choose another --split"
        )
    )


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


def peak_rss_mb() -> float:
    """The most memory that this process held so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1024 * 1024 if sys.platform == "darwin" else 1024), 1)


@dataclass
class _Measured:
    figures: dict[str, Any]
    per_user: dict[str, F64]

    def of(self, users: I64) -> "_Measured":
        """The values of some of the users only; no figures."""
        return _Measured({}, {name: values[users] for name, values in self.per_user.items()})

    def add_intervals(self, seed: int) -> None:
        both = metrics.bootstrap(np.stack(list(self.per_user.values()), axis=1), seed=seed)
        edges = both.round(6).tolist() if len(next(iter(self.per_user.values()))) else []
        self.figures["intervals"] = dict(zip(self.per_user, edges, strict=False))


class _View:
    """What every ranker is measured against."""

    def __init__(self, truth: csr_array, graph: WeightedGraph) -> None:
        self.truth = truth  # (asked users, i)
        self.relevant = np.diff(truth.indptr)
        self.items = truth.shape[1]
        self.users = graph.user_items.shape[0]
        self.popularity = np.bincount(graph.user_items.indices, minlength=self.items)
        self.in_tail = metrics.tail(self.popularity)
        self.tail_truth = truth.copy()
        self.tail_truth.data = truth.data * self.in_tail[truth.indices]
        self.tail_truth.eliminate_zeros()
        described = graph.item_tags if graph.item_tags.nnz else graph.user_items.T.tocsr()
        self.features = described.astype(np.float64)

    def measure(self, ranked: I32) -> _Measured:
        hits = metrics.hits(ranked, self.truth)
        per_user = {}
        for k in reversed(CUTS):
            per_user[f"recall@{k}"] = metrics.recall(hits, self.relevant, k)
            per_user[f"ndcg@{k}"] = metrics.ndcg(hits, self.relevant, k)
            per_user[f"map@{k}"] = metrics.average_precision(hits, self.relevant, k)
            per_user[f"hit@{k}"] = metrics.hit_rate(hits, k)
        figures = {name: _mean(values) for name, values in per_user.items()}
        in_tail = metrics.hits(ranked, self.tail_truth)
        wanted = np.diff(self.tail_truth.indptr)
        some = wanted > 0
        figures["tail_ndcg@20"] = _mean(metrics.ndcg(in_tail, wanted, SHOWN)[some])
        figures["tail_recall@20"] = _mean(metrics.recall(in_tail, wanted, SHOWN)[some])
        figures["coverage"] = metrics.coverage(ranked, self.items)
        figures["gini"] = metrics.gini(ranked, self.items)
        figures["novelty"] = metrics.novelty(ranked, self.popularity, self.users)
        figures["long_tail_share"] = metrics.long_tail_share(ranked, self.in_tail)
        some_lists = ranked[:: -(-len(ranked) // DIVERSITY_LISTS) or 1]
        figures["intra_list_diversity"] = metrics.intra_list_diversity(some_lists, self.features)
        return _Measured({name: round(value, 6) for name, value in figures.items()}, per_user)


def _ranked(recommender: Lister, users: I64, profile: str, source: str | None, now: int) -> I32:
    parts: Sequence[I32] = [
        recommender.rank_users(
            users[begin : begin + RANK_BLOCK], SHOWN, profile=profile, source=source, now=now
        ).items
        for begin in range(0, len(users), RANK_BLOCK)
    ]
    return np.concatenate(parts) if parts else np.zeros((0, SHOWN), np.int32)


def _difference(ours: _Measured, theirs: _Measured, seed: int) -> dict[str, Any]:
    columns = np.stack([ours.per_user[name] - theirs.per_user[name] for name in COMPARED], axis=1)
    intervals = metrics.bootstrap(columns, seed=seed)
    return {
        name: {"mean": _mean(columns[:, column]), "interval": intervals[column].round(6).tolist()}
        for column, name in enumerate(COMPARED)
    }


def _mean(values: F64) -> float:
    return float(values.mean()) if len(values) else 0.0


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
