"""Which items are candidates: the strongest entries of the item–item table, per subject.

A subject's score for an item is the weighted sum of the table rows of its history's items, so
known users, sessions and new users cost the same and every share of a score is known exactly.
"""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from embeddings.ahead import load_ahead
from embeddings.best import add_row, keep_best, sort_best
from embeddings.item_item.item_table import ItemTable
from graph.arrays import F32, I32, I64, U8, Flags
from recommender.releases.arrivals import Arrivals
from recommender.releases.rows import runs


@dataclass(frozen=True)
class Subjects:
    """A batch of b subjects as arrays: what each likes, and what each must not be shown."""

    indptr: I64  # (b + 1,) where each subject's history begins
    items: I32  # history item rows
    weights: F32  # and their weights
    blocked_indptr: I64  # (b + 1,)
    blocked: I32  # item rows never to be shown, in any order
    masks: Flags  # (m, i) allowed items of each distinct filter
    mask: I32  # (b,) which of them holds for the subject
    interests: I32 | None = None  # of each history entry, see `recommender.ranking.interests`
    newest: F32 | None = None  # of each history entry: its weight where `follows` is read
    reads: I32 | None = None  # (b,) which of `Release.tables`; None: all read the first
    # Source -> (b, …) its input besides the history: vectors, weights of domains, rows of
    # friends (-1 pads).
    queries: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make what is read read-only, so that compiled code always gets the same types."""
        for array in (self.items, self.weights, self.blocked, self.newest):
            if array is not None:
                array.flags.writeable = False

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @property
    def table_numbers(self) -> list[int]:
        """Which of `Release.tables` each subject reads."""
        numbers: list[int] = [0] * len(self) if self.reads is None else self.reads.tolist()
        return numbers

    def part(self, start: int, stop: int) -> "Subjects":
        """The subjects start … stop - 1."""
        own = slice(self.indptr[start], self.indptr[stop])
        shut = slice(self.blocked_indptr[start], self.blocked_indptr[stop])
        return Subjects(
            indptr=self.indptr[start : stop + 1] - self.indptr[start],
            items=self.items[own],
            weights=self.weights[own],
            blocked_indptr=self.blocked_indptr[start : stop + 1] - self.blocked_indptr[start],
            blocked=self.blocked[shut],
            masks=self.masks,
            mask=self.mask[start:stop],
            interests=None if self.interests is None else self.interests[own],
            newest=None if self.newest is None else self.newest[own],
            reads=None if self.reads is None else self.reads[start:stop],
            queries={source: rows[start:stop] for source, rows in self.queries.items()},
        )

    def taken(self, rows: I64) -> "Subjects":
        """The subjects of different rows; all of them stay in their order."""
        if len(rows) == len(self):
            return self
        liked, liked_at = runs(self.indptr, rows)
        shut, shut_at = runs(self.blocked_indptr, rows)
        return Subjects(
            indptr=liked,
            items=self.items[liked_at],
            weights=self.weights[liked_at],
            blocked_indptr=shut,
            blocked=self.blocked[shut_at],
            masks=self.masks,
            mask=self.mask[rows],
            interests=None if self.interests is None else self.interests[liked_at],
            newest=None if self.newest is None else self.newest[liked_at],
            reads=None if self.reads is None else self.reads[rows],
            queries={source: own[rows] for source, own in self.queries.items()},
        )


@dataclass(frozen=True)
class Ranking:
    """For each of b subjects up to n items, best first; -1 and -inf fill the rest."""

    items: I32  # (b, n)
    scores: F32  # (b, n)


def from_table(
    table: ItemTable,
    subjects: Subjects,
    n: int,
    arrivals: Arrivals | None = None,
    *,
    threads: int = 1,
) -> Ranking:
    """The n allowed items with the largest summed table entries; ties go to the lower row.

    Args:
        table: of a release.
        subjects: b of them.
        n: candidates per subject.
        arrivals: the items behind the table's own; None: there are none.
        threads: blocks of subjects are worked on side by side; the result is the same.
    """
    behind = (arrivals or Arrivals.none(len(table.neighbours))).arrays

    def block(part: Subjects) -> tuple[I32, F32]:
        """Items and scores of some of the subjects."""
        result: tuple[I32, F32] = top_of_table(
            table.neighbours,
            table.scores,
            behind,
            part.indptr,
            part.items,
            part.weights,
            follows_read(table, part),
            part.blocked_indptr,
            part.blocked,
            part.masks,
            part.mask,
            n,
            *scratch(part.masks.shape[1]),
        )
        return result

    return Ranking(*_in_blocks(block, subjects, threads))


def _in_blocks(
    work: Callable[[Subjects], tuple[I32, F32]], subjects: Subjects, threads: int
) -> tuple[I32, F32]:
    if threads == 1 or len(subjects) < 2 * threads:
        return work(subjects)
    edges = np.linspace(0, len(subjects), 4 * threads + 1).astype(int).tolist()
    parts = [subjects.part(a, b) for a, b in pairwise(edges) if b > a]
    with ThreadPoolExecutor(threads) as pool:
        done = list(pool.map(work, parts))
    return np.concatenate([rows for rows, _ in done]), np.concatenate([s for _, s in done])


Follows = tuple[I32, F32, F32]


def follows_read(table: ItemTable, subjects: Subjects) -> Follows:
    """What follows what, as the histories of these subjects read it."""
    return follows_of(table, subjects.weights, subjects.newest)


def follows_of(table: ItemTable, weights: F32, newest: F32 | None) -> Follows:
    """What follows what as compiled code takes it: neighbours, scores and the entries' weights.

    Without rows, if nothing reads it; `weights` only lend their type then.
    """
    if table.follows is None or newest is None:
        return table.neighbours[:0], table.scores[:0], weights
    return table.follows.neighbours, table.follows.scores, newest


MANY_ENTRIES = 4  # if so many times the entries exceed the items, all items are looked at


class _Scratch(threading.local):
    """Arrays of one thread, as long as its catalogue, that are all 0 between two calls."""

    arrays: tuple[F32, U8, I32] | None = None


_scratch = _Scratch()


def scratch(items: int) -> tuple[F32, U8, I32]:
    """Sums, marks and a list of rows for `top_of_table`, of this thread: 9 bytes an item."""
    if _scratch.arrays is None or len(_scratch.arrays[0]) != items:
        sums, marks = np.zeros(items, np.float32), np.zeros(items, np.uint8)
        _scratch.arrays = sums, marks, np.empty(items + 1, np.int32)
    return _scratch.arrays


@njit(cache=True, nogil=True)
def top_of_table(  # type: ignore[no-untyped-def]
    neighbours,
    strengths,
    arrivals,
    indptr,
    items,
    weights,
    follows,
    blocked_indptr,
    blocked,
    masks,
    mask,
    n,
    scores,
    state,
    touched,
):
    """(b, n) i32 items and (b, n) f32 scores, best first, -1 and -inf after the last.

    neighbours (i, k) i32, -1 after the last, and strengths (i, k) f32 are the table; arrivals the
    rows of items behind it, and the same by the table's items (`Arrivals.arrays`); indptr (b + 1,),
    items and weights the histories; follows what comes after items (i, f), and with which weight
    each entry says it (`follows_read`); blocked_indptr (b + 1,) and blocked what is never shown;
    masks (m, i) bool, mask (b,) which of them holds; scores (i,) f32, state (i,) u8 and touched
    (i + 1,) i32 are `scratch`: the first two come as zeros, and are left as zeros.

        history          its rows of the table           scores (i,)          heap of n
        item 4  w .9  ▶  [ 7 .5 │ 2 .3 │ 9 .1 ]  ─┐      2: .27 + .12         ┌ 7
        item 6  w .4  ▶  [ 2 .3 │ 8 .2 │ -1    ]  ─┴add▶  7: .45        ─free▶ │ 2    ─sort▶ 7, 2
                                                          8: .08   9: .09     └ …
        touched: 7 2 9 8, each once, so that only these are looked at and set back to 0

    One sweep per subject: mark what is blocked; add the rows; offer to the heap what was touched,
    is positive and free; set back. Its cost is the histories' entries, not the catalogue. Where
    the entries are many for the catalogue nothing is noted while they are added up, and all items
    are offered.
    """
    subjects, catalogue = len(indptr) - 1, masks.shape[1]
    targets, gains = arrivals[4], arrivals[5]
    after, worth, newest = follows
    rows = np.full((subjects, n), -1, np.int32)
    best = np.full((subjects, n), -np.inf, np.float32)
    # state: + 1: in `touched`, + 2: blocked; touched: one more, written before it counts
    for s in range(subjects):
        shut = blocked[blocked_indptr[s] : blocked_indptr[s + 1]]
        allowed = masks[mask[s]]
        kept = 0
        if (indptr[s + 1] - indptr[s]) * neighbours.shape[1] * MANY_ENTRIES > catalogue:
            for entry in range(indptr[s], indptr[s + 1]):
                item, weight = items[entry], weights[entry]
                if entry + 1 < indptr[s + 1]:
                    load_row(neighbours, strengths, items[entry + 1])
                row, worths = row_of(neighbours, strengths, arrivals, item)
                for k in range(len(row)):
                    if row[k] < 0:
                        break
                    scores[row[k]] += weight * worths[k]
                start, stop = arriving(arrivals, item)
                for k in range(start, stop):
                    scores[targets[k]] += weight * gains[k]
                if item < len(after):
                    for k in range(after.shape[1]):
                        if after[item, k] < 0:
                            break
                        scores[after[item, k]] += newest[entry] * worth[item, k]
            for item in shut:
                scores[item] = 0.0
            least = np.float32(0)  # an item must score above this to be kept
            for item in range(catalogue):
                score = scores[item]
                if score > least and allowed[item]:
                    kept = keep_best(rows[s], best[s], kept, item, score)
                    if kept == n:
                        least = best[s, 0]  # equal ones come later, and have higher rows
            scores[:] = 0.0
            sort_best(rows[s], best[s], kept)
            continue
        for item in shut:
            state[item] = 2
        count = 0
        for entry in range(indptr[s], indptr[s + 1]):
            item, weight = items[entry], weights[entry]
            if entry + 1 < indptr[s + 1]:
                load_row(neighbours, strengths, items[entry + 1])
            row, worths = row_of(neighbours, strengths, arrivals, item)
            count = add_row(row, worths, weight, scores, state, touched, count)
            start, stop = arriving(arrivals, item)
            if start < stop:
                behind, gained = targets[start:stop], gains[start:stop]
                count = add_row(behind, gained, weight, scores, state, touched, count)
            if item < len(after):
                weight, row = newest[entry], after[item]
                count = add_row(row, worth[item], weight, scores, state, touched, count)
        for t in range(count):
            item = touched[t]
            score, free = scores[item], state[item] == 1 and allowed[item]
            scores[item] = 0.0
            state[item] = 0
            if free and score > 0:
                kept = keep_best(rows[s], best[s], kept, item, score)
        for item in shut:
            state[item] = 0
        sort_best(rows[s], best[s], kept)
    return rows, best


@njit(cache=True, nogil=True, inline="always")
def row_of(neighbours, strengths, arrivals, item):  # type: ignore[no-untyped-def]
    """The row of an item, of the table or behind it."""
    known = neighbours.shape[0]
    if item < known:
        return neighbours[item], strengths[item]
    return arrivals[0][item - known], arrivals[1][item - known]


@njit(cache=True, nogil=True, inline="always")
def load_row(neighbours, strengths, item):  # type: ignore[no-untyped-def]
    """Have the row of the next item loaded while that of this one is added up."""
    if item < neighbours.shape[0]:
        load_ahead(neighbours[item])
        load_ahead(strengths[item])


@njit(cache=True, nogil=True)
def arriving(arrivals, item):  # type: ignore[no-untyped-def]
    """Where the items behind the table stand that one of its items speaks for."""
    sources, indptr = arrivals[2], arrivals[3]
    at = np.searchsorted(sources, item)
    if at == len(sources) or sources[at] != item:
        return 0, 0
    return indptr[at], indptr[at + 1]


def top_of_scores(scores: F32, subjects: Subjects, n: int) -> Ranking:
    """The n allowed items with the largest positive entries of dense scores (b, i)."""
    rows = np.full((len(subjects), n), -1, np.int32)
    best = np.full((len(subjects), n), -np.inf, np.float32)
    _top_of_rows(
        np.asarray(scores, np.float32),
        subjects.blocked_indptr,
        subjects.blocked,
        subjects.masks,
        subjects.mask,
        rows,
        best,
    )
    return Ranking(rows, best)


@njit(cache=True, nogil=True)
def _top_of_rows(scores, blocked_indptr, blocked, masks, mask, rows, best):  # type: ignore[no-untyped-def]
    shut = np.zeros(scores.shape[1], np.bool_)
    for s in range(len(rows)):
        own = blocked[blocked_indptr[s] : blocked_indptr[s + 1]]
        for item in own:
            shut[item] = True
        allowed = masks[mask[s]]
        count = 0
        for item in range(scores.shape[1]):
            score = scores[s, item]
            if score > 0 and allowed[item] and not shut[item]:
                count = keep_best(rows[s], best[s], count, item, score)
        for item in own:
            shut[item] = False
        sort_best(rows[s], best[s], count)
