"""Simple recommenders that know the order of things, to compare with.

Markov            what came directly after the last item, as shares (first order)
sequential rules  what came up to 10 items after the last one, by 1 / steps (Ludewig & Jannach 2018,
                  arXiv:1803.09587)
V-SKNN            what the nearest histories hold: newer items weigh more in likeness, an item of a
                  neighbour by the newest item that both share, and by its rarity (the same paper)
STAN              V-SKNN where items of a neighbour count less the farther they stand from the item
                  that both share (Garg et al. 2019, doi:10.1145/3331184.3331322); without its decay
                  by the age of sessions, since these lists have no times

All read lists of item rows, oldest first, and return the `n` best that are not in the list asked
about. Each chooses from its grid by NDCG@10 of the item that `tuned` holds back.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import product

import numpy as np
from numba import njit
from scipy import sparse

from graph.arrays import F32, I32

Lists = Sequence[Sequence[int]]
Ranked = Callable[[Lists, int], I32]
"""From lists to the n best items of each: (b, n), -1 pads."""
TUNING_USERS = 3_000
ASKED_AT_ONCE = 512


def markov(lists: Lists, items: int) -> Ranked:
    """Shares of what came next."""
    return _by_last(_steps(lists, items, 1, normed=True))


def rules(lists: Lists, items: int, reach: float, normed: float) -> Ranked:
    """What came within `reach` items, by 1 / steps; as shares if `normed`."""
    return _by_last(_steps(lists, items, int(reach), normed=bool(normed)))


def nearest_lists(
    lists: Lists, items: int, neighbours: float, decay: float, spread: float
) -> Ranked:
    """V-SKNN; with a `spread` above 0 STAN.

    An item's weight in its list falls by exp(-steps from the end / `decay`); in a neighbour by
    exp(-steps from the shared item / `spread`).
    """
    starts, flat = _flat(lists)
    held = sparse.csr_matrix((np.ones(len(flat), np.float32), flat, starts), (len(lists), items))
    by_item = held.T.tocsr()
    counts = np.maximum(np.diff(by_item.indptr), 1)
    rarity = np.log(len(lists) / counts).astype(np.float32)
    sizes = np.sqrt(np.maximum(np.diff(starts), 1)).astype(np.float32)

    def ranked(queries: Lists, n: int) -> I32:
        begins, own = _flat(queries)
        best = np.full((len(queries), n), -1, np.int32)
        _neighbours(
            begins, own, starts, flat, by_item.indptr, by_item.indices, rarity, sizes,
            int(neighbours), np.float32(decay), np.float32(spread), best,
        )  # fmt: skip
        return best

    return ranked


GRIDS: Mapping[str, tuple[Callable[..., Ranked], Mapping[str, Sequence[float]]]] = {
    "Markov": (markov, {}),
    "sequential rules": (rules, {"reach": (3, 10), "normed": (0, 1)}),
    "V-SKNN": (
        nearest_lists,
        {"neighbours": (100, 500), "decay": (1, 3, 10), "spread": (0,)},
    ),
    "STAN": (nearest_lists, {"neighbours": (100, 500), "decay": (1, 3), "spread": (1, 4)}),
}


def tuned(name: str, lists: Lists, items: int, seed: int) -> tuple[Ranked, dict[str, float]]:
    """The recommender with the settings that best find each list's last item from the others."""
    make, grid = GRIDS[name]
    settings = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    if len(settings) == 1:
        return make(lists, items, **settings[0]), settings[0]
    able = np.flatnonzero([len(own) > 1 for own in lists])
    drawn = np.random.default_rng(seed).permutation(able)[:TUNING_USERS].tolist()
    shorter = [own[:-1] for own in lists]
    queries, last = [shorter[row] for row in drawn], np.array([lists[row][-1] for row in drawn])
    worth = [
        figures(make(shorter, items, **setting)(queries, 10), last)["ndcg@10"]
        for setting in settings
    ]
    chosen = settings[int(np.argmax(worth))]
    return make(lists, items, **chosen), chosen


