"""What a release shows to somebody who looks around, without anything hidden or erased."""

from typing import Any

import numpy as np

from graph.model import NO_ROW
from recommender.serving.explain import domains_of, title
from recommender.serving.recommend import Recommender
from recommender.serving.search import ITEM, TAG, USER


def search_hits(recommender: Recommender, kind: str, query: str, n: int) -> list[dict[str, Any]]:
    """At most n hits of a kind, best first: `kind`, `id`, `title`, `note`, `score`."""
    release, overlay = recommender.release, recommender.overlay
    gone = overlay.hidden if kind == ITEM else np.zeros(0, bool)
    spare = n + min(int(gone.sum()), 50)
    hits = []
    for row, score in recommender.opened.search.find(kind, query, spare):
        if kind == ITEM and not gone[row]:
            note = " · ".join(domains_of(release, row)[:2]) or release.items.id(row)
            hits.append((release.items.id(row), title(release, row), note, score))
        if kind == TAG:
            name = release.tag_names.id(row)
            rows = np.flatnonzero(np.asarray(release.tag_name_rows) == row)
            carried = sum(len(release.carriers.of(tag)) for tag in rows.tolist())
            hits.append((name, name, f"tag of {carried:,} items", score))
        if kind == USER and overlay.user_row(name := release.users.id(row)) != NO_ROW:
            count = len(release.histories.of(row))
            hits.append((name, name, f"user, chose {count:,} items", score))
    fields = ("id", "title", "note", "score")
    return [{"kind": kind, **dict(zip(fields, hit, strict=True))} for hit in hits[:n]]
