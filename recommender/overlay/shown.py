"""What a user was shown and did not click, so that lists rotate without the caller counting."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from graph.arrays import I64

SHOWN = np.dtype([("item", np.int32), ("count", np.int32), ("last", np.int64)])
ShownItems = npt.NDArray[np.void]  # of dtype SHOWN: row, how often, when last (since 1970)

ROTATION_SECONDS = 7 * 86_400  # after this time without being shown again, an item counts as new
MOST_ITEMS = 200  # kept of one user: those shown last
NOTHING: ShownItems = np.zeros(0, SHOWN)


def shown_items(entries: Iterable[tuple[int, int, int]]) -> ShownItems:
    """Row, count and last time of some items, all different."""
    return np.array(list(entries), SHOWN)


def with_impressions(before: ShownItems, rows: I64, times: I64) -> ShownItems:
    """The same after items (rows) were shown at some times, each one time more."""
    every = np.concatenate([before["item"], rows])
    items, at = np.unique(every, return_inverse=True)
    after = np.zeros(len(items), SHOWN)
    after["item"] = items
    np.add.at(after["count"], at, np.concatenate([before["count"], np.ones_like(rows)]))
    np.maximum.at(after["last"], at, np.concatenate([before["last"], times]))
    if len(after) > MOST_ITEMS:
        after = after[np.argsort(-after["last"], kind="stable")[:MOST_ITEMS]]
    return after


def without(before: ShownItems, rows: I64) -> ShownItems:
    """The same after items (rows) were clicked."""
    return before[~np.isin(before["item"], rows)]


def counts_at(shown: ShownItems, now: int) -> dict[int, int]:
    """Row -> how often it was shown, of the items that were shown lately."""
    lately = shown[shown["last"] > now - ROTATION_SECONDS]
    return dict(zip(lately["item"].tolist(), lately["count"].tolist(), strict=True))
