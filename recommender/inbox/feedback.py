"""What was shown and what was clicked: a SQLite file beside the journal, a row for each item shown.

The drain writes it before the store is told that a fact is done, and writing a fact twice changes
nothing, so each counts exactly once. Nothing is trained from it yet.
"""

import hashlib
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import orjson

from graph.errors import StoreAway, StoreForeign
from graph.sqlite_file import (
    as_it_lies,
    committed,
    connect,
    database_errors,
    migrate,
    opening,
    operational_errors,
)
from recommender.inbox.facts import CLICK, FEEDBACK, Row, user_subject
from recommender.inbox.journal import Journal
from recommender.inbox.schema import foreign

APPLICATION_ID = 0x4E474642  # "NGFB" in the file's header
WAIT_SECONDS = 10.0
MOST_SHAPES = 5_000  # combinations of release, segment, source and rules that are told apart
OTHER = "other"  # stands for all further ones
SECONDS_A_DAY = 86_400

MIGRATIONS = [
    """
    CREATE TABLE shapes (shape INTEGER PRIMARY KEY, release TEXT NOT NULL, segment TEXT NOT NULL,
        source TEXT NOT NULL, rules TEXT NOT NULL, UNIQUE (release, segment, source, rules));
    CREATE TABLE shown (key INTEGER PRIMARY KEY, seq INTEGER NOT NULL, shape INTEGER NOT NULL,
        position INTEGER NOT NULL, person INTEGER NOT NULL, user TEXT, item TEXT NOT NULL,
        shown_at INTEGER NOT NULL, clicked_at INTEGER);
    CREATE INDEX shown_by_user ON shown (user, item) WHERE user IS NOT NULL;
    CREATE INDEX shown_by_time ON shown (shown_at);
    CREATE TABLE counts (day INTEGER NOT NULL, shape INTEGER NOT NULL, position INTEGER NOT NULL,
        shown INTEGER NOT NULL, clicked INTEGER NOT NULL, people INTEGER NOT NULL,
        PRIMARY KEY (day, shape, position)) WITHOUT ROWID;
    CREATE TABLE about (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
    """,
]
"""`shown` has a row for each item of an answer that was seen or clicked; `counts` is what is left
of rows that were reduced: sums of a day (days since 1970), and how many people they are of."""


def feedback_file(journal_file: Path) -> Path:
    """Where it lies."""
    return journal_file.parent / "feedback.sqlite"


def take(journal: Journal, facts: Iterable[Row]) -> int:
    """Write the impressions and clicks among some facts; how many there were."""
    own = [fact for fact in facts if fact.kind in FEEDBACK]
    if not own:
        return 0
    with opened(journal, make=True) as db, _transaction(db):
        kept_since = _about(db, "kept_since") or 0
        for fact in own:
            if fact.payload["at"] >= kept_since:
                _put(db, fact)
    return len(own)


def forget(journal: Journal, user: str) -> int:
    """Remove what was shown to a user, from the write-ahead file, too; how many rows."""
    with opened(journal) as db:
        if db is None:
            return 0
        with _transaction(db):
            gone = db.execute("DELETE FROM shown WHERE user = ?", (user,)).rowcount
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return int(gone)


def join(journal: Journal, anonymous: str, user: str) -> None:
    """What was shown to an anonymous id was shown to a user."""
    with opened(journal) as db:
        if db is not None:
            with _transaction(db):
                db.execute(
                    "UPDATE shown SET user = ?, person = ? WHERE user = ?",
                    (user, user_subject(user), anonymous),
                )


def about_user(journal: Journal, user: str) -> list[dict[str, Any]]:
    """What was shown to a user, and when it was clicked; oldest first."""
    query = (
        "SELECT item, position, source, shown_at, clicked_at FROM shown JOIN shapes USING (shape) "
        "WHERE user = ? ORDER BY shown_at, key"
    )
    with opened(journal) as db:
        rows = [] if db is None else db.execute(query, (user,)).fetchall()
    names = ("item", "position", "source", "shown_at", "clicked_at")
    return [dict(zip(names, row, strict=True)) for row in rows]


def not_clicked(
    journal: Journal, upto: int, seconds: int, limit: int
) -> list[tuple[str, str, int, int]]:
    """User, item, how often it was shown since it was last clicked, and when last; by user.

    Only facts up to the number `upto`, of the last `seconds` before the newest of them, and at
    most `limit` pairs.
    """
    with opened(journal) as db:
        if db is None:
            return []
        newest = db.execute("SELECT max(shown_at) FROM shown").fetchone()[0] or 0
        return db.execute(
            "SELECT user, item, count(*), max(shown_at) FROM shown AS here WHERE user IS NOT NULL "
            "AND clicked_at IS NULL AND shown_at > ? AND seq <= ? AND NOT EXISTS (SELECT 1 FROM "
            "shown AS later WHERE later.user = here.user AND later.item = here.item AND "
            "later.clicked_at >= here.shown_at) GROUP BY user, item ORDER BY user LIMIT ?",
            (newest - seconds, upto, limit),
        ).fetchall()


