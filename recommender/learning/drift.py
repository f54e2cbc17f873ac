"""Whether a refresh is due although few events are new: choices go elsewhere, or the gate saw less.

Compared is how choices spread over the items:

    |—————————— before ——————————|—— last n ——|—— n since ——|
                                 release's end ┘

The events since the release always differ somewhat from all before, by chance and by fashion. That
is measured on the n events just before the release was made; choices have drifted if the events
since differ clearly more than these did.
"""

import numpy as np
import numpy.typing as npt

from graph.store import GraphStore
from recommender.learning.warm import drift_of_gate
from recommender.releases.release import Release

Counts = npt.NDArray[np.int64]

ELSEWHERE = 0.1  # share of the new events that lie on other items than is usual
FEWEST = 200  # new events; fewer say nothing about how choices spread


def drifted(store: GraphStore, served: Release) -> str | None:
    """What has drifted since a release was made, in words; None: nothing, or it cannot be told."""
    fallen = drift_of_gate(served.manifest)
    if fallen is not None:
        return fallen
    new = store.watermark() - served.watermark
    if new < FEWEST or new > served.watermark // 2:
        return None
    spread = [_items(store, until) for until in (served.watermark - new, served.watermark, None)]
    names = sorted(set().union(*spread))
    counts = [np.array([part.get(name, 0) for name in names], np.int64) for part in spread]
    share = elsewhere(*counts)
    if share <= ELSEWHERE:
        return None
    return f"of the new events {share:.1%} more than usual are on other items than before"


def elsewhere(before: Counts, at_release: Counts, now: Counts) -> float:
    """The share of the new events that lie on other items, beyond what was usual.

    All are (i,) counts of events by item: up to as many events before the release as came after
    it, up to the release, and now. 0 where nothing is new, or nothing was there before.
    """
    last, new = np.maximum(at_release - before, 0), np.maximum(now - at_release, 0)
    return _apart(new, at_release) - _apart(last, before)


def _apart(part: Counts, rest: Counts) -> float:
    """Half the sum of differences of two spreads: the share of `part` that lies elsewhere."""
    if not part.sum() or not rest.sum():
        return 0.0
    return float(np.abs(part / part.sum() - rest / rest.sum()).sum() / 2)


def _items(store: GraphStore, until: int | None) -> dict[str, int]:
    """Events by item, up to a watermark."""
    column = store.read("events", until=until)["item"]
    return {count["values"]: count["counts"] for count in column.value_counts().to_pylist()}
