"""How well short histories are read: those of the judges, cut to their first few entries.

Which ones are known is drawn at random once, and once they are the oldest, if there is an order.
The entries that are cut off are neither read nor ranked.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from embeddings.item_item.item_table import ItemTable
from embeddings.item_item.judge import Judge, PerUser
from embeddings.item_item.recipe import Recipe
from embeddings.item_item.side_by_side import Targets
from embeddings.item_item.untold_order import worth_among
from graph.arrays import F32, F64, I32, I64

FIRST = (1, 2, 3, 5, 10)
"""Histories are cut to so many entries."""


@dataclass(frozen=True)
class Reading:
    """The cut histories of one judge: each entry's weight (nnz, k) under each of `FIRST`."""

    judge: Judge
    weights: F32
    newest: F32  # where what follows what is read
    sizes: I64  # (b, k) how many items each cut history has: fewer, where there are no more
    oldest: bool  # the oldest entries are known, not some drawn at random

    def per_user(self, targets: Targets, scores: F32, follows: ItemTable | None) -> list[PerUser]:
        """NDCG@20 and Recall@20 of each user (b, 2), for each of `FIRST`."""
        return self.judge.by_weightings(targets, scores, self.weights, follows, self.newest)


def readings(
    judges: Sequence[Judge], order: sparse.csr_matrix | None, recipe: Recipe, seed: int
) -> list[Reading]:
    """Each judge's histories cut at random, and to the oldest where `order` (u, i) is known.

    Entries weigh as serving weighs them: those drawn at random like a session of equal weights,
    the oldest by the recipe's recency.
    """
    made = []
    for judge in judges:
        drawn = np.random.default_rng(seed).random(judge.histories.nnz)
        made.append(_reading(judge, drawn, recipe, oldest=False))
        if order is not None:
            made.append(_reading(judge, judge.values_of(order), recipe, oldest=True))
    return made


def spoken_of(cut: Sequence[Reading], items: int) -> I32:
    """The items (r,) that any of the cut histories holds, from a catalogue of `items`."""
    spoken = np.zeros(items, np.bool_)
    for reading in cut:
        spoken[reading.judge.histories.indices[reading.weights.any(axis=1)]] = True
    return np.flatnonzero(spoken).astype(np.int32)


def _reading(judge: Judge, key: F32 | F64, recipe: Recipe, *, oldest: bool) -> Reading:
    histories = judge.histories
    places = _places(histories, key)
    rows = np.repeat(np.arange(histories.shape[0]), np.diff(histories.indptr))
    weights, newest, sizes = [], [], []
    for count in FIRST:
        there = (places < count) & (histories.data > 0)
        known = np.bincount(rows[there], minlength=histories.shape[0])
        own = histories.data * there
        if oldest:
            later = np.maximum(known[rows] - places, 1.0)
            recent, last = later**-recipe.recency_exponent, later**-recipe.follows_steepness
        else:
            recent, last = np.ones(len(own)), worth_among(known[rows], recipe.follows_steepness)
        weights.append(own * recent)
        newest.append(own * recipe.follows_weight * last)
        sizes.append(known)
    return Reading(
        judge, np.column_stack(weights).astype(np.float32),
        np.column_stack(newest).astype(np.float32), np.column_stack(sizes), oldest,
    )  # fmt: skip


def _places(histories: sparse.csr_matrix, key: F32 | F64) -> I64:
    """(nnz,) the place of each entry of its history by `key`; those without weight come last."""
    counts = np.diff(histories.indptr)
    rows = np.repeat(np.arange(len(counts)), counts)
    at = np.lexsort((key, histories.data <= 0, rows))
    places = np.empty(histories.nnz, np.int64)
    places[at] = np.arange(histories.nnz) - np.repeat(histories.indptr[:-1], counts)
    return places
