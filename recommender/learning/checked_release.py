"""A release on trial beside the one that is served, as the checks of sanity see them."""

from dataclasses import dataclass

import numpy as np

from graph.arrays import I64, U64
from recommender.learning.parts import Parts
from recommender.releases.release import Release
from recommender.releases.rows import Rows

Text = str | None


FEWEST_ENTRIES = 20  # of a domain, a kind, a column: with fewer nothing is concluded


FORCE = "if that is meant, publish with --force"


@dataclass(frozen=True)
class Seen:
    """The release that is checked, and what it is compared with."""

    new: Release
    old: Release | None  # that is served
    parts: Parts
    fitted: Rows | None = None  # (u, i) what the trial has met


def keys_of(rows: Rows) -> I64:
    """Each entry of a (u, i) list as one number, row by row."""
    owners = np.repeat(np.arange(len(rows), dtype=np.int64), np.diff(rows.indptr))
    return owners * max(rows.width, 1) + rows.indices


def hashes_of(rows: Rows) -> U64:
    """(rows,) a number for the set of each row: the same for the same set."""
    draw = np.random.default_rng(0).integers(0, 2**63, max(rows.width, 1)).astype(np.uint64)
    sums = np.concatenate([[np.uint64(0)], np.cumsum(draw[rows.indices])])
    result: U64 = sums[rows.indptr[1:]] - sums[rows.indptr[:-1]]
    return result
