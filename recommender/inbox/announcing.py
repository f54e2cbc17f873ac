"""A load while a server runs: the server learns what the load writes into the store.

The store is written first, with the number of the load; then the same rows are appended to the
journal, where every worker sees them. The drain writes them once more, which changes nothing.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any, cast

from graph.model import ITEM_PARTS, SCHEMAS, Batch
from graph.store import GraphStore
from recommender.inbox import undone
from recommender.inbox.drain import Carry, drain, lease
from recommender.inbox.facts import LOAD, PATCH, USER_PUT, Fact, fact
from recommender.inbox.joining import all_names, renamed_batch
from recommender.inbox.journal import Journal

MOST_ANNOUNCED = 1_000_000  # facts that an overlay can hold; with more, servers wait for a refresh
TOGETHER = 5_000  # facts of one transaction, so that the server's own writes need not wait long


@contextmanager
def load_into(
    store: GraphStore, journal: Journal, *, now: int, carry: Carry | None = None
) -> Iterator[GraphStore]:
    """The store that a load writes into. A server that runs on this home learns of the load.

    Without a server, facts that wait in the journal are written first, since they came before;
    `carry` takes erasures among them wherever the person is known, see `drain`.
    """
    with lease(journal.path) as alone:
        if not alone:
            yield cast("GraphStore", _Announced(store, journal, now))
            return
        _drain_all(journal, store, now, carry)
        try:
            yield cast("GraphStore", _Named(store, journal))
        finally:
            if journal.last_sequence():
                journal.append([fact(LOAD, {"at": now})], now=now)


def undo_load(
    store: GraphStore, journal: Journal, load: int, *, now: int, carry: Carry | None = None
) -> dict[str, int]:
    """Take a load back, see `GraphStore.undo_load`; a server that runs on this home learns of it.

    Without a server, facts that wait in the journal are written first; `carry` as in `load_into`.
    The server must have carried into the store what it had acknowledged (`caught_up`): an event
    of the load that still waits there would come back.
    """
    with lease(journal.path) as alone:
        if alone:
            _drain_all(journal, store, now, carry)
            gone = store.undo_load(load)
            facts: Iterator[Fact] = iter(())
        else:
            before = {name: store.read(name) for name in undone.TABLES}
            gone = store.undo_load(load)
            facts = undone.facts(before, {name: store.read(name) for name in undone.TABLES})
        while some := list(islice(facts, TOGETHER)):
            journal.append(some, now=now)
        if journal.last_sequence():  # the same fact sent again from now on counts as new
            journal.append([fact(LOAD, {"at": now})], now=now)
    return gone


def _drain_all(journal: Journal, store: GraphStore, now: int, carry: Carry | None) -> None:
    while journal.last_sequence() and drain(journal, store, now=lambda: now, carry=carry).facts:
        pass


class _Named:
    """A store whose batches are written under the ids that people have now."""

    def __init__(self, store: GraphStore, journal: Journal) -> None:
        self._store, self._names = store, all_names(journal)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def apply(self, batch: Batch, **options: Any) -> bool:
        return self._store.apply(renamed_batch(batch, self._names), **options)


class _Announced:
    """A store whose batches are appended to the journal once they are written."""

    def __init__(self, store: GraphStore, journal: Journal, now: int) -> None:
        named = _Named(store, journal)
        self._store, self._journal, self._now = cast("GraphStore", named), journal, now
        self._room = MOST_ANNOUNCED

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def apply(
        self, batch: Batch, *, clear: Mapping[str, Collection[str]] | None = None, **options: Any
    ) -> bool:
        done = self._store.apply(batch, clear=clear, **options)
        facts = [*_cleared(clear or {}), *_rows(batch)] if done else []
        facts = facts[: self._room]
        self._room -= len(facts)
        for start in range(0, len(facts), TOGETHER):
            self._journal.append(facts[start : start + TOGETHER], now=self._now)
        return done


def _cleared(clear: Mapping[str, Collection[str]]) -> Iterator[Fact]:
    gone: dict[str, dict[str, Any]] = {}
    for part in ITEM_PARTS:
        for item in clear.get(part, ()):
            gone.setdefault(item, {})[part] = [] if part in ("tags", "domains") else None
    for item, parts in gone.items():
        yield fact(PATCH, {"id": item, **parts})
    for user in clear.get("user_attributes", ()):
        yield fact(USER_PUT, {"id": user})


def _rows(batch: Batch) -> Iterator[Fact]:
    for table in SCHEMAS:
        for row in batch[table].to_pylist() if table in batch else ():
            if row.get("attributes") is not None:
                row["attributes"] = json.loads(row["attributes"])
            yield fact(table, row)
