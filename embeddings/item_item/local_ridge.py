"""For each target, a ridge regression of its column on a few other columns, in linear memory.

EASE (arXiv:1905.03375) where only items of the target's support may have weight. What costs time
is the Gram matrix of the support; many penalties are solved on one.
"""

from collections.abc import Sequence

import numpy as np
from numba import njit

from embeddings.blocks import in_blocks
from embeddings.item_item.graph_filter import NormalisedGraph, both_ways
from graph.arrays import F32, I32


def local_ridge(
    graph: NormalisedGraph,
    supports: I32,
    penalties: Sequence[float],
    threads: int = 1,
    steps: int = 12,
    targets: I32 | None = None,
) -> F32:
    """Weights w of (A + penalty * m I) w = b per penalty and target: float32 (p, r, c), 0 at -1.

    The rows of supports (r, c) are those of `targets` (r,), or of all items.
    A is X'X over the target's support, b its column for the target, m as in `mean_square`. Solved
    by at most `steps` conjugate-gradient steps, of which all penalties share the products (B.
    Jegerlehner, arXiv:hep-lat/9612014); stopping early only regularises more.
    """
    weights = np.zeros((len(penalties), *supports.shape), np.float32)
    item_rows = np.arange(len(supports), dtype=np.int32) if targets is None else targets
    mean = mean_square(graph)
    ridges = np.array([max(penalty * mean, 1e-6) for penalty in penalties])

    def block(low: int, high: int) -> None:
        columns = both_ways(graph)[3:]
        _ridges(
            graph.rows.shape[0], *columns, item_rows, supports, weights, ridges, steps, low, high
        )

    in_blocks(block, supports.shape[0], threads)
    return weights


def mean_square(graph: NormalisedGraph) -> float:
    """The mean diagonal of X'X over the items in use: what a penalty of 1 stands for.

    So one penalty means the same on every data set.
    """
    used = int(np.count_nonzero(np.diff(graph.columns.indptr)))
    return float(np.square(graph.rows.data, dtype=np.float64).sum()) / max(used, 1)


@njit(cache=True, nogil=True, fastmath=True)
def _ridges(  # type: ignore[no-untyped-def]
    rows, tp, ti, tv, item_rows, supports, weights, ridges, steps, low, high
):
    """Fill weights (p, r, w) f32 of the targets item_rows[low] … item_rows[high - 1], for p ridges.

    rows says how many rows X (r, i) has; tp, ti, tv are X by item: where each begins, its rows,
    their values; supports (r, w) i32, -1 after the last; ridges (p,) f32; `steps` at most are
    taken to solve.

        target j, supports k, l, m                head (r,): the last entry met in each row
        k: r1 a   r2 b                            r1 ─▶ (l, d) ─▶ (k, a) ─▶ end
        l: r1 d          r3 e                     r2 ─▶ (k, b) ─▶ end
        m:        r2 f   r3 g   …                 r3 ─▶ (l, e) ─▶ end

    Item after item is read; each entry meets, in its row's list, the items before it, and adds
    its product to their cell: (l, k) += d·a. So the Gram matrix of the supports (w, w) comes from
    the pairs that share a row and from no others. The right side is their products with j
    (`of_row`). Both are solved for all ridges at once, see `_solve`.
    """
    width = supports.shape[1]
    # One linked list per user row of the support items met so far: their pairs are all of A.
    head = np.full(rows, -1, np.int32)
    of_row = np.zeros(rows, np.float32)
    following = np.empty(1024, np.int32)
    entry = np.empty(1024, np.int32)
    value = np.empty(1024, np.float32)
    gram = np.empty((width, width), np.float32)
    wanted = np.empty(width, np.float32)
    spare = np.empty((3, width), np.float32)
    directions = np.empty((len(ridges), width), np.float32)
    for number in range(low, high):
        target, own = item_rows[number], supports[number]
        size = 0
        total = 0
        while size < width and own[size] >= 0:
            item = own[size]
            total += tp[item + 1] - tp[item]
            size += 1
        if total > len(entry):
            following = np.empty(2 * total, np.int32)
            entry = np.empty(2 * total, np.int32)
            value = np.empty(2 * total, np.float32)
        for e in range(tp[target], tp[target + 1]):
            of_row[ti[e]] = tv[e]
        used = 0
        for q in range(size):
            for t in range(q + 1):
                gram[q, t] = 0
            both = np.float32(0)
            item = own[q]
            for e in range(tp[item], tp[item + 1]):
                row = ti[e]
                x = tv[e]
                both += of_row[row] * x
                at = head[row]
                while at >= 0:
                    gram[q, entry[at]] += x * value[at]
                    at = following[at]
                gram[q, q] += x * x
                following[used] = head[row]
                entry[used] = q
                value[used] = x
                head[row] = used
                used += 1
            wanted[q] = both
        for q in range(size):
            item = own[q]
            for e in range(tp[item], tp[item + 1]):
                head[ti[e]] = -1
            for t in range(q):
                gram[t, q] = gram[q, t]
        for e in range(tp[target], tp[target + 1]):
            of_row[ti[e]] = 0
        _solve(gram, ridges, wanted, spare, directions, weights[:, number], size, steps)


@njit(cache=True, nogil=True, fastmath=True)
def _solve(  # type: ignore[no-untyped-def]
    matrix, ridges, wanted, spare, directions, solutions, size, steps
):
    """Solve (matrix + ridge I) @ solution = wanted for all ridges, beginning at solutions of 0.

    Conjugate gradients on the smallest ridge. The residuals of the others point the same way, and
    `shrunk` tells how long they are beside its own.
    """
    residual, direction, product = spare
    least = ridges.min()
    shrunk = np.ones((2, len(ridges)))  # before the last step, and now
    error = 0.0
    for q in range(size):
        residual[q] = direction[q] = wanted[q]
        error += wanted[q] * wanted[q]
        for p in range(len(ridges)):
            directions[p, q] = wanted[q]
    stop = 1e-7 * error
    last_step, last_turn = 1.0, 0.0
    for _ in range(steps):
        if error <= stop:
            break
        curvature = 0.0
        base = np.float32(least)
        for q in range(size):
            total = base * direction[q]
            for t in range(size):
                total += matrix[q, t] * direction[t]
            product[q] = total
            curvature += total * direction[q]
        step = error / curvature
        before = error
        error = 0.0
        for q in range(size):
            residual[q] -= np.float32(step) * product[q]
            error += residual[q] * residual[q]
        turn = error / before
        for q in range(size):
            direction[q] = residual[q] + np.float32(turn) * direction[q]
        for p in range(len(ridges)):
            older, old = shrunk[0, p], shrunk[1, p]
            if old * old * before <= stop:
                continue
            new = step * last_turn * (older - old)
            new += older * last_step * (1 + (ridges[p] - least) * step)
            new = old * older * last_step / new
            own_step = np.float32(step * new / old)
            own_turn = np.float32(turn * (new / old) ** 2)
            length = np.float32(new)
            for q in range(size):
                solutions[p, q] += own_step * directions[p, q]
                directions[p, q] = length * residual[q] + own_turn * directions[p, q]
            shrunk[0, p], shrunk[1, p] = old, new
        last_step, last_turn = step, turn
