"""Lists that the item table alone makes: from histories to ranked rows in one compiled call.

It runs the functions that rank several sources one after the other, without the arrays and calls
between them. So the cost of a single request is that of its history and its pool.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from embeddings.item_item.item_table import ItemTable
from graph.arrays import F32, I32, I64, Flags
from recommender.ranking.candidates import Ranking, Subjects, follows_read, scratch, top_of_table
from recommender.ranking.rerank import Traits, choose, chosen_places
from recommender.releases.arrivals import Arrivals


def table_lists(
    table: ItemTable,
    arrivals: Arrivals,
    subjects: Subjects,
    pool: int,
    n: int,
    weights: F32 | None,
    traits: Traits,
) -> tuple[I32, F32, Flags]:
    """The n best items of each of b subjects, by the table, reranked.

    Args:
        table: of the release.
        arrivals: the items behind the table's own.
        subjects: b of them.
        pool: candidates that a list is chosen from, at least n.
        n: how long the lists are.
        weights: (b, 7) of reranking, see `Profile.weights`; None: the order of the scores is kept.
        traits: of the items and the subjects; read only where there are weights.

    Returns:
        (b, n) items and scores as `fuse` and `rerank` give them, -1 and -inf after the last; and
        (b,) which lists are shorter than n.
    """
    reranked = weights is not None
    if weights is None:
        weights = np.zeros((len(subjects), 7), np.float32)
    items, scores, short = _lists(
        table.neighbours, table.scores, arrivals.arrays, subjects.indptr, subjects.items,
        subjects.weights, follows_read(table, subjects), subjects.blocked_indptr, subjects.blocked,
        subjects.masks, subjects.mask, pool, n, reranked, weights, traits.likeness, traits.rarity,
        traits.fresh, traits.indptr, traits.domains, traits.shares, traits.mix, traits.draws,
        *scratch(subjects.masks.shape[1]),
    )  # fmt: skip
    return items, scores, short


def adjusted_lists(
    items: I32, scores: F32, factors: F32, weights: F32 | None, traits: Traits, n: int
) -> tuple[I32, F32]:
    """The n best of each pool (b, c) after its scores were multiplied, reranked as `table_lists`.

    Padded like them; the pools hold at least n items each, or are made anew by the caller.
    """
    scores = scores * factors
    at = np.argsort(-scores, axis=1, kind="stable")
    if weights is not None:
        ordered = Ranking(_at(items, at), _at(scores, at))
        chosen = chosen_places(ordered, weights, traits, n)
        at = np.where(chosen >= 0, _at(at, chosen), -1)
    at = at[:, :n]
    return (
        np.where(at >= 0, _at(items, at), -1).astype(np.int32),
        np.where(at >= 0, _at(scores, at), -np.inf).astype(np.float32),
    )


def factors_of(items: I32, adjustments: Sequence[Callable[[I32], F32] | None]) -> F32:
    """(b, c) what the scores of items, -1 after the last, are multiplied by; None: by nothing."""
    factors = np.ones(items.shape, np.float32)
    for row, adjust in enumerate(adjustments):
        count = int(np.count_nonzero(items[row] >= 0))
        if adjust is not None:
            factors[row, :count] = adjust(items[row, :count])
    return factors


def _at(values: npt.NDArray[Any], places: I64) -> npt.NDArray[Any]:
    return np.take_along_axis(values, places, axis=1)


def count_wrong(items: I32, subjects: Subjects) -> int:
    """How many items of lists (b, n) a filter forbids, or their subject must not be shown."""
    return int(
        _wrong(items, subjects.masks, subjects.mask, subjects.blocked_indptr, subjects.blocked)
    )


@njit(cache=True, nogil=True)
def _lists(  # type: ignore[no-untyped-def]
    neighbours, strengths, arrivals, indptr, items, weights, follows, blocked_indptr, blocked,
    masks, mask, pool, n, reranked, profiles, likeness, rarity, fresh, domain_indptr, domains,
    shares, mix, draws, sums, state, touched,
):  # fmt: skip
    rows, best = top_of_table(
        neighbours, strengths, arrivals, indptr, items, weights, follows, blocked_indptr, blocked,
        masks, mask, pool, sums, state, touched,
    )  # fmt: skip
    _over_the_best(rows, best)
    subjects = len(indptr) - 1
    chosen = np.full((subjects, n), -1, np.int32)
    worth = np.full((subjects, n), -np.inf, np.float32)
    short = np.zeros(subjects, np.bool_)
    if reranked:
        places = choose(
            rows, best, profiles, likeness, rarity, fresh, domain_indptr, domains, shares, mix,
            draws, n,
        )  # fmt: skip
    for s in range(subjects):
        short[s] = rows[s, n - 1] < 0
        for position in range(n):
            at = places[s, position] if reranked else position
            if at < 0 or rows[s, at] < 0:
                break
            chosen[s, position] = rows[s, at]
            worth[s, position] = best[s, at]
    return chosen, worth, short


@njit(cache=True, nogil=True)
def _over_the_best(rows, scores):  # type: ignore[no-untyped-def]
    """What `fuse` makes of one ranking: scores in steps of the best, ties to the lower row."""
    for s in range(len(rows)):
        unit = scores[s, 0] if scores[s, 0] > 0 else np.float32(1)
        count = 0
        while count < rows.shape[1] and rows[s, count] >= 0:
            row, share = rows[s, count], scores[s, count] / unit
            at = count
            while at > 0 and scores[s, at - 1] == share and rows[s, at - 1] > row:
                rows[s, at] = rows[s, at - 1]
                at -= 1
            rows[s, at], scores[s, count] = row, share
            count += 1
        for at in range(count):
            scores[s, at] *= unit


@njit(cache=True, nogil=True)
def _wrong(rows, masks, mask, blocked_indptr, blocked):  # type: ignore[no-untyped-def]
    """Checks the lists anew, wherever they came from."""
    wrong = 0
    for s in range(len(rows)):
        shut = blocked[blocked_indptr[s] : blocked_indptr[s + 1]]
        for row in rows[s]:
            if row < 0:
                break
            bad = not masks[mask[s], row]
            for other in shut:
                bad |= other == row
            wrong += bad
    return wrong
