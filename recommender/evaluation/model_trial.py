"""How well a recipe of the item table ranks, on pairs that are held back: one fit a fold.

By time: the last tenth of each user's pairs. k-fold: a tenth of them at a time, drawn by their
keys; the first fold is the *select* part. Pairs of the gate are in no fold, and nothing is learned
from them.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy import sparse

from embeddings.hold_out import places, taken
from embeddings.item_item.blend import build_item_table
from embeddings.item_item.judge import Judge
from embeddings.item_item.recency import weighed
from embeddings.item_item.recipe import Recipe, Scorer
from embeddings.item_item.scorers import Feature, LearnedVectors, Pair
from embeddings.item_item.table_settings import TableSettings
from graph.arrays import F64, I64, Flags
from graph.errors import InputError
from graph.snapshot import GraphSnapshot
from graph.weighted import WeightedGraph
from recommender.learning.build import Choice, RefreshConfig, network_vectors
from recommender.learning.held_parts import (
    DATED,
    entries_of,
    features_of,
    order_of_pairs,
    without_written_tags,
)
from recommender.learning.parts import parts_of
from recommender.learning.split import (
    GATE,
    GATE_SHARE,
    MINIMUM_HISTORY,
    SELECT_SHARE,
    Pairs,
    held_out,
    relevant_pairs,
)

Split = Literal["folds", "time"]
MOST_FOLDS = 5
MOST_USERS = 4_000  # asked in each fold


@dataclass(frozen=True)
class Fold:
    """What is learned from, and who is asked for the rest."""

    fit: sparse.csr_matrix  # (u, i)
    features: list[Feature]
    held: sparse.csr_matrix  # (u, i)


@dataclass(frozen=True)
class ModelTrial:
    """The folds; the same users and pairs for each recipe."""

    folds: tuple[Fold, ...]
    split: Split  # how they are held back
    seen: sparse.csr_matrix  # (u, i) never ranked
    order: sparse.csr_matrix | None  # (u, i) in which the pairs came
    learned: tuple[LearnedVectors, ...]
    config: RefreshConfig
    users: I64  # (s,) rows of the users that some fold asks

    def ndcg(self, recipe: Recipe) -> F64:
        """NDCG@20 (s,) of each user under a recipe, the mean over the folds that ask them."""
        total, times = np.zeros(self.seen.shape[0]), np.zeros(self.seen.shape[0])
        for fold in self.folds:
            table, _, _ = build_item_table(
                fold.fit, fold.features, seed=self.config.seed, recipe=recipe,
                threads=self.config.threads, learned=self.learned,
            )  # fmt: skip
            histories = fold.fit
            if self.order is not None and recipe.recency_exponent:
                histories = weighed(fold.fit, self.order, recipe.recency_exponent)
            judge = Judge(
                histories, fold.held, MOST_USERS, self.config.seed, self.config.threads, self.seen
            )
            total[judge.users] += judge.per_user(table.neighbours, table.scores)[:, 0]
            times[judge.users] += 1
        ndcg: F64 = total[self.users] / np.maximum(times[self.users], 1)
        return ndcg


def trial_of(
    snapshot: GraphSnapshot,
    graph: WeightedGraph,
    choice: Choice,
    config: RefreshConfig,
    *,
    split: Split | None,
    folds: int,
) -> ModelTrial:
    """The folds of a snapshot.

    Args:
        snapshot: all of the data.
        graph: the same, weighted.
        choice: what a refresh would choose; its networks have not seen the *select* part, so
            where there are any, that part is the only fold.
        config: of the refresh.
        split: how pairs are held back; None: by time where a refresh would read the order, as
            lists are asked for what comes next, else by folds.
        folds: how many, 1 to `MOST_FOLDS`; one by time.

    Raises:
        InputError: by time, where too few pairs have one.
    """
    user_items = sparse.csr_matrix(graph.user_items)
    user_items.sort_indices()
    pairs = relevant_pairs(snapshot, graph.user_items, config.seed)
    width = max(user_items.shape[1], 1)
    users, items = parts_of(snapshot, config.seed).rows(GATE)
    gate = np.isin(pairs.users * width + pairs.items, users * width + items)
    order = order_of_pairs(pairs, user_items)
    split = _split_that_suits(split, order is not None)
    if choice.networks:
        split, folds = "folds", 1
    made = []
    judging = np.zeros(user_items.shape[0], np.bool_)
    seen = sparse.csr_matrix(graph.user_seen + graph.user_hides)
    for held in _held(pairs, split, folds):
        gone = held | gate
        without = without_written_tags(snapshot, graph, pairs, gone, config.weighting)
        kept = entries_of(pairs, ~gone, user_items)
        fold = Fold(
            sparse.csr_matrix(user_items.multiply(kept), dtype=np.float32),
            features_of(without),
            entries_of(pairs, held & ~gate, user_items),
        )
        judging[Judge(fold.fit, fold.held, MOST_USERS, config.seed, 1).users] = True
        made.append(fold)
    return ModelTrial(
        folds=tuple(made),
        split=split,
        seen=seen,
        order=order,
        learned=tuple(_unseen(network_vectors(choice.networks))),
        config=config,
        users=np.flatnonzero(judging).astype(np.int64),
    )


def recipe_with(base: Recipe, settings: TableSettings) -> Recipe:
    """The recipe with what is set in place of what was chosen."""
    weights: dict[Scorer, float] = {}
    for scorer, weight in base.weights:
        if scorer.kind in ("ridge", "exact") and settings.penalty is not None:
            weights[replace(scorer, strength=settings.penalty)] = weight
        elif scorer.kind == "spectral" and settings.dimensions is not None:
            weights[replace(scorer, dimensions=settings.dimensions)] = weight
        elif scorer.kind != "learned" or settings.network_weight is None:
            weights[scorer] = weight
        elif settings.network_weight:
            weights[scorer] = settings.network_weight
    return replace(
        base,
        weights=tuple(weights.items()),
        support_width=settings.width or base.support_width,
        table_width=settings.width or base.table_width,
        ridge_width=settings.neighbours or base.ridge_width,
    )


def _split_that_suits(wanted: Split | None, ordered: bool) -> Split:
    if wanted == "time" and not ordered:
        raise InputError(
            f"--split time: fewer than {DATED:.0%} of the pairs have a time; load it with the "
            "events (or --ordered, if rows are in order), or choose --split folds"
        )
    return wanted or ("time" if ordered else "folds")


def _held(pairs: Pairs, split: Split, folds: int) -> list[Flags]:
    if split == "time":
        return [held_out(pairs, "time", share=SELECT_SHARE)]
    position, sizes = places(pairs.users, pairs.keys)
    first = taken(sizes, GATE_SHARE, MINIMUM_HISTORY)
    share = taken(sizes, SELECT_SHARE, MINIMUM_HISTORY)
    begins = [first + number * share for number in range(folds)]
    # Whoever has too little for another fold is not asked in it.
    return [
        (position >= begin) & (position < np.minimum(begin + share, sizes - 1)) for begin in begins
    ]


def _unseen(learned: list[LearnedVectors]) -> list[LearnedVectors]:
    """The vectors that have not seen the *select* part, whatever they are asked for."""

    def both(pair: Pair, name: str) -> LearnedVectors:
        return LearnedVectors(name, pair, pair)

    return [both(vectors.without_select, vectors.name) for vectors in learned]
