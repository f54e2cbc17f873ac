"""Impressions and clicks as what each user was shown and did not click."""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby

import numpy as np

from graph.arrays import I64
from graph.model import NO_ROW
from recommender.inbox.facts import CLICK, Row
from recommender.inbox.feedback import not_clicked
from recommender.inbox.journal import Journal
from recommender.overlay.shown import (
    NOTHING,
    ROTATION_SECONDS,
    ShownItems,
    shown_items,
    with_impressions,
    without,
)

MOST_REMEMBERED = 200_000  # pairs of user and item shown before the release was made

RowsOf = Callable[[Sequence[str]], I64]  # ids of items -> their rows, `NO_ROW` where unknown


def remembered(journal: Journal, upto: int, rows_of: RowsOf) -> dict[str, ShownItems]:
    """User -> what was shown to them lately and not clicked, by the facts up to a number."""
    listed = not_clicked(journal, upto, ROTATION_SECONDS, MOST_REMEMBERED)
    rows = rows_of([item for _, item, *_ in listed]).tolist()
    known = [(*entry, row) for entry, row in zip(listed, rows, strict=True) if row != NO_ROW]
    return {
        user: shown_items((row, count, last) for _, _, count, last, row in own)
        for user, own in groupby(known, key=lambda entry: entry[0])
    }


def rotated(
    shown: Mapping[str, ShownItems], facts: Sequence[Row], rows_of: RowsOf
) -> dict[str, ShownItems]:
    """What changes for some users by newer impressions and clicks; clicked items count as new."""
    named = [fact for fact in facts if "user" in fact.payload]
    rows = rows_of([str(fact.payload["item"]) for fact in named]).tolist()
    by_user: dict[str, list[tuple[str, int, int]]] = {}
    for fact, row in zip(named, rows, strict=True):
        if row != NO_ROW:
            entry = (fact.kind, row, int(fact.payload["at"]))
            by_user.setdefault(str(fact.payload["user"]), []).append(entry)
    changed = {}
    for user, own in by_user.items():
        after = shown.get(user, NOTHING)
        for kind, entries in groupby(own, key=lambda entry: entry[0]):
            _, items, times = (np.array(column) for column in zip(*entries, strict=True))
            if kind == CLICK:
                after = without(after, items.astype(np.int64))
            else:
                after = with_impressions(after, items.astype(np.int64), times.astype(np.int64))
        changed[user] = after
    return changed
