"""EASE, a linear item-item model in closed form (Steck 2019, arXiv:1905.03375).

Score = x·B with B = -P / diag(P), zero diagonal, P = (XᵀX + λI)⁻¹ in float32. Where there are fewer
users than items it is had from the users' side (Woodbury): with M = (XXᵀ + λI)⁻¹, column j of B is
XᵀMx_j / (1 - x_jᵀMx_j), and no matrix of items x items is made.
"""

from collections.abc import Callable

import numpy as np
from scipy.sparse import csr_array

from embeddings.item_item.exact_ridge import ridge_inverse
from graph.arrays import F32, I64

BLOCK = 512
Scores = Callable[[I64], F32]


def ease_scores(train: csr_array) -> Callable[[float], Scores]:
    """For each penalty, the scores of all items for rows of `train` (u, i): f32 (b, i)."""
    users = np.count_nonzero(np.diff(train.indptr))
    return _by_users(train) if users < train.shape[1] else _by_items(train)


def _by_items(train: csr_array) -> Callable[[float], Scores]:
    gram = (train.T @ train).tocsr()

    def made(penalty: float) -> Scores:
        weights = ridge_inverse(gram.toarray(), np.float32(penalty))
        weights /= -np.diag(weights).copy()  # column j by P_jj
        np.fill_diagonal(weights, 0.0)
        return lambda rows: np.ascontiguousarray(train[rows] @ weights)

    return made


def _by_users(train: csr_array) -> Callable[[float], Scores]:
    known = train[np.flatnonzero(np.diff(train.indptr))]
    by_item = known.T.tocsr()
    gram = known @ by_item

    def made(penalty: float) -> Scores:
        inverse = ridge_inverse(gram.toarray(), np.float32(penalty))
        own = np.empty(train.shape[1], np.float32)  # x_jᵀMx_j
        for begin in range(0, len(own), BLOCK):
            part = by_item[begin : begin + BLOCK]
            own[begin : begin + BLOCK] = part.multiply(part @ inverse).sum(axis=1)

        def scores(rows: I64) -> F32:
            shares = np.ascontiguousarray((train[rows] @ by_item @ inverse).T)  # (u, b)
            values = np.ascontiguousarray((by_item @ shares).T)  # (b, i)
            values -= train[rows].multiply(own[None, :]).toarray()  # nothing speaks for itself
            return np.asarray(values / np.maximum(1 - own, np.float32(1e-6)), np.float32)

        return scores

    return made
