"""Sums of events that were dropped: a SQLite file of the home, by kind, item and month.

Nobody is named in it. Sums are written as pending before their events are dropped, so that a kill
in between neither loses them nor counts them twice.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from graph.sqlite_file import committed

WAIT_SECONDS = 10.0
SCHEMA = """
    CREATE TABLE IF NOT EXISTS counts (kind TEXT NOT NULL, item TEXT NOT NULL,
        month TEXT NOT NULL, events INTEGER NOT NULL, people INTEGER NOT NULL,
        PRIMARY KEY (kind, item, month)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS pending (kind TEXT PRIMARY KEY, before INTEGER NOT NULL)
        WITHOUT ROWID
"""


def begin(path: Path, kind: str, before: int, sums: Sequence[tuple[str, str, int, int]]) -> None:
    """Add sums (item, month, events, people) of events before a time that are now dropped."""
    with _opened(path) as db:
        db.executemany(
            "INSERT INTO counts VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
            "events = events + excluded.events, people = max(people, excluded.people)",
            [(kind, *entry) for entry in sums],
        )
        db.execute("INSERT INTO pending VALUES (?, ?)", (kind, before))


def pending(path: Path, kind: str) -> int | None:
    """The time before which events are being dropped whose sums are written; None: nothing is."""
    if not path.exists():
        return None
    with _opened(path) as db:
        row = db.execute("SELECT before FROM pending WHERE kind = ?", (kind,)).fetchone()
    return None if row is None else int(row[0])


def finish(path: Path, kind: str) -> None:
    """Say that the events are dropped."""
    with _opened(path) as db:
        db.execute("DELETE FROM pending WHERE kind = ?", (kind,))


def counts(path: Path) -> list[tuple[str, str, str, int, int]]:
    """Kind, item, month, events, people at least; in this order."""
    if not path.exists():
        return []
    with _opened(path) as db:
        return db.execute("SELECT * FROM counts").fetchall()


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, timeout=WAIT_SECONDS, isolation_level=None)) as db:
        db.execute("PRAGMA synchronous = FULL")
        db.execute("BEGIN IMMEDIATE")
        with committed(db):
            for statement in SCHEMA.split(";"):
                db.execute(statement)
            yield db
