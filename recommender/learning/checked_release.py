"""A candidate beside the release that is served, in the form that the sanity checks read."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from graph.arrays import I64, U64
from recommender.learning.parts import Parts
from recommender.releases.release import Release
from recommender.releases.rows import Rows

Text = str | None


FEWEST_ENTRIES = 20  # entries of a domain, kind or column; with fewer nothing is concluded


FORCE = "if you mean that, publish with --force"


@dataclass(frozen=True)
class Seen:
    """The release that is checked, and what it is compared with."""

    new: Release
    old: Release | None  # that is served
    parts: Parts
    fitted: Rows | None = None  # (u, i) what the trial has learned from
    expired: Mapping[str, int] = field(default_factory=dict)
    """Kind of event, in lower case -> when the oldest that may be kept happened."""


def keys_of(rows: Rows) -> I64:
    """One number for each entry (u, i), row by row."""
    owners = np.repeat(np.arange(len(rows), dtype=np.int64), np.diff(rows.indptr))
    return owners * max(rows.width, 1) + rows.indices


def hashes_of(rows: Rows) -> U64:
    """(rows,) a number for each row: the same for rows that hold the same set."""
    draw = np.random.default_rng(0).integers(0, 2**63, max(rows.width, 1)).astype(np.uint64)
    sums = np.concatenate([[np.uint64(0)], np.cumsum(draw[rows.indices])])
    result: U64 = sums[rows.indptr[1:]] - sums[rows.indptr[:-1]]
    return result
