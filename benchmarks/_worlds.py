"""Generated worlds with a known law, and catalogues with a part taken away.

Each world is a list of pairs in the order of time; nobody chooses an item twice.

drifting     what is popular moves on: an item is chosen for a while after it appears
blocky       niches of sixty items that people stay in
series       short series of items: who has begun one goes on with it, in order
popularity   everybody draws from one law of popularity: there is nothing else to learn
tiny         forty people and fifty items in two niches
"""

from collections.abc import Callable
from dataclasses import fields, replace

import numpy as np
import pyarrow as pa

from embeddings import metrics
from graph.arrays import Flags
from graph.model import NO_TIME, SCHEMAS
from graph.snapshot import EventColumns, GraphSnapshot, Links, take_snapshot

Chosen = list[list[int]]  # for each user the items, the first choice first
SECONDS = 3600  # seconds between two choices of a user
BEGIN = 1_700_000_000


def _drifting(rng: np.random.Generator) -> Chosen:
    """1,500 users come one after the other; what is new is chosen, half of it from their niche."""
    items, niches = 1200, 12
    strength = rng.pareto(1.2, items) + 0.2
    born, niche = rng.random(items), rng.integers(niches, size=items)
    chosen = []
    for when in np.sort(rng.random(1500)):
        own = rng.integers(niches)
        history: list[int] = []
        for step in range(int(rng.integers(8, 30))):
            age = when + 0.01 * step - born
            weights = strength * np.where(age > 0, np.exp(-age / 0.15), 0) + 1e-9
            weights *= np.where(niche == own, niches, 1)
            weights[history] = 0
            history.append(int(rng.choice(items, p=weights / weights.sum())))
        chosen.append(history)
    return chosen


def _blocky(rng: np.random.Generator) -> Chosen:
    """1,500 users, each in one or two of forty niches; a tenth of their choices are anywhere."""
    blocks, size = 40, 60
    strength = rng.pareto(1.5, blocks * size) + 0.3
    block = np.repeat(np.arange(blocks), size)
    chosen = []
    for _ in range(1500):
        own = rng.choice(blocks, rng.integers(1, 3), replace=False)
        weights = strength * np.where(np.isin(block, own), 1.0, 0.1 / blocks)
        count = int(rng.integers(6, 25))
        chosen.append(rng.choice(len(block), count, replace=False, p=weights / weights.sum()))
    return [list(map(int, history)) for history in chosen]


def _series(rng: np.random.Generator) -> Chosen:
    """2,000 users, 700 series of eight: a choice goes on with the last series, or begins one."""
    series, length = 700, 8
    strength = rng.pareto(1.2, series) + 0.1
    strength /= strength.sum()
    chosen = []
    for _ in range(2000):
        history: list[int] = []
        while len(history) < rng.integers(8, 40):
            own = int(rng.choice(series, p=strength))
            first = own * length
            if first in history:
                continue
            goes_on = 1 + int(rng.binomial(length - 1, 0.7))
            history += range(first, first + goes_on)
        chosen.append(history)
    return chosen


def _popularity(rng: np.random.Generator) -> Chosen:
    strength = rng.pareto(1.0, 1000) + 0.1
    strength /= strength.sum()
    return [
        list(map(int, rng.choice(1000, int(rng.integers(5, 25)), replace=False, p=strength)))
        for _ in range(1500)
    ]


def _tiny(rng: np.random.Generator) -> Chosen:
    return [
        list(map(int, 25 * (user % 2) + rng.permutation(25)[: int(rng.integers(5, 15))]))
        for user in range(40)
    ]


WORLDS: dict[str, Callable[[np.random.Generator], Chosen]] = {
    "drifting": _drifting,
    "blocky": _blocky,
    "series": _series,
    "popularity": _popularity,
    "tiny": _tiny,
}
ORDERED = ("drifting", "series")  # the others know no times


def world(name: str, seed: int) -> GraphSnapshot:
    """One of `WORLDS`, as a refresh would find it; times only where order means something."""
    chosen = WORLDS[name](np.random.default_rng([seed, list(WORLDS).index(name)]))
    users = np.repeat(np.arange(len(chosen)), [len(history) for history in chosen])
    items = np.concatenate([np.asarray(history) for history in chosen])
    steps = np.concatenate([np.arange(len(history)) for history in chosen])
    at = BEGIN + SECONDS * (steps + 50 * users)
    columns = {
        "user": [f"u{row:05}" for row in users],
        "item": [f"i{row:05}" for row in items],
        "kind": ["view"] * len(users),
        "at": at.tolist() if name in ORDERED else [None] * len(users),
    }
    events = pa.table(
        {
            field.name: pa.array(columns.get(field.name, [None] * len(users)), field.type)
            for field in SCHEMAS["events"]
        }
    )
    return take_snapshot(_Held({"events": events}))  # type: ignore[arg-type]


class _Held:
    """Tables in memory: all that a snapshot asks of a store."""

    def __init__(self, tables: dict[str, pa.Table]) -> None:
        self._tables = tables

    def watermark(self) -> int:
        return 0

    def read(self, table: str, *, until: int | None = None) -> pa.Table:  # noqa: ARG002
        return self._tables.get(table, SCHEMAS[table].empty_table())


def tenth_of_users(snapshot: GraphSnapshot, rng: np.random.Generator) -> GraphSnapshot:
    """All events of a tenth of the users."""
    drawn = rng.random(len(snapshot.users)) < 0.1
    return _of(snapshot, drawn[snapshot.events.user])


def tenth_of_events(snapshot: GraphSnapshot, rng: np.random.Generator) -> GraphSnapshot:
    """A tenth of the pairs, with all their events."""
    pairs = snapshot.events.user.astype(np.int64) << 32 | snapshot.events.item
    _, of_pair = np.unique(pairs, return_inverse=True)
    return _of(snapshot, (rng.random(of_pair.max(initial=0) + 1) < 0.1)[of_pair])


def rare_half(snapshot: GraphSnapshot, _rng: np.random.Generator) -> GraphSnapshot:
    """The rarer half of what people did: events of all items but the most popular ones."""
    counts = np.bincount(snapshot.events.item, minlength=len(snapshot.items))
    return _of(snapshot, metrics.tail(counts)[snapshot.events.item])


def without_times(snapshot: GraphSnapshot, _rng: np.random.Generator) -> GraphSnapshot:
    at = np.full_like(snapshot.events.at, NO_TIME)
    return replace(snapshot, events=replace(snapshot.events, at=at))


def without_tags(snapshot: GraphSnapshot, _rng: np.random.Generator) -> GraphSnapshot:
    """No tags of items, and no events that gave one."""
    none = Links(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.float32))
    return replace(_of(snapshot, snapshot.events.tag < 0), item_tags=none)


def _of(snapshot: GraphSnapshot, kept: Flags) -> GraphSnapshot:
    columns = {
        field.name: getattr(snapshot.events, field.name)[kept] for field in fields(EventColumns)
    }
    return replace(snapshot, events=EventColumns(**columns))


PARTS: dict[str, Callable[[GraphSnapshot, np.random.Generator], GraphSnapshot]] = {
    "a tenth of the users": tenth_of_users,
    "a tenth of the events": tenth_of_events,
    "the rare half": rare_half,
    "without times": without_times,
    "without tags": without_tags,
}
