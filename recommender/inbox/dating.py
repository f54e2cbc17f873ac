"""A new item that comes without `created_at` was created when it was acknowledged."""

import sqlite3
from collections.abc import Callable
from typing import NamedTuple

import orjson

from recommender.inbox.facts import PUT, Fact, fact, row
from recommender.inbox.known import Known, item_after


class Released(NamedTuple):
    """What is served: what it knows of an item, and the last fact that its release contains."""

    known: Callable[[str], Known | None]
    heard: int


def dated(db: sqlite3.Connection, written: Fact, now: int, loaded: int, released: Released) -> Fact:
    """An item that is put without `created_at`, with the time that it has; other facts as they are.

    An item that is known keeps its time, or has none. One is new if nobody knew it, or if events
    named it and nothing else was known. After a load past the journal, number `loaded`, only the
    store could say that: until a release contains the load, such items have no time.
    """
    if written.kind != PUT:
        return written
    payload = orjson.loads(written.payload)
    if "created_at" in payload:
        return written
    later = db.execute(
        "SELECT seq, kind, payload, acknowledged FROM facts WHERE subject = ? AND seq > ? "
        "ORDER BY seq",
        (written.subject, released.heard),
    )
    facts = [row(*columns) for columns in later]
    known = item_after(released.known(payload["id"]), facts, payload["id"]) or {}
    described = {name for name, value in known.items() if value} - {"id", "hidden"}
    if not described and loaded > released.heard:
        return written
    created_at = known.get("created_at") if described else now
    return fact(PUT, payload | {"created_at": created_at})
