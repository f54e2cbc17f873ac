"""What the graph looks like: counts, how events are distributed, hubs and orphans."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from graph.arrays import I64
from graph.snapshot import GraphSnapshot

QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.95, 1.0)
HUB_TIMES_MEDIAN = 1_000  # a user with so many times the median of events is no person
MOST_HUBS = 20


@dataclass(frozen=True)
class Statistics:
    """Counts of a snapshot; quantiles are at `QUANTILES`, over users or items with any event."""

    users: int
    items: int
    tags: int
    domains: int
    events: int
    events_by_kind: Mapping[str, int]
    pairs: int  # distinct (user, item)
    density: float  # pairs over users × items; 0 when there are none
    events_per_user: tuple[float, ...]
    events_per_item: tuple[float, ...]
    popularity_gini: float  # of events over items: 0 if all have as many, near 1 if a few have all
    users_without_events: int
    items_without_events: int
    items_without_anything: int  # neither events nor tags, domains or relations
    hubs: Mapping[str, int]  # user -> events, where >= 1,000 × the median; most first


def statistics(snapshot: GraphSnapshot) -> Statistics:
    """The statistics of a snapshot; an empty graph gives zeros."""
    events = snapshot.events
    users, items = len(snapshot.users), len(snapshot.items)
    by_user = np.bincount(events.user, minlength=users)
    by_item = np.bincount(events.item, minlength=items)
    pairs = len(np.unique(events.user.astype(np.int64) * max(items, 1) + events.item))
    by_kind = np.bincount(events.kind, minlength=len(snapshot.kinds)).tolist()
    linked = by_item > 0
    for rows in (
        snapshot.item_tags.source,
        snapshot.item_domains.source,
        snapshot.item_relations.source,
        snapshot.item_relations.target,
    ):
        linked[rows] = True
    return Statistics(
        users=users,
        items=items,
        tags=len(snapshot.tags),
        domains=len(snapshot.domains),
        events=len(events.user),
        events_by_kind=dict(zip(snapshot.kinds, by_kind, strict=True)),
        pairs=pairs,
        density=pairs / (users * items) if users and items else 0.0,
        events_per_user=_quantiles(by_user),
        events_per_item=_quantiles(by_item),
        popularity_gini=gini(by_item),
        users_without_events=int((by_user == 0).sum()),
        items_without_events=int((by_item == 0).sum()),
        items_without_anything=int((~linked).sum()),
        hubs=_hubs(snapshot, by_user),
    )


def gini(counts: I64) -> float:
    """Gini coefficient of counts (n,): half the mean difference over the mean; 0 when empty."""
    total = int(counts.sum())
    if not total:
        return 0.0
    places = np.arange(1, len(counts) + 1)
    return float(((2 * places - len(counts) - 1) * np.sort(counts)).sum() / (len(counts) * total))


def _quantiles(counts: I64) -> tuple[float, ...]:
    used = counts[counts > 0]
    if not len(used):
        return (0.0,) * len(QUANTILES)
    return tuple(float(value) for value in np.quantile(used, QUANTILES))


def _hubs(snapshot: GraphSnapshot, by_user: I64) -> dict[str, int]:
    used = by_user[by_user > 0]
    if not len(used):
        return {}
    hubs = np.flatnonzero(by_user >= HUB_TIMES_MEDIAN * np.median(used))
    strongest = hubs[np.argsort(-by_user[hubs], kind="stable")][:MOST_HUBS]
    return {snapshot.users.id(int(row)): int(by_user[row]) for row in strongest}
