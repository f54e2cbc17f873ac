"""The simple recommenders that ours has to beat, each tuned on a part cut from its train data.

popularity   how many users have the item
item kNN     cosine of items' users, damped, the strongest k per item (Sarwar 2001)
EASE         a linear item-item model in closed form (Steck 2019, arXiv:1905.03375)
GF-CF        a linear graph filter plus an ideal low-pass (Shen 2021, arXiv:2108.07567)

All read one binary matrix `train` (u, i), and all become a `Baseline`: scores for a block of
users, every item. `tuned` tries each grid by NDCG@20 on a fifth of each user's train pairs, then
fits the best setting to all of `train`. An everyday evaluation must not spend more on baselines
than on what it evaluates, so it tries a few settings on some users; `thorough` tries all.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from scipy.sparse import csr_array, csr_matrix

from embeddings import metrics
from embeddings.best import keep_best, sort_best
from embeddings.item_item.graph_filter import NormalisedGraph
from embeddings.item_item.spectrum import spectrum
from graph.arrays import F32, I32, I64
from graph.model import NO_TIME
from recommender.learning.ease import ease_scores
from recommender.learning.split import Pairs, held_out

Parameters = Mapping[str, float]
ScoreBlock = Callable[[I64], F32]
Maker = Callable[[Parameters], ScoreBlock]

EASE_MOST_ITEMS, EASE_TUNING_ITEMS = 20_000, 6_000  # its inverse is dense: 1.6 GB at the most
TUNING_USERS, QUICK_TUNING_USERS = 2_000, 500
BLOCK_USERS = 512
BLOCK_SCORES = 2**22  # scores held at once by each thread: 16 MB, which allocators reuse


@dataclass(frozen=True)
class Baseline:
    """A fitted recommender."""

    name: str
    parameters: Parameters
    score_block: ScoreBlock  # user rows i64 (b,) -> f32 (b, i), its own array; higher is better


@dataclass(frozen=True)
class Family:
    """A kind of baseline: what can be tried, and how it is fitted.

    `prepare(train, most)` does what all settings share and returns the maker of one; `most`
    holds the largest value of each parameter that will be asked for.
    """

    grid: tuple[Parameters, ...]
    prepare: Callable[[csr_array, Parameters], Maker]
    quick: tuple[Parameters, ...] = ()  # the part of the grid for every day; empty: all of it
    most_items: int | None = None
    tuning_items: int | None = None  # tuned on this many of the most popular items


def tuned(
    train: csr_array,
    *,
    seed: int,
    names: Sequence[str] | None = None,
    thorough: bool = False,
    families: Mapping[str, Family] | None = None,
) -> dict[str, Baseline]:
    """The named baselines (default: all), tuned and fitted to `train` (u, i).

    Those that cannot hold so many items are left out. `thorough` tries the whole grids, on more
    users, and tunes EASE on all items and not on the most popular 6,000. `families` are those
    to choose from, default `FAMILIES`.
    """
    ones = binary(train)
    baselines = {}
    known = FAMILIES if families is None else families
    for name in known if names is None else names:
        family = known[name]
        if not ones.nnz or (family.most_items and ones.shape[1] > family.most_items):
            continue
        parameters = _tune(family, ones, seed, thorough)
        baselines[name] = Baseline(name, parameters, family.prepare(ones, parameters)(parameters))
    return baselines


def binary(matrix: csr_array) -> csr_array:
    """A copy with 1 wherever something other than 0 stands: f32, sorted rows."""
    copy: csr_array = matrix.astype(np.float32)
    copy.eliminate_zeros()
    copy.sort_indices()
    copy.data[:] = 1.0
    return copy


def rank_all(score_block: ScoreBlock, users: I64, seen: csr_array, n: int) -> I32:
    """The n best items of each user that are not in `seen` (u, i): i32 (len(users), n).

    Ties go to the lower row; where fewer items are left the list ends in -1.
    """
    size = max(1, min(BLOCK_USERS, BLOCK_SCORES // max(1, seen.shape[1])))
    blocks = [users[begin : begin + size] for begin in range(0, len(users), size)]
    indptr, indices = seen.indptr.astype(np.int64), seen.indices.astype(np.int32)

    def ranked(rows: I64) -> I32:
        return np.asarray(_best(score_block(rows), rows, indptr, indices, n))

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        parts = list(pool.map(ranked, blocks))
    return np.concatenate(parts) if parts else np.zeros((0, n), np.int32)


def popularity(train: csr_array, _most: Parameters) -> Maker:
    """Everybody gets what most users have."""
    counts = np.bincount(train.indices, minlength=train.shape[1]).astype(np.float32)
    return lambda _: lambda rows: np.tile(counts, (len(rows), 1))


def item_knn(train: csr_array, most: Parameters) -> Maker:
    """Score = sum over the history of c_ij / (sqrt(n_i n_j) + shrink), the k strongest j per i.

    c_ij is the sum over the users of both of n_u^-damping: with 0 the plain cosine, above it
    those who have much say less (Breese 1998, inverse user frequency).
    """
    by_item = train.T.tocsr()
    widest = int(most["k"])
    tables: dict[tuple[float, float], tuple[I32, F32]] = {}

    def make(parameters: Parameters) -> ScoreBlock:
        kind = float(parameters["shrink"]), float(parameters["damping"])
        k = int(parameters["k"])
        if kind not in tables:
            tables.clear()  # the grid asks for all k of one kind in a row
            tables[kind] = _neighbours(train, by_item, widest, *kind)
        columns, values = (np.ascontiguousarray(part[:, :k]) for part in tables[kind])

        def score(rows: I64) -> F32:
            scores = np.zeros((len(rows), train.shape[1]), np.float32)
            _add_rows(rows, (train.indptr, train.indices), (columns, values), scores)
            return scores

        return score

    return make


def ease(train: csr_array, _most: Parameters) -> Maker:
    """Score = x·B for B of EASE, see `ease.py`."""
    made = ease_scores(train)
    return lambda parameters: made(parameters["penalty"])


def gf_cf(train: csr_array, most: Parameters) -> Maker:
    """Score = r·NᵀN + w · r·Di^-½ V Vᵀ Di^½, N = Du^-½ R Di^-½, V its first singular vectors."""
    of_user = np.maximum(np.diff(train.indptr), 1).astype(np.float32)
    of_item = np.maximum(np.bincount(train.indices, minlength=train.shape[1]), 1)
    of_item = of_item.astype(np.float32)
    values = 1 / np.sqrt(np.repeat(of_user, np.diff(train.indptr)) * of_item[train.indices])
    normal = csr_array((values, train.indices, train.indptr), shape=train.shape)
    by_item = normal.T.tocsr()
    vectors = right_vectors(normal, int(most["directions"]))
    into, out_of = vectors / np.sqrt(of_item)[:, None], vectors * np.sqrt(of_item)[:, None]

    def make(parameters: Parameters) -> ScoreBlock:
        d, weight = int(parameters["directions"]), np.float32(parameters["weight"])
        first, last = np.ascontiguousarray(into[:, :d]), np.ascontiguousarray(out_of[:, :d].T)

        def score(rows: I64) -> F32:
            scores = np.asarray(train[rows] @ first @ (weight * last), np.float32)
            _add_two_steps(
                rows,
                (train.indptr, train.indices),
                (by_item.indptr, by_item.indices, by_item.data),
                (normal.indptr, normal.indices, normal.data),
                scores,
            )
            return scores

        return score

    return make


FAMILIES: dict[str, Family] = {
    "popularity": Family(({},), popularity),
    "item_knn": Family(
        tuple(
            {"k": k, "shrink": shrink, "damping": damping}
            for shrink, damping in ((0.0, 0.0), (10.0, 0.0), (0.0, 0.5), (0.0, 1.0))
            for k in (30.0, 100.0, 300.0)
        ),
        item_knn,
        quick=tuple(
            {"k": k, "shrink": 0.0, "damping": damping}
            for damping in (0.5, 1.0)
            for k in (100.0, 300.0)
        ),
    ),
    "ease": Family(
        tuple({"penalty": penalty} for penalty in (10.0, 30.0, 100.0, 300.0, 1000.0)),
        ease,
        most_items=EASE_MOST_ITEMS,
        tuning_items=EASE_TUNING_ITEMS,
    ),
    "gf_cf": Family(
        tuple(
            {"directions": d, "weight": w} for d in (64.0, 256.0, 512.0) for w in (0.1, 0.3, 1.0)
        ),
        gf_cf,
        quick=tuple({"directions": d, "weight": w} for d, w in ((64.0, 0.3), (256.0, 0.3))),
    ),
}


def right_vectors(matrix: csr_array, directions: int, *, rounds: int = 2) -> F32:
    """The first right singular vectors, strongest first: f32 (i, at most `directions`).

    With a fixed start; fewer come back where the matrix has a lower rank.
    """
    rows = csr_matrix(matrix, dtype=np.float32)
    graph = NormalisedGraph(rows, csr_matrix(rows.T), np.ones(matrix.shape[1], np.float32))
    spectral = spectrum(graph, directions, seed=0, passes=rounds + 1)
    kept = spectral.values > 1e-3 * spectral.values.max(initial=0)
    return np.ascontiguousarray(spectral.item_vectors[:, kept])


def _tune(family: Family, train: csr_array, seed: int, thorough: bool) -> Parameters:
    """The setting of the grid with the best NDCG@20 on a fifth of each user's pairs."""
    grid = family.grid if thorough or not family.quick else family.quick
    if len(grid) == 1:
        return grid[0]
    if family.tuning_items and not thorough and train.shape[1] > family.tuning_items:
        counts = np.bincount(train.indices, minlength=train.shape[1])
        train = train[:, np.sort(np.argsort(-counts, kind="stable")[: family.tuning_items])]
    fit, wanted = _validation(train, seed)
    users = np.flatnonzero(np.diff(wanted.indptr))
    if not len(users):
        return grid[0]
    rng = np.random.default_rng(seed)
    users = np.sort(rng.permutation(users)[: TUNING_USERS if thorough else QUICK_TUNING_USERS])
    make = family.prepare(fit, {name: max(p[name] for p in grid) for name in grid[0]})

    def quality(parameters: Parameters) -> float:
        hits = metrics.hits(rank_all(make(parameters), users, fit, 20), wanted[users])
        return float(metrics.ndcg(hits, np.diff(wanted[users].indptr), 20).mean())

    return max(grid, key=quality)


