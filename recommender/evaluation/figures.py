"""The figures of ranked lists beside what was to be found, with their intervals."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from embeddings import metrics
from graph.arrays import F64, I32, I64
from graph.weighted import WeightedGraph

SHOWN = 20  # length of the lists


CUTS = (10, 20)


COMPARED = ("recall@20", "ndcg@20")


DIVERSITY_LISTS = 500  # most lists compared item by item, evenly drawn: that takes longest


@dataclass
class Measured:
    figures: dict[str, Any]
    per_user: dict[str, F64]

    def of(self, users: I64) -> "Measured":
        """The values of some of the users only; no figures."""
        return Measured({}, {name: values[users] for name, values in self.per_user.items()})

    def add_intervals(self, seed: int) -> None:
        both = metrics.bootstrap(np.stack(list(self.per_user.values()), axis=1), seed=seed)
        edges = both.round(6).tolist() if len(next(iter(self.per_user.values()))) else []
        self.figures["intervals"] = dict(zip(self.per_user, edges, strict=False))


class View:
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

    def measure(self, ranked: I32) -> Measured:
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
        return Measured({name: round(value, 6) for name, value in figures.items()}, per_user)


def difference(ours: Measured, theirs: Measured, seed: int) -> dict[str, Any]:
    columns = np.stack([ours.per_user[name] - theirs.per_user[name] for name in COMPARED], axis=1)
    intervals = metrics.bootstrap(columns, seed=seed)
    return {
        name: {"mean": _mean(columns[:, column]), "interval": intervals[column].round(6).tolist()}
        for column, name in enumerate(COMPARED)
    }


def _mean(values: F64) -> float:
    return float(values.mean()) if len(values) else 0.0
