"""The item table's scores for items that came after it.

A new item gets the scores of the items most like it. Its row is read in both directions, because
scores of the table are nearly symmetric: it proposes items, and is proposed to people who chose
items like it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from embeddings.item_item.cold_items import DAMPING, OWN, SHARPNESS, WORTH
from embeddings.item_item.item_table import ItemTable
from graph.arrays import F32, I32, I64

NEAREST = 100  # items of the release that stand for a new one
WIDTH = 200  # items that a new one speaks for
HALF = 8.0  # this many people bring a new item half of the way to a chosen one's worth


@dataclass(frozen=True)
class Arrivals:
    """Rows of the items behind a table's own, and the same by the table's items."""

    first: int  # the row of the first of them
    neighbours: I32  # (l, k) items of the table, strongest first, -1 pads
    scores: F32  # (l, k)
    sources: I32  # (s,) items of the table that propose any of them, ascending
    indptr: I64  # (s + 1,)
    targets: I32  # rows of the items behind
    strengths: F32

    @classmethod
    def none(cls, first: int) -> "Arrivals":
        """No items behind the table's own."""
        return cls.of(first, {}, 0)

    @classmethod
    def of(cls, first: int, rows: Mapping[int, tuple[I32, F32]], count: int) -> "Arrivals":
        """From the row of each item that has a place; `count` items are behind."""
        width = max((len(indices) for indices, _ in rows.values()), default=0)
        neighbours = np.full((count, width), -1, np.int32)
        scores = np.zeros((count, width), np.float32)
        for row, (indices, strengths) in rows.items():
            neighbours[row - first, : len(indices)] = indices
            scores[row - first, : len(indices)] = strengths
        there = neighbours >= 0
        owner = first + np.nonzero(there)[0]
        order = np.lexsort((owner, neighbours[there]))
        sources, starts = np.unique(neighbours[there][order], return_index=True)
        return cls(
            first=first,
            neighbours=neighbours,
            scores=scores,
            sources=sources.astype(np.int32),
            indptr=np.append(starts, len(order)).astype(np.int64),
            targets=owner[order].astype(np.int32),
            strengths=scores[there][order].astype(np.float32),
        )

    @property
    def arrays(self) -> tuple[I32, F32, I32, I64, I32, F32]:
        """As compiled code takes them."""
        return (
            self.neighbours,
            self.scores,
            self.sources,
            self.indptr,
            self.targets,
            self.strengths,
        )

    def of_item(self, row: int) -> tuple[I32, F32]:
        """The scores between an item, in the table or behind it, and those on the other side."""
        if row >= self.first:
            return self.neighbours[row - self.first], self.scores[row - self.first]
        at = int(np.searchsorted(self.sources, row))
        if at == len(self.sources) or self.sources[at] != row:
            return np.zeros(0, np.int32), np.zeros(0, np.float32)
        own = slice(int(self.indptr[at]), int(self.indptr[at + 1]))
        return self.targets[own], self.strengths[own]


def placed_row(table: ItemTable, near: I32, likeness: F32, people: int = 0) -> tuple[I32, F32]:
    """The row of a new item: what the items near it speak for, and those items themselves.

    Args:
        table: of the release.
        near: (n,) items of the table, the most like first; -1 where there are fewer.
        likeness: (n,) cosines.
        people: how many chose it so far; each raises its scores towards those of a chosen item.
    """
    good = (near >= 0) & (likeness > 0)
    near = near[good][:NEAREST]
    like = likeness[good][:NEAREST].astype(np.float64) ** SHARPNESS
    if len(near) == 0:
        return np.zeros(0, np.int32), np.zeros(0, np.float32)
    like *= grown(people) * like.sum() ** -DAMPING
    neighbours, scores = table.neighbours[near], table.scores[near]
    own = OWN * scores.max(axis=1, initial=0)
    rows = np.concatenate([neighbours.ravel(), near])
    worths = np.concatenate([(scores * like[:, None]).ravel(), own * like])
    there = rows >= 0
    items, places = np.unique(rows[there], return_inverse=True)
    sums = np.bincount(places, worths[there])
    best = np.argsort(-sums, kind="stable")[:WIDTH]
    best = best[sums[best] > 0]
    return items[best].astype(np.int32), sums[best].astype(np.float32)


def grown(people: int) -> float:
    """The factor on a new item's scores: `WORTH` at first, 1 when enough people chose it."""
    return 1 - (1 - WORTH) * HALF / (HALF + people)