def _validation(train: csr_array, seed: int) -> tuple[csr_array, csr_array]:
    users = np.repeat(np.arange(train.shape[0], dtype=np.int64), np.diff(train.indptr))
    keys = np.random.default_rng(seed).integers(0, 2**63, len(users)).astype(np.uint64)
    no_times = np.full(len(users), NO_TIME)
    out = held_out(Pairs(users, train.indices.astype(np.int64), no_times, keys), "random")
    fit, wanted = (
        csr_array((train.data[keep], (users[keep], train.indices[keep])), shape=train.shape)
        for keep in (~out, out)
    )
    return fit, wanted


def _neighbours(
    train: csr_array, by_item: csr_array, k: int, shrink: float, damping: float
) -> tuple[I32, F32]:
    """The k nearest items of each: rows i32 (i, k), -1 where fewer, and cosines f32 (i, k)."""
    items = train.shape[1]
    columns, values = np.full((items, k), -1, np.int32), np.zeros((items, k), np.float32)
    threads = min(4, os.cpu_count() or 1)
    say = np.maximum(np.diff(train.indptr), 1).astype(np.float64) ** -damping  # of each user
    norms = np.sqrt(np.diff(by_item.indptr))
    users = train.indptr, train.indices, say.astype(np.float32)
    owners = by_item.indptr, by_item.indices, norms

    def part(first: int) -> None:
        wanted = np.arange(first, items, threads)
        _nearest(users, owners, wanted, np.float32(shrink), (columns, values))

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(part, range(threads)))
    return columns, values


