"""A new item that comes without `created_at` was created when it was acknowledged."""

import sqlite3
from collections.abc import Callable

import orjson

from recommender.inbox.facts import PUT, Fact, fact, row
from recommender.inbox.known import Known, item_after

Released = Callable[[str], tuple[Known | None, int]]
"""What a release knows of an item, and the number of the last fact that it contains."""


def dated(db: sqlite3.Connection, written: Fact, now: int, released: Released) -> Fact:
    """An item that is put without `created_at`, with the time that it has; other facts as they are.

    An item that is known keeps its time, or has none. One is new if nobody knew it, or if events
    named it and nothing else was known.
    """
    if written.kind != PUT:
        return written
    payload = orjson.loads(written.payload)
    if "created_at" in payload:
        return written
    known, heard = released(payload["id"])
    later = db.execute(
        "SELECT seq, kind, payload, acknowledged FROM facts WHERE subject = ? AND seq > ? "
        "ORDER BY seq",
        (written.subject, heard),
    )
    known = item_after(known, [row(*columns) for columns in later], payload["id"]) or {}
    told = {name for name, value in known.items() if value} - {"id", "hidden"}
    created_at = known.get("created_at") if told else now
    return fact(PUT, payload | {"created_at": created_at})
