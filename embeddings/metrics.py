"""How good a ranking is: small pure functions, each with its formula.

A ranking is i32 (u, k): the rows of the items shown to each user, best first, -1 where the list
is shorter. `hits` (u, k) says which of them the user wanted, `relevant` (u,) how many there were
to find. Values per user come back as f64 (u,); users with nothing to find get 0 everywhere, so
leave them out before averaging.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array, csr_matrix

from graph.arrays import F64, I32, Flags

Ranked = I32  # (u, k), see above
Counts = npt.NDArray[Any]  # non-negative numbers

HEAD_SHARE = 0.5
DRAWN_AT_ONCE = 2_000_000  # users in the rounds of a bootstrap that are summed together
FEATURE_BLOCK = 4096  # users whose lists are turned into feature sums at once


def hits(ranked: Ranked, truth: csr_array | csr_matrix) -> Flags:
    """Which of the ranked items (u, k) stand in the same row of `truth` (u, i): bool (u, k)."""
    users, items = truth.shape
    if ranked.shape[0] != users:
        raise ValueError(f"{ranked.shape[0]} rankings for {users} rows of truth")
    owners = np.repeat(np.arange(users, dtype=np.int64), np.diff(truth.indptr))
    wanted = np.sort(owners * items + truth.indices)  # (t,)
    shown = np.arange(users, dtype=np.int64)[:, None] * items + ranked  # (u, k)
    if not len(wanted):
        return np.zeros(ranked.shape, np.bool_)
    places = np.searchsorted(wanted, shown).clip(max=len(wanted) - 1)
    hit: Flags = (wanted[places] == shown) & (ranked >= 0)
    return hit


def recall(hit: Flags, relevant: Counts, k: int) -> F64:
    """Part of what there was to find that stands in the first k: |hits@k| / |relevant|."""
    return _ratio(hit[:, :k].sum(axis=1), relevant)


def ndcg(hit: Flags, relevant: Counts, k: int) -> F64:
    """DCG@k / IDCG@k with DCG = sum of hit_j / log2(j + 1), j from 1 (Järvelin 2002).

    The ideal list has min(k, |relevant|) hits at its top: the convention of LightGCN's code.
    """
    discounts = 1.0 / np.log2(np.arange(2, k + 2))  # (k,)
    ideal = np.concatenate([[0.0], np.cumsum(discounts)])  # (k + 1,) by number of hits
    gains = hit[:, :k] @ discounts[: hit[:, :k].shape[1]]  # (u, k) @ (k,) -> (u,)
    return _ratio(gains, ideal[np.minimum(relevant, k).astype(np.int64)])


def average_precision(hit: Flags, relevant: Counts, k: int) -> F64:
    """AP@k = sum over hits at j <= k of (hits@j / j), over min(k, |relevant|); its mean is MAP."""
    top = hit[:, :k]
    precisions = np.cumsum(top, axis=1) / np.arange(1, top.shape[1] + 1)  # (u, k)
    return _ratio((precisions * top).sum(axis=1), np.minimum(relevant, k))


def hit_rate(hit: Flags, k: int) -> F64:
    """1 for users with at least one hit in the first k, else 0."""
    rate: F64 = hit[:, :k].any(axis=1).astype(np.float64)
    return rate


def rmse(predicted: Counts, actual: Counts) -> float:
    """Root mean square error: sqrt(mean (p - a)²); NaN without pairs."""
    difference = np.asarray(predicted, np.float64) - np.asarray(actual, np.float64)
    return float(np.sqrt(np.mean(difference**2))) if len(difference) else float("nan")


def mae(predicted: Counts, actual: Counts) -> float:
    """Mean absolute error: mean |p - a|; NaN without pairs."""
    difference = np.asarray(predicted, np.float64) - np.asarray(actual, np.float64)
    return float(np.mean(np.abs(difference))) if len(difference) else float("nan")


def exposures(ranked: Ranked, items: int) -> npt.NDArray[np.int64]:
    """How often each item (i,) is shown."""
    shown = np.bincount(ranked[ranked >= 0].ravel(), minlength=items)
    return shown.astype(np.int64)


def coverage(ranked: Ranked, items: int) -> float:
    """Part of the catalogue that is shown to anybody: |shown at least once| / |items|."""
    return float((exposures(ranked, items) > 0).mean()) if items else 0.0


def gini(ranked: Ranked, items: int) -> float:
    """Inequality of exposure over the whole catalogue: 0 all items equal, towards 1 one item.

    sum_j (2j - n - 1) x_j / (n · sum x), x ascending, j from 1; never shown items count.
    """
    shown = np.sort(exposures(ranked, items))
    total = shown.sum()
    if not total:
        return 0.0
    places = 2 * np.arange(1, items + 1) - items - 1
    return float(places @ shown / (items * total))


def novelty(ranked: Ranked, popularity: Counts, users: int) -> float:
    """Mean self-information of what is shown: -log2(share of users who have it), in bits.

    `popularity` (i,) counts users; an item that nobody has counts as if one had it.
    """
    shown = ranked[ranked >= 0]
    if not len(shown) or not users:
        return 0.0
    return float(-np.log2(np.maximum(popularity, 1)[shown] / users).mean())


def tail(popularity: Counts, head_share: float = HEAD_SHARE) -> Flags:
    """The long tail (i,): every item outside the head.

    The head is the smallest set of most popular items that holds `head_share` of all
    interactions (ties: lower rows first). Items without interactions are tail.
    """
    order = np.argsort(-np.asarray(popularity, np.float64), kind="stable")
    total = float(np.sum(popularity))
    flags = np.ones(len(order), np.bool_)
    if total:
        reached = np.cumsum(np.asarray(popularity, np.float64)[order])
        head = int(np.searchsorted(reached, head_share * total - 1e-9 * total)) + 1
        flags[order[:head]] = False
    return flags


def long_tail_share(ranked: Ranked, in_tail: Flags) -> float:
    """Part of what is shown that lies in the tail."""
    shown = ranked[ranked >= 0]
    return float(in_tail[shown].mean()) if len(shown) else 0.0


def intra_list_diversity(ranked: Ranked, features: csr_array) -> float:
    """Mean over lists of 1 - mean cosine of all pairs of distinct places (Ziegler 2005).

    `features` (i, f) describes the items; items without any are unlike everything. Lists of
    fewer than two items are left out; without any list the answer is 0. The pairs are not
    enumerated: the sum of their cosines is (|sum f|² - sum |f|²) / 2 for f of length one.
    """
    lengths = np.sqrt(np.asarray(features.multiply(features).sum(axis=1)).ravel())  # (i,)
    scale = np.divide(1.0, lengths, out=np.zeros_like(lengths, dtype=np.float64), where=lengths > 0)
    units = csr_array(
        (
            features.data * np.repeat(scale, np.diff(features.indptr)),
            features.indices,
            features.indptr,
        ),
        shape=features.shape,
    )
    own = (scale > 0).astype(np.float64)  # |f|² of each item
    values = []
    for begin in range(0, len(ranked), FEATURE_BLOCK):
        block = ranked[begin : begin + FEATURE_BLOCK]
        shown = block >= 0
        sizes = shown.sum(axis=1)
        chosen = csr_array(
            (np.ones(int(sizes.sum())), block[shown], np.concatenate([[0], np.cumsum(sizes)])),
            shape=(len(block), features.shape[0]),
        )
        sums = chosen @ units  # (b, i) @ (i, f) -> (b, f)
        squares = np.asarray(sums.multiply(sums).sum(axis=1)).ravel() - chosen @ own
        several = sizes >= 2
        values.append(1.0 - squares[several] / (sizes[several] * (sizes[several] - 1.0)))
    together = np.concatenate(values) if values else np.zeros(0)
    return float(together.mean()) if len(together) else 0.0


def bootstrap(
    values: npt.ArrayLike, *, seed: int, rounds: int = 1000, level: float = 0.95
) -> npt.NDArray[np.float64]:
    """Percentile intervals of means over users (Efron 1979): f64 (m, 2), low and high.

    `values` is (u,) or (u, m); one draw of users serves all m columns, so that the interval of
    a difference of two rankers is that of the column of their differences. Same seed, same
    intervals. Without users they are NaN.
    """
    means = bootstrap_means(values, seed=seed, rounds=rounds)
    edge = 50.0 * (1.0 - level)
    intervals: F64 = np.percentile(means, [edge, 100.0 - edge], axis=0).T
    return intervals


def bootstrap_means(values: npt.ArrayLike, *, seed: int, rounds: int = 1000) -> F64:
    """Means over users drawn with replacement: f64 (rounds, m), NaN without users.

    `values` is (u,) or (u, m); one draw of users serves all columns.
    """
    columns = np.asarray(values, np.float64)
    columns = columns[:, None] if columns.ndim == 1 else columns  # (u, m)
    users = len(columns)
    if not users:
        return np.full((rounds, columns.shape[1]), np.nan)
    rng = np.random.default_rng(seed)
    means = np.empty((rounds, columns.shape[1]))
    step = max(1, DRAWN_AT_ONCE // users)
    for begin in range(0, rounds, step):
        times = [
            np.bincount(rng.integers(0, users, users), minlength=users)
            for _ in range(begin, min(begin + step, rounds))
        ]
        drawn = np.array(times, np.float64)  # (r, u)
        means[begin : begin + len(times)] = drawn @ columns / users  # (r, u) @ (u, m) -> (r, m)
    return means


def _ratio(part: Counts, total: Counts) -> F64:
    result = np.zeros(len(part), np.float64)
    np.divide(part, total, out=result, where=np.asarray(total) > 0)
    return result
