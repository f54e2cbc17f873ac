"""Add up scores row by row, and keep the n best, in compiled code; ties go to the lower row.

A heap is two arrays of n rows and scores whose first entry is the worst of those kept.
"""

from numba import njit


@njit(cache=True, nogil=True, inline="always")
def add_row(targets, values, weight, scores, state, touched, count):  # type: ignore[no-untyped-def]
    """Add `weight` x values (k,) to the scores of targets (k,), that end at -1; the new count.

    touched[:count] are the targets so far, each once: their `state` has its lowest bit set.
    `touched` holds one more than there are scores: the next is written before it counts.
    """
    for k in range(len(targets)):
        target = targets[k]
        if target < 0:
            break
        touched[count] = target  # no branches: they would be mispredicted
        count += 1 - (state[target] & 1)
        state[target] |= 1
        scores[target] += weight * values[k]
    return count


@njit(cache=True, nogil=True)
def _worse(score, item, other_score, other_item):  # type: ignore[no-untyped-def]
    return score < other_score or (score == other_score and item > other_item)


@njit(cache=True, nogil=True)
def keep_best(rows, best, count, item, score):  # type: ignore[no-untyped-def]
    """Offer an item to a heap whose root is the worst of the kept; the new size."""
    n = len(rows)
    if count < n:
        child = count
        while child > 0:
            parent = (child - 1) // 2
            if not _worse(score, item, best[parent], rows[parent]):
                break
            rows[child], best[child] = rows[parent], best[parent]
            child = parent
        rows[child], best[child] = item, score
        return count + 1
    if n == 0 or _worse(score, item, best[0], rows[0]):
        return count
    _sink(rows, best, n, item, score)
    return count


@njit(cache=True, nogil=True)
def _sink(rows, best, n, item, score):  # type: ignore[no-untyped-def]
    """Put an item at the root of a heap of size n and let it sink to its place."""
    parent = 0
    while True:
        child = 2 * parent + 1
        if child >= n:
            break
        if child + 1 < n and _worse(best[child + 1], rows[child + 1], best[child], rows[child]):
            child += 1
        if not _worse(best[child], rows[child], score, item):
            break
        rows[parent], best[parent] = rows[child], best[child]
        parent = child
    rows[parent], best[parent] = item, score


@njit(cache=True, nogil=True)
def sort_best(rows, best, count):  # type: ignore[no-untyped-def]
    """Turn the heap into a list, best first."""
    for end in range(count - 1, 0, -1):
        item, score = rows[end], best[end]
        rows[end], best[end] = rows[0], best[0]
        _sink(rows, best, end, item, score)
