"""What items count where what follows what is read, if nobody knows which came last.

An entry of a history counts (1 + how many came later) to a power. Items of which nobody says in
which order they came may be the latest of a history, or any of it. The latest would each count what
their places count on average; items from long ago say little of what comes next (decision 12).
"""

from collections.abc import Sequence

import numpy as np

from graph.arrays import F64, I64

UNTOLD = 0.25
"""So much of the average such items count."""


def worth_of_session(weights: Sequence[float], exponent: float) -> F64:
    """(h,) what each item of a session counts: the heaviest is the newest, equal ones are untold.

    `exponent` is the power, as a positive number.
    """
    worth = np.arange(1.0, len(weights) + 1) ** -exponent
    _, same, counts = np.unique(
        -np.asarray(weights, np.float64), return_inverse=True, return_counts=True
    )
    ends = np.cumsum(counts)
    sums = np.append(0, np.cumsum(worth))
    shares = (sums[ends] - sums[ends - counts]) / counts
    shares[counts > 1] *= UNTOLD
    return np.asarray(shares[same])


def worth_among(counts: I64, exponent: float) -> F64:
    """(n,) what an item counts among so many of equal weight; 1 for none."""
    most = max(int(counts.max(initial=0)), 1)
    places = np.arange(1, most + 1, dtype=np.float64)
    means: F64 = np.cumsum(places**-exponent) / places
    means[1:] *= UNTOLD
    return means[np.maximum(counts, 1) - 1]