@njit(nogil=True, cache=True)
def _best(scores: Any, users: Any, indptr: Any, indices: Any, n: int) -> Any:
    """Top n of each row of scores (b, i), what the user has seen left out; writes into scores."""
    ranked = np.full((len(scores), n), -1, np.int32)
    values = np.empty(n, np.float32)
    for b in range(len(scores)):
        line = scores[b]
        for entry in range(indptr[users[b]], indptr[users[b] + 1]):
            line[indices[entry]] = -np.inf
        count = 0
        for begin in range(0, len(line), 64):
            end = min(begin + 64, len(line))
            better, bar = 0, values[0] if count == n else np.float32(-np.inf)
            for item in range(begin, end):  # counting runs in vector registers, the heap does not
                better += line[item] > bar
            if better:
                for item in range(begin, end):
                    bar = values[0] if count == n else np.float32(-np.inf)
                    if line[item] > bar:
                        count = keep_best(ranked[b], values, count, item, line[item])
        sort_best(ranked[b], values, count)
    return ranked


@njit(nogil=True, cache=True)
def _nearest(users: Any, owners: Any, wanted: Any, shrink: Any, table: Any) -> None:
    """Fill rows `wanted` of the neighbour table: count common users, then keep the best."""
    indptr, indices, say = users
    item_indptr, item_users, norms = owners
    columns, values = table
    items = len(columns)
    together = np.zeros(items, np.float32)
    touched = np.empty(items, np.int32)
    for item in wanted:
        size = 0
        for entry in range(item_indptr[item], item_indptr[item + 1]):
            user = item_users[entry]
            for step in range(indptr[user], indptr[user + 1]):
                j = indices[step]
                if together[j] == 0:
                    touched[size] = j
                    size += 1
                together[j] += say[user]
        count = 0
        for t in range(size):
            j = touched[t]
            if j != item:
                value = np.float32(together[j] / (norms[item] * norms[j] + shrink))
                count = keep_best(columns[item], values[item], count, j, value)
            together[j] = 0
        sort_best(columns[item], values[item], count)


