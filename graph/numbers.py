"""Numbers of items, such as ratings by experts, as features: items with near numbers are alike.

A number lies between two knots, and shares its weight between them by how near each is. Knots are
quantiles, so that about as many items lie at each.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse import csr_array

KNOTS = 9
ITEMS_PER_KNOT = 1000
"""In a large catalogue there are more knots: what thousands of items share tells little."""


@dataclass(frozen=True)
class NumberScale:
    """How one attribute is read: ascending knots, and what an item at any of them is worth."""

    knots: tuple[float, ...]
    weight: float

    def features(self, values: Sequence[float | None]) -> sparse.csr_matrix:
        """(n, k) the weight of each value at the knots beside it; nothing where it is NaN or None.

        Below the first knot and above the last a value counts as lying there.
        """
        numbers = np.array([np.nan if v is None else v for v in values], np.float64)
        rows = np.flatnonzero(np.isfinite(numbers))
        knots = np.array(self.knots)
        within = np.clip(numbers[rows], knots[0], knots[-1])
        after = np.clip(np.searchsorted(knots, within), 1, max(len(knots) - 1, 1))
        shape = (len(numbers), len(knots))
        if len(knots) == 1:
            places, shares = (rows, np.zeros(len(rows), np.int64)), np.ones(len(rows))
        else:
            share = (within - knots[after - 1]) / (knots[after] - knots[after - 1])
            places = np.concatenate([rows, rows]), np.concatenate([after - 1, after])
            shares = np.concatenate([1 - share, share])
        worth = (self.weight * shares).astype(np.float32)
        made = sparse.csr_matrix((worth, places), shape=shape)
        made.eliminate_zeros()
        return made


def number_of(value: object) -> float | None:
    """A value of an attribute as a number; None where it is none."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def item_numbers(
    attributes: Iterable[str], weights: Mapping[str, float], count: int
) -> tuple[csr_array, dict[str, NumberScale]]:
    """(i, n) features of `count` items from their attributes, each a JSON object; and the scales.

    Only attributes with a weight above 0 are read, in the order of their names.
    """
    wanted = sorted(name for name, weight in weights.items() if weight > 0)
    rows = [json.loads(text) for text in attributes] if wanted else []
    parts: list[Any] = [sparse.csr_matrix(np.zeros((count, 0), np.float32))]
    scales: dict[str, NumberScale] = {}
    for name in wanted:
        values = [number_of(row.get(name)) for row in rows]
        known = np.array([value for value in values if value is not None], np.float64)
        known = known[np.isfinite(known)]
        if len(known) == 0:
            continue
        steps = np.linspace(0, 1, max(KNOTS, len(known) // ITEMS_PER_KNOT))
        knots = np.unique(np.quantile(known, steps))
        scales[name] = NumberScale(tuple(knots.tolist()), weights[name])
        parts.append(scales[name].features(values))
    stacked: Any = sparse.hstack(parts, dtype=np.float32)
    numbers = csr_array(stacked)
    numbers.sort_indices()
    return numbers, scales
