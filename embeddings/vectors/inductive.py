"""A linear map from features to vectors, exported for items that the model has never seen.

Fitted here by ridge regression; `gnn_features.fit_inductive` fits one by a network, to be compared.
Applied by `fold_in.fold_in_item`. Nothing here needs torch, so workers can load a map.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from graph.arrays import F32, unit_rows

PENALTY = 1.0
"""Of the regression: what the squared entries of the map cost, beside the squared errors. This and
the power below, between 0 and 1/2: the best for both on a draw of cold items of citeulike-a and
ml-latest-small. With 1/2, rare features say too much."""
COLUMN_POWER = 0.25
_MOST_STEPS, _CLOSE = 30, 1e-3

Features = Mapping[str, sparse.csr_matrix]
"""What items have, by kind (tags, domains, words …): (i, f) positive weights."""


@dataclass(frozen=True)
class InductiveMap:
    """The vector of every feature, by kind: (f, d) each; zeros where nothing was learned.

    An item's vector is, over its kinds of features, the sum of weight * vector / sqrt(sum of the
    weights of that kind), brought to length one.
    """

    vectors: Mapping[str, F32]


def feature_scales(features: sparse.csr_matrix) -> F32:
    """(f,) column weights to the power -1/2 of an (i, f) matrix; 0 for features never seen."""
    totals = np.asarray(features.sum(axis=0), dtype=np.float64).ravel()
    scales = np.divide(1.0, np.sqrt(totals), out=np.zeros_like(totals), where=totals > 0)
    return scales.astype(np.float32)


def fit_ridge(features: Features, targets: F32) -> InductiveMap:
    """The map whose sums come nearest to the directions of `targets` (i, d), by ridge regression.

    Minimises |X Z - T|^2 + `PENALTY` |Z|^2 by conjugate gradients (Hestenes and Stiefel 1952,
    doi:10.6028/jres.049.044), for all d columns at once: X are the features, divided by the roots
    of the sums of their rows and the `COLUMN_POWER` of those of their columns, T the targets at
    length one. Time is linear in the entries of X. Items without features or without a target are
    left out; without any, all is 0.
    """
    scales = {kind: feature_scales(part) ** (2 * COLUMN_POWER) for kind, part in features.items()}
    lengths = np.linalg.norm(targets, axis=1)
    parts = [rows_scaled(part) @ sparse.diags(scales[kind]) for kind, part in features.items()]
    stacked = sparse.csr_matrix(sparse.hstack(parts), dtype=np.float32)
    known = np.flatnonzero((np.diff(stacked.indptr) > 0) & (lengths > 0))
    goal = unit_rows(targets[known])
    solved = _solved(sparse.csr_matrix(stacked[known]), goal)
    made, start = {}, 0
    for kind, part in features.items():
        stop = start + part.shape[1]
        made[kind] = scales[kind][:, None] * solved[start:stop]
        start = stop
    return InductiveMap(made)


def _solved(rows: sparse.csr_matrix, goal: F32) -> F32:
    """(f, d): (X'X + penalty) Z = X'T, column for column."""
    columns = rows.T.tocsr()
    residual: F32 = columns @ goal  # (f, k) @ (k, d)
    solved, way = np.zeros_like(residual), residual.copy()
    squares = first = np.square(residual).sum(axis=0)
    for _ in range(_MOST_STEPS):
        if (squares <= _CLOSE**2 * first).all():
            break
        image = columns @ (rows @ way) + np.float32(PENALTY) * way
        step = squares / np.maximum((way * image).sum(axis=0), 1e-30)
        solved += step * way
        residual -= step * image
        before, squares = squares, np.square(residual).sum(axis=0)
        way = residual + squares / np.maximum(before, 1e-30) * way
    return solved


def rows_scaled(features: sparse.csr_matrix) -> sparse.csr_matrix:
    """Each row divided by the root of its sum."""
    totals = np.asarray(features.sum(axis=1), dtype=np.float64).ravel()
    return sparse.csr_matrix(sparse.diags(np.where(totals > 0, totals, 1.0) ** -0.5) @ features)