@njit(nogil=True, cache=True)
def _add_rows(users: Any, history: Any, table: Any, out: Any) -> None:
    """out[b] += the table's rows of everything in the user's history."""
    indptr, indices = history
    columns, values = table
    for b in range(len(users)):
        for entry in range(indptr[users[b]], indptr[users[b] + 1]):
            item = indices[entry]
            for t in range(columns.shape[1]):
                if columns[item, t] < 0:
                    break
                out[b, columns[item, t]] += values[item, t]


@njit(nogil=True, cache=True)
def _add_two_steps(users: Any, history: Any, by_item: Any, by_user: Any, out: Any) -> None:
    """out[b] += r·NᵀN: from the user's items to the users who have them, on to their items."""
    weights = np.zeros(len(by_user[0]) - 1, np.float32)
    touched = np.empty(len(weights), np.int32)
    for b in range(len(users)):
        size = 0
        for entry in range(history[0][users[b]], history[0][users[b] + 1]):
            item = history[1][entry]
            for step in range(by_item[0][item], by_item[0][item + 1]):
                user = by_item[1][step]
                if weights[user] == 0:
                    touched[size] = user
                    size += 1
                weights[user] += by_item[2][step]
        for t in range(size):
            user = touched[t]
            weight = weights[user]
            weights[user] = 0
            for entry in range(by_user[0][user], by_user[0][user + 1]):
                out[b, by_user[1][entry]] += weight * by_user[2][entry]
