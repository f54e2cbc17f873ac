"""The graph in one SQLite file: no server, several processes, every write a transaction.

Names become integer keys, and the table of events is sorted by its own key (WITHOUT ROWID), so a
million events are one sorted tree of integers. 0 stands for "no tag", '' for "no event id" and
`NO_TIME` for "no time", because NULLs would let duplicates through a UNIQUE.
"""

import errno
import json
import os
import sqlite3
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from graph.errors import InputError, NotFound, StoreAway, StoreError, StoreForeign
from graph.ids import as_id
from graph.model import NO_TIME, SCHEMAS, Batch, tag_parts
from graph.sqlite_file import committed, is_full, migrate
from graph.store import Load
from graph.stores.batch import cleared, no_such_load, prepared
from graph.stores.embedded_reading import read_events, read_links, read_nodes
from graph.stores.embedded_undo import take_back
from graph.stores.embedded_writing import (
    NAMES,
    clear_parts,
    drop_events,
    forget_tags,
    write_events,
    write_item_domains,
    write_item_tags,
    write_items,
    write_relations,
    write_users,
)

APPLICATION_ID = 0x4E474850  # "NGHP" in the file's header
LOCK_SECONDS = 60.0  # how long a write waits for the writer before it

MIGRATIONS = [
    """
    CREATE TABLE users (key INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,
        consent INTEGER NOT NULL DEFAULT 1, attributes TEXT);
    CREATE TABLE items (key INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,
        title TEXT, created_at INTEGER, hidden INTEGER NOT NULL DEFAULT 0, attributes TEXT);
    CREATE TABLE tags (key INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
    CREATE TABLE domains (key INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
    CREATE TABLE kinds (key INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
    CREATE TABLE events (user INTEGER NOT NULL, item INTEGER NOT NULL, kind INTEGER NOT NULL,
        tag INTEGER NOT NULL, at INTEGER NOT NULL, event_id TEXT NOT NULL,
        value REAL, seq INTEGER NOT NULL,
        PRIMARY KEY (user, item, kind, tag, at, event_id)) WITHOUT ROWID;
    CREATE UNIQUE INDEX events_by_id ON events (event_id) WHERE event_id <> '';
    CREATE TABLE item_tags (item INTEGER NOT NULL, tag INTEGER NOT NULL, weight REAL NOT NULL,
        PRIMARY KEY (item, tag)) WITHOUT ROWID;
    CREATE TABLE item_domains (item INTEGER NOT NULL, domain INTEGER NOT NULL,
        weight REAL NOT NULL, PRIMARY KEY (item, domain)) WITHOUT ROWID;
    CREATE TABLE item_relations (source INTEGER NOT NULL, target INTEGER NOT NULL,
        kind INTEGER NOT NULL, weight REAL NOT NULL,
        PRIMARY KEY (source, target, kind)) WITHOUT ROWID;
    CREATE TABLE user_relations (source INTEGER NOT NULL, target INTEGER NOT NULL,
        kind INTEGER NOT NULL, weight REAL NOT NULL,
        PRIMARY KEY (source, target, kind)) WITHOUT ROWID;
    CREATE INDEX user_relations_by_target ON user_relations (target);
    CREATE TABLE applied (name TEXT PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE counter (watermark INTEGER NOT NULL);
    INSERT INTO counter VALUES (0);
    """,
    "ALTER TABLE applied ADD COLUMN position INTEGER",
    """
    CREATE TABLE loads (key INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL,
        about TEXT NOT NULL, undone INTEGER NOT NULL DEFAULT 0);
    ALTER TABLE users ADD COLUMN load INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE users ADD COLUMN told INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE items ADD COLUMN load INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE items ADD COLUMN told INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE items ADD COLUMN hider INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE events ADD COLUMN load INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE item_tags ADD COLUMN load INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE item_domains ADD COLUMN load INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE item_relations ADD COLUMN load INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE user_relations ADD COLUMN load INTEGER NOT NULL DEFAULT 0;
    """,
    """
    ALTER TABLE users RENAME COLUMN told TO described;
    ALTER TABLE items RENAME COLUMN told TO described;
    """,
]
"""Statement n takes a file from version n to n + 1; append to them, never change them.

`consent` of a user is 0 (no), 2 (yes) or 1: the user has not said."""


