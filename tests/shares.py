"""What each item of a history adds to a score, by the code that finds reasons."""

import numpy as np

from graph.arrays import F32, I32
from recommender.releases.release import Release
from recommender.serving.evidence import _contributions, follows_of, scratch


def contributions(
    release: Release, item: int, rows: I32, weights: F32, newest: F32 | None = None
) -> F32:
    """(h,) what each history item adds to the item's score; they sum to it.

    `newest` (h,) are the weights where what follows what is read; None: it is not.
    """
    read = release.reads(rows)
    table, arrivals = release.tables[read], release.arrivals[read]
    parts: F32 = _contributions(
        table.neighbours, table.scores, arrivals.arrays, np.array([item], np.int32), rows, weights,
        follows_of(table, weights, newest), *scratch(len(release.items))[1:],
    )[0][0]  # fmt: skip
    return parts
