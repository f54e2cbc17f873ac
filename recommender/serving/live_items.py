"""Items that came after a release: what is known of each, and where its vectors place it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from graph.arrays import F32, I32
from recommender.overlay.appended import LiveItem
from recommender.ranking.request import NewItem
from recommender.releases.arrivals import NEAREST, placed_row
from recommender.releases.release import Release
from recommender.serving.new_items import NewItems


def live_item(name: str, known: Mapping[str, Any] | None) -> LiveItem:
    """What is known of an item, as an appended release takes it."""
    known = known or {}
    return LiveItem(
        id=name,
        title=known.get("title"),
        created_at=known.get("created_at"),
        attributes=known.get("attributes") or {},
        tags=tuple(
            (tag.get("category") or "tag", tag["tag"], float(tag.get("weight", 1.0)))
            for tag in known.get("tags") or ()
        ),
        domains=tuple(
            (domain["domain"], float(domain.get("weight", 1.0)))
            for domain in known.get("domains") or ()
        ),
        likeness=known.get("likeness"),
    )


def placed(places: NewItems, base: Release, item: LiveItem) -> tuple[LiveItem, tuple[I32, F32]]:
    """A new item's vectors, from what is known of it, and its row: the items that it proposes."""
    nothing = np.zeros(0, np.int32), np.zeros(0, np.float32)
    known = NewItem(
        title=item.title or "",
        tags=tuple(name for _, name, _ in item.tags),
        domains=tuple(name for name, _ in item.domains),
        related=tuple(other for _, other in item.related),
    )
    located = places.locate(known)
    if located.source is None:
        return item, nothing
    vector = located.vector(located.source)
    near, likeness = places.nearest(located.source, vector, NEAREST)
    width = base.likeness.shape[1]
    short = np.zeros(width, np.float32)
    if located.source == "spectral":
        short[:] = vector[:width]
    length = float(np.linalg.norm(short))
    unit = short / length if length > 0 else short
    return replace(item, likeness=unit), placed_row(base.table, near, likeness, item.people)
