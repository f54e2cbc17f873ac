"""Counts the facts that a file repeats, and events per user, without keeping the facts.

Each fact's key becomes a 64-bit hash in a file on disk; distinct hashes are counted in passes
over parts of them, so memory holds at most `MOST_KEYS` hashes, however large the file.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from graph.arrays import U64
from graph.model import KEYS

MOST_KEYS = 1 << 20  # hashes in memory at once: 8 MiB, and as much again to sort them

_NO_NUMBER = -1  # no event has this time
# Odd, so multiplying by it loses nothing. The same as in `graph.mixing`, which imports a compiler.
_SPREAD = np.uint64(0x9E3779B97F4A7C15)


def key_hashes(table: str, rows: Any) -> U64:
    """A hash per row of a checked table, (n,) uint64; equal for equal keys."""
    hashes = np.zeros(rows.num_rows, np.uint64)
    for number, column in enumerate(KEYS[table]):
        hashes = (hashes ^ (_column(rows.column(column)) + np.uint64(number))) * _SPREAD
        hashes ^= hashes >> np.uint64(29)
    if table == "events":
        ids = rows.column("event_id")
        if ids.null_count < rows.num_rows:
            hashes = np.where(ids.is_valid().to_numpy(), _column(ids), hashes)
    return hashes


def parts_of_events(rows: Any, parts: int) -> npt.NDArray[np.intp]:
    """Which of `parts` (a power of two) each event belongs to, (n,): by its user.

    Events with their own id go by the id instead, so that equal keys always share a part.
    """
    hashes = _column(rows.column("user"))
    ids = rows.column("event_id")
    if ids.null_count < rows.num_rows:
        hashes = np.where(ids.is_valid().to_numpy(), _column(ids), hashes)
    return (hashes & np.uint64(parts - 1)).astype(np.intp)


def _column(values: Any) -> U64:
    if values.null_count == len(values):
        return np.zeros(len(values), np.uint64)
    if pa.types.is_integer(values.type):
        return values.fill_null(_NO_NUMBER).to_numpy().astype(np.int64).view(np.uint64) * _SPREAD
    encoded = values.combine_chunks().dictionary_encode()
    names = encoded.dictionary.to_numpy(zero_copy_only=False)
    hashes = np.append(_distinct(names), np.uint64(0))  # the last one is for null
    places = encoded.indices.fill_null(len(names)).to_numpy(zero_copy_only=False)
    return hashes[places]


def _distinct(values: npt.NDArray[Any]) -> U64:
    return pd.util.hash_array(values, categorize=False)


def count_distinct(path: Path) -> tuple[int, int]:
    """How many hashes a file holds, and how many different ones."""
    total = path.stat().st_size // 8
    parts = np.uint64(max(1, -(-total // MOST_KEYS)))
    distinct = 0
    for part in range(int(parts)):
        hashes = [
            hashes[hashes % parts == part] if parts > 1 else hashes for hashes in _stored(path)
        ]
        distinct += len(np.unique(np.concatenate(hashes))) if hashes else 0
    return total, distinct


def _stored(path: Path) -> list[U64]:
    stored = np.memmap(path, np.uint64, "r") if path.stat().st_size else np.zeros(0, np.uint64)
    return [stored[start : start + MOST_KEYS] for start in range(0, len(stored), MOST_KEYS)]


class UserCounts:
    """Counts events per user over a load: 16 bytes a user, and names of only the busiest."""

    def __init__(self) -> None:
        self._hashes: U64 = np.zeros(0, np.uint64)
        self._counts = np.zeros(0, np.int64)
        self._names: dict[int, str] = {}

    def add(self, users: Any) -> None:
        """Count a column of user ids."""
        tallies = users.value_counts()
        names, counts = tallies.field("values"), tallies.field("counts").to_numpy()
        hashes = _distinct(names.to_numpy(zero_copy_only=False))
        everyone = np.concatenate([self._hashes, hashes])
        self._hashes, places = np.unique(everyone, return_inverse=True)
        sums = np.bincount(places, np.concatenate([self._counts, counts]))
        self._counts = sums.astype(np.int64)
        rows = np.searchsorted(self._hashes, hashes)
        for row in np.flatnonzero(self._counts[rows] >= 1000):
            self._names[int(hashes[row])] = names[int(row)].as_py()

    def outliers(self, times: int = 1000) -> list[tuple[str, int]]:
        """Users with at least `times` (1000 or more) the median of events, busiest first."""
        if not len(self._counts):
            return []
        rows = np.flatnonzero(self._counts >= times * np.median(self._counts))
        users = [(self._names[int(self._hashes[row])], int(self._counts[row])) for row in rows]
        return sorted(users, key=lambda pair: (-pair[1], pair[0]))