def figures(ranked: I32, wanted: I32) -> dict[str, float]:
    """Recall and NDCG at 10 of lists (b, 10) in which one item each is wanted (b,)."""
    hits = ranked == np.asarray(wanted)[:, None]
    gains = hits @ (1 / np.log2(np.arange(2, ranked.shape[1] + 2)))
    return {"recall@10": float(hits.any(axis=1).mean()), "ndcg@10": float(gains.mean())}


def _steps(lists: Lists, items: int, reach: int, *, normed: bool) -> sparse.csr_matrix:
    """(i, i) how often one item came after another, by 1 / steps."""
    starts, flat = _flat(lists)
    owner = np.repeat(np.arange(len(lists)), np.diff(starts))
    total = sparse.csr_matrix((items, items), dtype=np.float32)
    for steps in range(1, reach + 1):
        same = np.flatnonzero(owner[steps:] == owner[:-steps])
        pairs = (flat[same], flat[same + steps])
        worth = np.full(len(same), 1 / steps, np.float32)
        total += sparse.csr_matrix((worth, pairs), shape=total.shape)
    if normed:
        sums = np.asarray(total.sum(axis=1)).ravel()
        total = sparse.diags(1 / np.maximum(sums, 1e-12)) @ total
    return sparse.csr_matrix(total, dtype=np.float32)


def _by_last(after: sparse.csr_matrix) -> Ranked:
    def ranked(queries: Lists, n: int) -> I32:
        best = np.full((len(queries), n), -1, np.int32)
        for begin in range(0, len(queries), ASKED_AT_ONCE):
            part = queries[begin : begin + ASKED_AT_ONCE]
            scores: F32 = after[[own[-1] for own in part]].toarray()
            for row, own in enumerate(part):
                scores[row, list(own)] = 0
                order = np.argsort(-scores[row], kind="stable")[:n]
                order = order[scores[row, order] > 0]
                best[begin + row, : len(order)] = order
        return best

    return ranked


def _flat(lists: Lists) -> tuple[I32, I32]:
    starts = np.concatenate([[0], np.cumsum([len(own) for own in lists])]).astype(np.int32)
    return starts, np.array([item for own in lists for item in own], np.int32)


@njit(cache=True, nogil=True)
def _neighbours(  # type: ignore[no-untyped-def]
    begins, own, starts, flat, item_starts, item_lists, rarity, sizes, count, decay, spread, best
):
    """Fill best (b, n) from the `count` lists most like each list asked about."""
    likeness = np.zeros(len(starts) - 1, np.float32)
    scores = np.zeros(len(rarity), np.float32)
    for user in range(len(begins) - 1):
        queries = own[begins[user] : begins[user + 1]]
        for step in range(len(queries)):
            weight = np.exp(-np.float32(len(queries) - 1 - step) / decay)
            for at in range(item_starts[queries[step]], item_starts[queries[step] + 1]):
                likeness[item_lists[at]] += weight
        near = np.flatnonzero(likeness)
        alike = likeness[near] / sizes[near]
        order = np.argsort(-alike)[:count]
        for k in order:
            other = flat[starts[near[k]] : starts[near[k] + 1]]
            shared, newest = -1, -1
            for step in range(len(other)):
                for position in range(newest + 1, len(queries)):
                    if queries[position] == other[step]:
                        newest, shared = position, step
            by_shared = np.exp(-np.float32(len(queries) - 1 - newest) / decay)
            for step in range(len(other)):
                worth = alike[k] * by_shared * rarity[other[step]]
                if spread > 0:
                    worth *= np.exp(-np.float32(abs(step - shared)) / spread)
                scores[other[step]] += worth
        likeness[near] = 0
        for item in queries:
            scores[item] = 0
        held = np.flatnonzero(scores)
        order = held[np.argsort(-scores[held])[: best.shape[1]]]
        best[user, : len(order)] = order
        scores[:] = 0