def drop_before(journal: Journal, before: int, *, reduce: bool, dry_run: bool = False) -> int:
    """Remove what was shown before a time, in seconds since 1970; how many rows.

    With `reduce`, their sums by day, release, segment, source, rules and position are kept.
    """
    with opened(journal) as db:
        if db is None:
            return 0
        rows = int(
            db.execute("SELECT count(*) FROM shown WHERE shown_at < ?", (before,)).fetchone()[0]
        )
        if dry_run or not rows:
            return rows
        with _transaction(db):
            if reduce:
                db.execute(
                    "INSERT INTO counts SELECT shown_at / ?1 AS day, shape, position, count(*), "
                    "count(clicked_at), count(DISTINCT person) FROM shown WHERE shown_at < ?2 "
                    "GROUP BY day, shape, position ON CONFLICT DO UPDATE SET "
                    "shown = shown + excluded.shown, clicked = clicked + excluded.clicked, "
                    "people = max(people, excluded.people)",
                    (SECONDS_A_DAY, before),
                )
            db.execute("DELETE FROM shown WHERE shown_at < ?", (before,))
            kept_since = max(before, _about(db, "kept_since") or 0)
            db.execute("INSERT OR REPLACE INTO about VALUES ('kept_since', ?)", (kept_since,))
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return rows


@contextmanager
def opened(journal: Journal, *, make: bool = False) -> Iterator[Any]:
    """A connection to the file, closed at the end; None when there is no file and none is made.

    Raises:
        StoreAway: the file cannot be opened, read or written now.
        StoreForeign: it is not a file that this version knows.
    """
    path, key = feedback_file(journal.path), journal.key
    if not make and not path.exists():
        yield None
        return
    try:
        with opening(path):
            connection = _connected(path, key, make=make)
        with closing(connection) as db:
            yield db
    except operational_errors() as error:
        raise StoreAway(f"{path}: {error}; check the disk and the folder's permissions") from error
    except database_errors() as error:
        raise foreign(path, key, error) from error


def _connected(path: Path, key: str | None, *, make: bool) -> sqlite3.Connection:
    db = connect(path, key, timeout=WAIT_SECONDS, isolation_level=None)
    try:
        _prepare(db, path)
    except operational_errors() as error:
        db.close()
        if make:
            raise
        return as_it_lies(path, error, key)
    except BaseException:
        db.close()
        raise
    return db


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    version = db.execute("PRAGMA user_version").fetchone()[0]
    owner = db.execute("PRAGMA application_id").fetchone()[0]
    if version > len(MIGRATIONS) or (version and owner != APPLICATION_ID):
        raise StoreForeign(f"{path}: of a newer version or another program; move it away")
    until = time.monotonic() + WAIT_SECONDS
    while db.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except operational_errors():  # SQLite does not wait here for others
            if time.monotonic() > until:
                raise
            time.sleep(0.005)
    db.execute("PRAGMA synchronous = FULL")  # it is on the disk before the store counts it as done
    db.execute("PRAGMA secure_delete = ON")
    db.execute("PRAGMA user_version").fetchone()  # from now on its locks keep the file in place
    if version < len(MIGRATIONS):
        with _transaction(db):
            migrate(db, MIGRATIONS, APPLICATION_ID)


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    with committed(db):
        yield


def _about(db: sqlite3.Connection, name: str) -> Any:
    row = db.execute("SELECT value FROM about WHERE name = ?", (name,)).fetchone()
    return row[0] if row else None


def _put(db: sqlite3.Connection, fact: Row) -> None:
    content, at = fact.payload, int(fact.payload["at"])
    user = content.get("user")
    shape = _shape(
        db,
        (
            content["release"],
            content.get("segment", ""),
            content["source"],
            orjson.dumps(content.get("rules", [])).decode(),
        ),
    )
    person = _hash(content["request"]) if user is None else user_subject(user)
    key = _hash(content["request"], content["item"], user or "")
    clicked = at if fact.kind == CLICK else None
    db.execute(
        "INSERT INTO shown VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
        "shown_at = min(shown_at, excluded.shown_at), "
        "clicked_at = coalesce(min(clicked_at, excluded.clicked_at), clicked_at, "
        "excluded.clicked_at)",
        (
            key,
            fact.sequence,
            shape,
            content["position"],
            person,
            user,
            content["item"],
            at,
            clicked,
        ),
    )


def _shape(db: sqlite3.Connection, names: Sequence[str]) -> int:
    """The number of a combination, which is made if it is new."""
    sought = "SELECT shape FROM shapes WHERE (release, segment, source, rules) = (?, ?, ?, ?)"
    row = db.execute(sought, names).fetchone()
    if row is None:
        if db.execute("SELECT count(*) FROM shapes").fetchone()[0] >= MOST_SHAPES:
            names = (OTHER, OTHER, OTHER, "[]")
        db.execute(
            "INSERT OR IGNORE INTO shapes (release, segment, source, rules) VALUES (?, ?, ?, ?)",
            names,
        )
        row = db.execute(sought, names).fetchone()
    return int(row[0])


def _hash(*parts: str) -> int:
    digest = hashlib.blake2b("\x1f".join(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
