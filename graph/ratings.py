"""Finds the scale of ratings from their values, in spite of a few slips.

A single 55 among ratings of one to five stars is a slip. And where everybody is content, the scale
still goes from one to five.
"""

from collections import Counter

import numpy as np
import numpy.typing as npt

Scale = tuple[float, float]  # lowest and highest rating

USUAL_SCALES: tuple[Scale, ...] = (
    (0, 1), (-1, 1), (1, 5), (0.5, 5), (0, 5), (1, 6), (0, 6), (1, 7), (1, 10), (0.5, 10), (0, 10),
    (-10, 10), (1, 20), (0, 20), (1, 100), (0, 100),
)  # fmt: skip
"""The smallest of these that holds the ratings is taken."""
OFF_SHARE = 0.01  # share of ratings that may lie off the scale; a single one always may
OFF_BY = 2.0  # times the highest rating: values off the scale but nearer suggest a larger one
MOST_VALUES = 10_000  # numbers with more different values are not ratings
GOOD = 0.6  # a rating this far up the scale is good
ENOUGH = 3  # ratings on the scale are needed for each one off it


class Tally:
    """Counts ratings by their value, part by part."""

    def __init__(self) -> None:
        self._counts: Counter[float] = Counter()

    def add(self, values: npt.NDArray[np.floating]) -> None:
        """Count some ratings; NaN is not counted."""
        different, counts = np.unique(values[np.isfinite(values)], return_counts=True)
        self._counts.update(dict(zip(different.tolist(), counts.tolist(), strict=True)))

    @property
    def count(self) -> int:
        """How many ratings were counted."""
        return self._counts.total()

    def off(self, low: float, high: float) -> int:
        """How many ratings lie off a scale."""
        return sum(count for value, count in self._counts.items() if not low <= value <= high)

    def scale(self) -> Scale | None:
        """The smallest usual scale that holds all but slips, else the lowest and highest rating.

        A usual scale is passed over if no rating would be good on it, or if no rating suggests its
        lower end. None without ratings.
        """
        if not self._counts:
            return None
        bounds = min(self._counts), max(self._counts)
        if len(self._counts) > MOST_VALUES:
            return bounds
        return next((scale for scale in USUAL_SCALES if self._fits(*scale)), bounds)

    def _fits(self, low: float, high: float) -> bool:
        inside = [value for value in self._counts if low <= value <= high]
        off = [value for value in self._counts if not low <= value <= high]
        count = sum(self._counts[value] for value in off)
        if not inside or max(inside) < low + GOOD * (high - low):
            return False
        if (low < 1 <= min(inside)) or (low < 0 and min(inside) > low / 2):
            return False
        if any(-OFF_BY * high <= value <= OFF_BY * high for value in off):
            return False
        return count <= max(OFF_SHARE * self.count, 1) and ENOUGH * count <= self.count - count
