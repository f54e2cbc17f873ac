"""What rating a user would give: biases, corrected by what the user thought of nearby items.

Ratings are not what ranks here; this small model answers the question of RMSE and MAE where a
data set has ratings, with the release's own item–item table as its neighbourhood.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from embeddings import metrics
from graph.arrays import F64, I64
from graph.model import NO_TIME
from graph.snapshot import GraphSnapshot

RATING = "rating"
DAMPING = 5.0  # every user and item counts as having so many more ratings, at the mean
# Of the summed similarities, in units of the mean similarity; inf listens to the biases alone.
NEIGHBOUR_DAMPINGS = (1.0, 3.0, 10.0, 30.0, np.inf)
HELD_SHARE = 0.1  # share of each user's train ratings on which the damping is chosen
HELD_MOST = 20_000
_CELLS = 20_000_000  # users × items predicted at a time


@dataclass(frozen=True)
class Ratings:
    """The last rating of each pair of a user row and an item row (p of them)."""

    users: I64
    items: I64
    values: F64
    at: I64 | None = None  # seconds since 1970, `NO_TIME` where none; None: no times at all


def ratings_of(snapshot: GraphSnapshot) -> Ratings:
    """The events of kind `rating` that have a value; of a pair rated twice the later one."""
    events = snapshot.events
    kind = snapshot.kinds.index(RATING) if RATING in snapshot.kinds else -1
    rated = np.flatnonzero((events.kind == kind) & np.isfinite(events.value))
    at = np.maximum(events.at[rated], NO_TIME + 1)
    pair = events.user[rated].astype(np.int64) * len(snapshot.items) + events.item[rated]
    order = np.lexsort((at, pair))
    last = np.append(pair[order][1:] != pair[order][:-1], True) if len(order) else order > 0
    rated = rated[order[last]]
    return Ratings(
        events.user[rated].astype(np.int64),
        events.item[rated].astype(np.int64),
        events.value[rated].astype(np.float64),
        events.at[rated],
    )


def errors(
    train: Ratings, test: Ratings, shape: tuple[int, int], similar: csr_array | None
) -> dict[str, Any]:
    """RMSE and MAE of the test ratings, by biases alone and with the neighbourhood.

    `shape` is (u, i) of both; `similar` (i, i) leads from an item of the history to its
    neighbours, whose damping is chosen by RMSE on a tenth of the train ratings, the last of
    each user where they have times. Nothing to learn
    or to predict gives an empty dictionary.
    """
    if not len(train.values) or not len(test.values):
        return {}
    biases = predict(train, test.users, test.items, shape)
    result = {"pairs": len(test.values), "biases": _errors(biases, test.values)}
    if similar is not None:
        damping = chosen_damping(train, shape, similar)
        near = predict(train, test.users, test.items, shape, similar, damping)
        result["neighbours"] = _errors(near, test.values)
    return result


def chosen_damping(train: Ratings, shape: tuple[int, int], similar: csr_array) -> float:
    """The damping of the neighbourhood that guesses a held-back part of `train` best.

    A neighbourhood helps less with later ratings than with ones in between, and later ones are what
    is asked for. So if ratings have times, each user's last ones are held back. Biases are used
    alone unless the gain is greater than its standard error.
    """
    drawn = np.random.default_rng(0).permutation(len(train.values))
    count = min(HELD_MOST, int(HELD_SHARE * len(drawn)))
    if not count:
        return np.inf
    order = drawn if train.at is None else drawn[np.argsort(-_places(train, drawn), kind="stable")]
    held, fit = order[:count], np.sort(order[count:])
    kept = Ratings(train.users[fit], train.items[fit], train.values[fit])
    users, items, actual = train.users[held], train.items[held], train.values[held]

    def squared(damping: float) -> F64:
        predicted = predict(kept, users, items, shape, similar, damping)
        return np.square(predicted - actual)

    errors_of = {damping: squared(damping) for damping in NEIGHBOUR_DAMPINGS}
    best = min(errors_of, key=lambda damping: float(errors_of[damping].mean()))
    gain = errors_of[np.inf] - errors_of[best]
    return best if gain.mean() > gain.std() / np.sqrt(len(gain)) else np.inf


def predict(
    train: Ratings,
    users: I64,
    items: I64,
    shape: tuple[int, int],
    similar: csr_array | None = None,
    damping: float = np.inf,
) -> F64:
    """Predicted ratings of pairs (p,), within the range of those in `train`.

    mean + b_u + b_i + sum_j s_ji (r_uj - mean - b_u - b_j) / (sum_j s_ji + damping), over the
    items j that the user rated; the biases are damped means of what the parts before leave.
    `damping` counts in means of s; with inf, or without `similar`, the biases speak alone.
    """
    mean = train.values.mean()
    of_item = _damped(train.items, train.values - mean, shape[1])
    of_user = _damped(train.users, train.values - mean - of_item[train.items], shape[0])
    predicted: F64 = mean + of_user[users] + of_item[items]
    if similar is not None and np.isfinite(damping) and len(users):
        residuals = train.values - mean - of_user[train.users] - of_item[train.items]
        predicted = predicted + _neighbourhood(
            train, residuals, users, items, shape, similar, damping
        )
    return predicted.clip(train.values.min(), train.values.max())


def _neighbourhood(
    train: Ratings,
    residuals: F64,
    users: I64,
    items: I64,
    shape: tuple[int, int],
    similar: csr_array,
    damping: float,
) -> F64:
    cells = (train.users, train.items)
    deviations = csr_array((residuals, cells), shape=shape)
    rated = csr_array((np.ones(len(residuals)), cells), shape=shape)
    positive = similar.maximum(0).astype(np.float64)
    damped = damping * (positive.data.mean() if positive.nnz else 1.0)
    order = np.argsort(users, kind="stable")
    askers, begins = np.unique(users[order], return_index=True)
    begins = np.append(begins, len(users))
    result = np.zeros(len(users))
    step = max(1, _CELLS // max(1, shape[1]))
    for first in range(0, len(askers), step):
        block = askers[first : first + step]
        pairs = order[begins[first] : begins[first + len(block)]]
        rows, columns = np.searchsorted(block, users[pairs]), items[pairs]
        weighted = (deviations[block] @ positive).toarray()[rows, columns]
        weights = (rated[block] @ positive).toarray()[rows, columns]
        result[pairs] = weighted / (weights + damped)
    return result


def _places(train: Ratings, rows: I64) -> F64:
    """(n,) where each of some ratings stands among its user's, in time: 1 for the last."""
    users, at = train.users[rows], np.asarray(train.at)[rows]
    order = np.lexsort((at, users))
    counts = np.bincount(users)
    begins = np.cumsum(counts) - counts
    places = np.empty(len(rows))
    places[order] = (np.arange(len(rows)) - begins[users[order]] + 1) / counts[users[order]]
    return places


def _damped(groups: I64, values: F64, size: int) -> F64:
    sums = np.bincount(groups, values, minlength=size)
    means: F64 = sums / (np.bincount(groups, minlength=size) + DAMPING)
    return means


def _errors(predicted: F64, actual: F64) -> dict[str, float]:
    return {"rmse": metrics.rmse(predicted, actual), "mae": metrics.mae(predicted, actual)}
