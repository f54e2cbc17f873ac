"""The scale of ratings: as given, or else as the values show it in spite of a few slips.

A single 55 among one to five stars is a slip, and a catalogue in which everybody is content still
rates from one to five.
"""

from collections import Counter

import numpy as np
import numpy.typing as npt

Scale = tuple[float, float]  # lowest and highest rating

USUAL_SCALES: tuple[Scale, ...] = (
    (0, 1), (-1, 1), (1, 5), (0.5, 5), (0, 5), (1, 6), (0, 6), (1, 7), (1, 10), (0.5, 10), (0, 10),
    (-10, 10), (1, 20), (0, 20), (1, 100), (0, 100),
)  # fmt: skip
"""From which the smallest that holds the ratings is taken."""
OFF_SHARE = 0.01  # of the ratings may lie off the scale (one of a few always may)
OFF_BY = 2.0  # times the highest: what lies nearer speaks for a larger scale
MOST_VALUES = 10_000  # different ones, beyond which numbers are no ratings
GOOD = 0.6  # of the way up the scale
ENOUGH = 3  # ratings on the scale for each one off it


class Tally:
    """Counts ratings by their value, part by part."""

    def __init__(self) -> None:
        self._counts: Counter[float] = Counter()

    def add(self, values: npt.NDArray[np.floating]) -> None:
        """Count some ratings; NaN is none."""
        different, counts = np.unique(values[np.isfinite(values)], return_counts=True)
        self._counts.update(dict(zip(different.tolist(), counts.tolist(), strict=True)))

    @property
    def count(self) -> int:
        """How many there were."""
        return self._counts.total()

    def off(self, low: float, high: float) -> int:
        """How many lie off a scale."""
        return sum(count for value, count in self._counts.items() if not low <= value <= high)

    def scale(self) -> Scale | None:
        """The smallest usual scale that holds all but slips, else from the lowest to the highest.

        A usual scale on which no rating is good, or whose lower end nothing hints at, is none.
        None without ratings.
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
