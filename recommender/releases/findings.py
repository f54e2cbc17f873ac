"""What a release found, as tables for exploring: who is in which segment, and what is near what."""

import numpy as np
import pyarrow as pa

from graph.findings import NEAR, SEGMENTS, Findings
from recommender.releases.release import Release

NEAREST = 10  # nearest items written for each item
BLOCK = 8192  # items looked at in one go


def findings_of(release: Release) -> Findings:
    """Segments of users, and the nearest items of each by the item table.

    Users without enough events to be grouped are in no segment; an item that nothing is near to
    has no row.
    """
    return Findings(_segments(release), _near(release))


def _segments(release: Release) -> pa.Table:
    segments = release.manifest.get("segments")
    if segments is None:
        return SEGMENTS.empty_table()
    assigned = np.asarray(release.arrays["segments.assigned"])  # (u,) -1: in none
    rows = np.flatnonzero(assigned >= 0)
    names = pa.array(segments["names"], pa.string())
    columns = [
        pa.array(release.users.ids(rows), pa.string()),
        names.take(pa.array(assigned[rows].astype(np.int64))),
    ]
    return pa.table(columns, schema=SEGMENTS)


def _near(release: Release) -> pa.Table:
    neighbours = release.arrays["table.neighbours"]  # (i, width), strongest first, -1 pads
    scores = release.arrays["table.scores"]
    items = pa.array(release.items, pa.string())
    tables = []
    for begin in range(0, len(neighbours), BLOCK):
        targets, near = (np.asarray(part[begin : begin + BLOCK]) for part in (neighbours, scores))
        sources = np.arange(begin, begin + len(targets))[:, None]
        there = (targets >= 0) & (targets != sources) & (near > 0)
        there &= np.cumsum(there, axis=1) <= NEAREST
        columns = [
            items.take(pa.array(np.broadcast_to(sources, targets.shape)[there])),
            items.take(pa.array(targets[there].astype(np.int64))),
            pa.array(near[there].astype(np.float64)),
        ]
        tables.append(pa.table(columns, schema=NEAR))
    return pa.concat_tables(tables) if tables else NEAR.empty_table()
