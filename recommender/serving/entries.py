"""From ranked arrays to the entries of a list, and how a list was filled, in words."""

from collections.abc import Mapping, Sequence

import numpy as np

from graph.arrays import F32, I32
from recommender.ranking.ranker import Lists
from recommender.serving.rules import Entry


def entries_of(lists: Lists, subject_row: int, names: Sequence[str]) -> list[Entry]:
    """The entries of one subject's list, best first; `names` are the names of the sources."""
    rows = lists.items[subject_row].tolist()
    scores, origins = lists.scores[subject_row].tolist(), lists.origins[subject_row].tolist()
    gains = lists.parts[subject_row]
    if np.count_nonzero(gains, axis=1).max(initial=0) > 1:
        parts = [_named(names, part) for part in gains.tolist()]
    else:  # each item by the one source that proposed it
        whole = gains.sum(axis=1).tolist()
        parts = [{names[at]: p} if p else {} for at, p in zip(origins, whole, strict=True)]
    return [
        Entry(row, score, names[origin], part)
        for row, score, origin, part in zip(rows, scores, origins, parts, strict=True)
        if row >= 0
    ]


def _named(names: Sequence[str], parts: Sequence[float]) -> dict[str, float]:
    return {name: part for name, part in zip(names, parts, strict=True) if part}


def merged(lists: Lists, rows: I32, closest: Mapping[int, int], scores: F32) -> Lists:
    """One list of these rows; sources and parts come from the member who likes each row most."""
    members = np.array([closest[row] for row in rows.tolist()], np.int64)
    at = [int(np.flatnonzero(lists.items[m] == r)[0]) for m, r in zip(members, rows, strict=True)]
    parts = lists.parts[members, at]  # in the member's units: brought to those of the scores
    sums = parts.sum(axis=1)
    parts = parts * (scores / np.where(sums > 0, sums, 1))[:, None]
    return Lists(
        items=rows[None].astype(np.int32),
        scores=scores[None],
        origins=lists.origins[members, at][None],
        parts=parts[None],
    )


def fallback(shown: int, filled: set[str], n: int) -> str | None:
    """A note when a list is short or was filled up by other sources; None when it was not."""
    if not shown:
        return "no item may be shown"
    notes = [f"filled up by {', '.join(sorted(filled))}"] if filled else []
    if shown < n:
        notes.append(f"only {shown} items are allowed")
    return "; ".join(notes) or None
