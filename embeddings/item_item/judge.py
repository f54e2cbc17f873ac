"""How good blended scores are: NDCG@20 and Recall@20 on a held-back part."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from embeddings import metrics
from embeddings.item_item.item_table import ItemTable, history_of, score_history
from embeddings.item_item.side_by_side import ShortLists, Targets, score_weightings, short_lists
from graph.arrays import F32, I32

TOP = 20
PerUser = NDArray[np.float64]  # (b, 2) NDCG@20 and Recall@20


class Judge:
    """NDCG@20 and Recall@20 of blended scores for a fixed sample of users.

    `fit` (u, i) holds their known entries, `select` (u, i) those to be found. Items that they have
    `seen` (u, i) are never ranked, as in serving.
    """

    def __init__(
        self,
        fit: sparse.csr_matrix,
        select: sparse.csr_matrix,
        sample: int,
        seed: int,
        threads: int,
        seen: sparse.csr_matrix | None = None,
    ) -> None:
        usable = np.flatnonzero((np.diff(select.indptr) > 0) & (np.diff(fit.indptr) > 0))
        if len(usable) > sample:
            usable = np.sort(np.random.default_rng(seed).choice(usable, sample, replace=False))
        self.users = usable
        self._wanted = history_of(select, usable)
        self.histories = history_of(fit, usable)
        if seen is not None:
            shut = sparse.csr_matrix(seen[usable], dtype=np.float32)
            self.histories = _with_silent(self.histories, shut, self._wanted)
        self._threads = threads

    def __call__(self, supports: I32, blended: F32) -> tuple[float, float]:
        ndcg, recall = self.per_user(supports, blended).mean(axis=0)
        return float(ndcg), float(recall)

    def per_user(self, supports: I32, blended: F32) -> PerUser:
        """NDCG@20 and Recall@20 of each user: (b, 2)."""
        return self.at_depths(supports, blended, [TOP])[0]

    def at_depths(self, supports: I32, blended: F32, depths: Sequence[int]) -> list[PerUser]:
        """The same of the first items of each list, up to 20: (b, 2) for each depth."""
        history = self.histories
        top, _ = score_history(
            ItemTable(supports, blended),
            history.indptr,
            history.indices,
            history.data,
            TOP,
            threads=self._threads,
        )
        return [top_per_user(top[:, :depth], self._wanted) for depth in depths]

    def by_weightings(
        self,
        targets: Targets,
        blended: F32,
        weights: F32,
        follows: ItemTable | None = None,
        newest: F32 | None = None,
    ) -> list[PerUser]:
        """The same for each of k weightings (nnz, k) of what stands in `histories`.

        `newest` (nnz, k) are the weights with which the same entries read `follows`.
        """
        tops = score_weightings(
            targets, blended, self.histories, weights, TOP, self._threads, follows, newest
        )
        return [top_per_user(top, self._wanted) for top in tops]

    def short_lists(self, targets: Targets, scores: F32) -> ShortLists:
        """The short lists: what may come first under any mixture of these scores (r, c, s)."""
        return short_lists(targets, scores, self.histories, self._wanted, self._threads)

    def values_of(self, values: sparse.csr_matrix) -> F32:
        """(nnz,) what `values` (u, i) holds of each entry of `histories`."""
        own = sparse.csr_matrix(values[self.users])
        rows = np.repeat(np.arange(len(self.users)), np.diff(self.histories.indptr))
        return np.asarray(own[rows, self.histories.indices], np.float32).ravel()


def _with_silent(
    histories: sparse.csr_matrix, shut: sparse.csr_matrix, wanted: sparse.csr_matrix
) -> sparse.csr_matrix:
    """`histories` (b, i) with zeros stored for `shut` items: they add nothing and are not ranked.

    All three have non-negative weights; what is `wanted` is left out.
    """
    shut = shut.sign()
    shut = sparse.csr_matrix(shut - shut.multiply(wanted.sign()))
    shut.eliminate_zeros()
    both = sparse.csr_matrix(histories.sign() + shut)
    both.sort_indices()
    rows = np.repeat(np.arange(both.shape[0]), np.diff(both.indptr))
    if both.nnz:
        both.data = np.asarray(histories[rows, both.indices], np.float32).ravel()
    return both


def top_quality(top: I32, wanted: sparse.csr_matrix) -> tuple[float, float]:
    """Mean NDCG and Recall of ranked item rows (b, n) against the wanted entries (b, i)."""
    ndcg, recall = top_per_user(top, wanted).mean(axis=0)
    return float(ndcg), float(recall)


def top_per_user(top: I32, wanted: sparse.csr_matrix) -> PerUser:
    """NDCG and Recall of each row of ranked items (b, n) against the wanted entries: (b, 2)."""
    counts, depth = np.diff(wanted.indptr), top.shape[1]
    hits = metrics.hits(top, wanted)
    return np.column_stack([metrics.ndcg(hits, counts, depth), metrics.recall(hits, counts, depth)])