class EmbeddedStore:
    """A `GraphStore` in the SQLite file at `path`, which is made when it is missing.

    Threads of one process take turns. Several processes may read while one of them writes.
    """

    def __init__(self, path: Path | str) -> None:
        """Open or make the file.

        Raises:
            StoreForeign: the file is something else, or was written by a newer version.
            StoreAway: it cannot be opened, or stays locked.
        """
        self.path = Path(path)
        self.uri = f"embedded:{self.path}"
        self._turn = threading.RLock()
        self._db: sqlite3.Connection | None = None
        with self._answers():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(
                self.path, timeout=LOCK_SECONDS, isolation_level=None, check_same_thread=False
            )
            try:
                _prepare(self._db, self.path)
            except BaseException:
                self.close()
                raise

    @property
    def resting(self) -> bool:
        """Always false: a file is asked each time."""
        return False

    def apply(
        self,
        batch: Batch,
        *,
        name: str | None = None,
        span: tuple[int, int] | None = None,
        replace: bool = False,
        clear: Mapping[str, Collection[str]] | None = None,
        load: int = 0,
    ) -> bool:
        """See `GraphStore.apply`."""
        tables = prepared(batch)
        parts = cleared(tables, clear, replace=replace)
        with self._transaction("IMMEDIATE") as db:
            if name is not None and not _is_next(db, name, span):
                return False
            clear_parts(db, parts, load)
            if "users" in tables:
                write_users(db, tables["users"], load)
            if "items" in tables:
                write_items(db, tables["items"], load)
            if "item_tags" in tables:
                write_item_tags(db, tables["item_tags"], load)
            if "item_domains" in tables:
                write_item_domains(db, tables["item_domains"], load)
            if "events" in tables:
                write_events(db, tables["events"], load)
            for relations, ends in (("item_relations", "items"), ("user_relations", "users")):
                if relations in tables:
                    write_relations(db, relations, ends, tables[relations], load)
        return True

    def position(self, name: str) -> int:
        """See `GraphStore.position`."""
        rows = self._rows("SELECT position FROM applied WHERE name = ?", (name,))
        return int(rows[0][0] or 0) if rows else 0

    def read(self, table: str, *, until: int | None = None) -> pa.Table:
        """See `GraphStore.read`; id and name columns are dictionary-encoded."""
        if table not in SCHEMAS:
            raise InputError(f"{table}: no such table; there are {', '.join(SCHEMAS)}")
        with self._transaction("DEFERRED") as db:
            if table == "events":
                return read_events(db, until)
            if table in ("users", "items"):
                return read_nodes(db, table)
            return read_links(db, table)

    def user_events(self, user: str) -> pa.Table:
        """See `GraphStore.user_events`."""
        rows = self._rows(
            "SELECT u.name, i.name, k.name, e.value, t.name, nullif(e.at, ?), "
            "nullif(e.event_id, '') FROM users u JOIN events e ON e.user = u.key "
            "JOIN items i ON i.key = e.item JOIN kinds k ON k.key = e.kind "
            "LEFT JOIN tags t ON t.key = e.tag WHERE u.name = ?",
            (NO_TIME, as_id(user)),
        )
        columns: list[tuple[Any, ...]] = list(zip(*rows, strict=True)) or [()] * 7
        columns[4] = tuple(tag and tag_parts(tag)[1] for tag in columns[4])
        return pa.Table.from_pydict(
            dict(zip(SCHEMAS["events"].names, columns, strict=True)), schema=SCHEMAS["events"]
        )

    def counts(self) -> dict[str, int]:
        """See `GraphStore.counts`; a tag counts while an item or an event has it."""
        with self._transaction("DEFERRED") as db:
            counts = {
                name: int(db.execute(f"SELECT count(*) FROM {name}").fetchone()[0])
                for name in SCHEMAS
            }
            used = "SELECT tag FROM item_tags UNION SELECT tag FROM events WHERE tag <> 0"
            counts["tags"] = int(db.execute(f"SELECT count(*) FROM ({used})").fetchone()[0])
        return counts

    def watermark(self) -> int:
        """See `GraphStore.watermark`."""
        return int(self._rows("SELECT watermark FROM counter")[0][0])

    def erase_user(self, user: str) -> int:
        """See `GraphStore.erase_user`; the erased bytes on the disk are overwritten too."""
        with self._turn:
            self._open().execute("PRAGMA secure_delete = ON")
            with self._transaction("IMMEDIATE") as db:
                person = db.execute(
                    "SELECT key FROM users WHERE name = ?", (as_id(user),)
                ).fetchone()
                if not person:
                    return 0
                tags_of_user = "SELECT DISTINCT tag FROM events WHERE tag <> 0 AND user = ?"
                tags = db.execute(tags_of_user, person).fetchall()
                gone = db.execute("DELETE FROM events WHERE user = ?", person).rowcount
                db.execute("DELETE FROM user_relations WHERE ? IN (source, target)", person)
                db.execute("DELETE FROM users WHERE key = ?", person)
                if tags:  # tags that nobody else used may say who this was
                    forget_tags(db, [tag for (tag,) in tags])
            self._rows("PRAGMA wal_checkpoint(TRUNCATE)")
        return gone

    def drop_events(self, kind: str, before: int) -> int:
        """See `GraphStore.drop_events`; the removed bytes on the disk are overwritten too."""
        with self._turn:
            self._open().execute("PRAGMA secure_delete = ON")
            with self._transaction("IMMEDIATE") as db:
                gone = drop_events(db, kind, before)
            self._rows("PRAGMA wal_checkpoint(TRUNCATE)")
        return gone

    def begin_load(self, at: int, about: Mapping[str, Any]) -> int:
        """See `GraphStore.begin_load`."""
        with self._transaction("IMMEDIATE") as db:
            new_load = "INSERT INTO loads (at, about) VALUES (?, ?) RETURNING key"
            return int(db.execute(new_load, (at, json.dumps(about))).fetchone()[0])

    def note_load(self, load: int, about: Mapping[str, Any]) -> None:
        """See `GraphStore.note_load`."""
        self._rows("UPDATE loads SET about = ? WHERE key = ?", (json.dumps(about), load))

    def loads(self) -> list[Load]:
        """See `GraphStore.loads`."""
        rows = self._rows("SELECT key, at, about, undone FROM loads ORDER BY key")
        return [Load(key, at, json.loads(about), bool(gone)) for key, at, about, gone in rows]

    def undo_load(self, load: int) -> dict[str, int]:
        """See `GraphStore.undo_load`."""
        with self._transaction("IMMEDIATE") as db:
            row = db.execute("SELECT undone FROM loads WHERE key = ?", (load,)).fetchone()
            if row is None or row[0]:
                raise NotFound(no_such_load(load, undone=row is not None))
            return take_back(db, load)

    def ping(self) -> None:
        """See `GraphStore.ping`."""
        self._rows("SELECT watermark FROM counter")

    def close(self) -> None:
        """See `GraphStore.close`."""
        with self._turn:
            if self._db is not None:
                self._db.close()
                self._db = None

    def _open(self) -> sqlite3.Connection:
        if self._db is None:
            raise StoreError(f"{self.uri}: closed")
        return self._db

    def _rows(self, statement: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        with self._turn, self._answers():
            return self._open().execute(statement, values).fetchall()

    @contextmanager
    def _transaction(self, mode: str) -> Iterator[sqlite3.Connection]:
        with self._turn, self._answers():
            db = self._open()
            db.execute(f"BEGIN {mode}")
            with committed(db):
                yield db

    @contextmanager
    def _answers(self) -> Iterator[None]:
        """Turn errors of SQLite and of the file system into ours."""
        try:
            yield
        except sqlite3.OperationalError as error:
            if is_full(error, self.path):
                full = os.strerror(errno.ENOSPC)
                raise StoreAway(f"{self.uri}: {full}; make room and try again") from error
            raise StoreAway(
                f"{self.uri}: {error}; check the disk, the folder's permissions, and whether "
                "another process keeps the file locked"
            ) from error
        except sqlite3.DatabaseError as error:
            raise StoreForeign(
                f"{self.uri}: {error}; move this file away or choose another home"
            ) from error
        except OSError as error:
            raise StoreAway(f"{self.uri}: {error}") from error


def _is_next(db: sqlite3.Connection, name: str, span: tuple[int, int] | None) -> bool:
    """Record a named batch, unless it is written already or its turn has not come (then False)."""
    known = db.execute("SELECT position FROM applied WHERE name = ?", (name,)).fetchone()
    if span is None:
        if known is None:
            db.execute("INSERT INTO applied (name) VALUES (?)", (name,))
        return known is None
    if (known[0] or 0 if known else 0) != span[0]:
        return False
    db.execute(
        "INSERT INTO applied (name, position) VALUES (?, ?) "
        "ON CONFLICT (name) DO UPDATE SET position = excluded.position",
        (name, span[1]),
    )
    return True


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    """Check whose file this is, bring it to our version, set up the connection."""
    # Tables are counted first, as another process may just be making the file in one transaction.
    tables = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    owner = db.execute("PRAGMA application_id").fetchone()[0]
    if owner != APPLICATION_ID and (owner or tables):
        raise StoreForeign(
            f"{path}: an SQLite file of another program; move it away or choose another home"
        )
    _write_ahead(db)
    db.execute("PRAGMA synchronous = FULL")  # one fsync a batch: a recorded name is a promise
    db.execute("PRAGMA cache_size = -65536")
    db.execute("PRAGMA temp_store = MEMORY")
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        raise StoreForeign(
            f"{path}: written by a newer version (file version {version}, this program knows "
            f"{len(MIGRATIONS)}); install the newer nichegraph or choose another home"
        )
    if version < len(MIGRATIONS):
        db.execute("BEGIN IMMEDIATE")
        with committed(db):
            migrate(db, MIGRATIONS, APPLICATION_ID)
    db.execute(NAMES)


def _write_ahead(db: sqlite3.Connection) -> None:
    """Turn on WAL, waiting ourselves: SQLite does not when two processes do so at once."""
    for _ in range(int(LOCK_SECONDS * 20)):
        try:
            db.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise
            time.sleep(0.05)
        else:
            return
    raise sqlite3.OperationalError("database is locked")
