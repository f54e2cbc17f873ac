"""The graph in one SQLite file: no server, several processes, every write a transaction.

Names are interned to integer keys, and an event's key is the table itself (WITHOUT ROWID), so a
million events are one sorted tree of integers. 0 stands for "no tag", '' for "no event id" and
`NO_TIME` for "no time", because NULLs would let duplicates through a UNIQUE.
"""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from graph.batch import nfc, prepared
from graph.errors import InputError, StoreAway, StoreError, StoreForeign
from graph.model import EVENT_TAG_CATEGORY, NO_TIME, SCHEMAS, Batch, tag_key, tag_parts

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
]
"""What takes a file from version n to n + 1; append, never change."""

UPSERT_EVENT = """
    INSERT INTO events (user, item, kind, tag, at, event_id, value, seq)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (user, item, kind, tag, at, event_id)
        DO UPDATE SET value = excluded.value, seq = excluded.seq
        WHERE value IS NOT excluded.value
    ON CONFLICT (event_id) WHERE event_id <> ''
        DO UPDATE SET user = excluded.user, item = excluded.item, kind = excluded.kind,
            tag = excluded.tag, at = excluded.at, value = excluded.value, seq = excluded.seq
"""

Keys = npt.NDArray[np.int64]


class EmbeddedStore:
    """A `GraphStore` in the SQLite file at `path`, made when it is not there.

    Threads of one process take turns. Processes read beside each other and beside one writer.
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

    def apply(self, batch: Batch, *, name: str | None = None, replace: bool = False) -> bool:
        """See `GraphStore.apply`."""
        tables = prepared(batch)
        with self._transaction("IMMEDIATE") as db:
            if name is not None:
                if db.execute("SELECT 1 FROM applied WHERE name = ?", (name,)).fetchone():
                    return False
                db.execute("INSERT INTO applied VALUES (?)", (name,))
            if "users" in tables:
                _write_users(db, tables["users"])
            if "items" in tables:
                _write_items(db, tables["items"], replace)
            if "item_tags" in tables:
                _write_item_tags(db, tables["item_tags"])
            if "item_domains" in tables:
                _write_item_domains(db, tables["item_domains"])
            if "events" in tables:
                _write_events(db, tables["events"])
            for relations, ends in (("item_relations", "items"), ("user_relations", "users")):
                if relations in tables:
                    _write_relations(db, relations, ends, tables[relations])
        return True

    def read(self, table: str, *, until: int | None = None) -> pa.Table:
        """See `GraphStore.read`; id and name columns are dictionary-encoded."""
        if table not in SCHEMAS:
            raise InputError(f"{table}: no such table; there are {', '.join(SCHEMAS)}")
        with self._transaction("DEFERRED") as db:
            if table == "events":
                return _read_events(db, until)
            if table in ("users", "items"):
                return _read_nodes(db, table)
            return _read_links(db, table)

    def user_events(self, user: str) -> pa.Table:
        """See `GraphStore.user_events`."""
        rows = self._rows(
            "SELECT u.name, i.name, k.name, e.value, t.name, nullif(e.at, ?), "
            "nullif(e.event_id, '') FROM users u JOIN events e ON e.user = u.key "
            "JOIN items i ON i.key = e.item JOIN kinds k ON k.key = e.kind "
            "LEFT JOIN tags t ON t.key = e.tag WHERE u.name = ?",
            (NO_TIME, nfc(user)),
        )
        columns = list(zip(*rows, strict=True)) if rows else [()] * len(SCHEMAS["events"])
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
        """See `GraphStore.erase_user`; what was on the disk is overwritten too."""
        with self._turn:
            self._open().execute("PRAGMA secure_delete = ON")
            with self._transaction("IMMEDIATE") as db:
                found = db.execute("SELECT key FROM users WHERE name = ?", (nfc(user),)).fetchone()
                if not found:
                    return 0
                gone = db.execute("DELETE FROM events WHERE user = ?", found).rowcount
                db.execute("DELETE FROM user_relations WHERE ? IN (source, target)", found)
                db.execute("DELETE FROM users WHERE key = ?", found)
            self._rows("PRAGMA wal_checkpoint(TRUNCATE)")
        return gone

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
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:  # a full disk has rolled back already
                    db.execute("ROLLBACK")
                raise

    @contextmanager
    def _answers(self) -> Iterator[None]:
        """Say in our words what SQLite or the file system refuses."""
        try:
            yield
        except sqlite3.OperationalError as error:
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


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    """Check whose file this is, bring it to our version, set up the connection."""
    owner = db.execute("PRAGMA application_id").fetchone()[0]
    tables = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if owner != APPLICATION_ID and (owner or tables):
        raise StoreForeign(
            f"{path}: an SQLite file of another program; move it away or choose another home"
        )
    _write_ahead(db)
    db.execute("PRAGMA synchronous = FULL")  # one fsync a batch; an applied name is a promise
    db.execute("PRAGMA cache_size = -65536")
    db.execute("PRAGMA temp_store = MEMORY")
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        raise StoreForeign(
            f"{path}: written by a newer version (file version {version}, this program knows "
            f"{len(MIGRATIONS)}); install the newer nichegraph or choose another home"
        )
    if version < len(MIGRATIONS):
        db.execute("BEGIN IMMEDIATE")  # another process may be doing the same: look again inside
        version = db.execute("PRAGMA user_version").fetchone()[0]
        for migration in MIGRATIONS[version:]:
            for statement in filter(str.strip, migration.split(";")):
                db.execute(statement)
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute("COMMIT")
    db.execute("CREATE TEMP TABLE names (place INTEGER PRIMARY KEY, name TEXT)")


def _write_ahead(db: sqlite3.Connection) -> None:
    """Turn on WAL; SQLite does not wait by itself when two processes do so at once."""
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


# Writing


def _keys(db: sqlite3.Connection, table: str, names: list[str]) -> Keys:
    """The key of each name in a table of names, made when it is new: (n,)."""
    db.execute("DELETE FROM temp.names")
    db.executemany("INSERT INTO temp.names VALUES (?, ?)", enumerate(names))
    known = f"SELECT t.key FROM temp.names n LEFT JOIN {table} t ON t.name = n.name ORDER BY place"
    keys = [key for (key,) in db.execute(known)]
    if None in keys:
        db.execute(
            f"INSERT INTO {table} (name) SELECT name FROM temp.names WHERE true "
            "ON CONFLICT DO NOTHING"
        )
        keys = [key for (key,) in db.execute(known)]
    return np.array(keys, np.int64)


def _column_keys(db: sqlite3.Connection, table: str, column: Any) -> Keys:
    """The key of each entry of a dictionary-encoded column, 0 where it is null."""
    array = _one(column)
    keys = np.append(_keys(db, table, array.dictionary.to_pylist()), 0)
    return keys[array.indices.fill_null(-1).to_numpy()]


def _tag_keys(db: sqlite3.Connection, categories: Any, tags: Any) -> Keys:
    category, tag = _one(categories), _one(tags)
    category_names, tag_names = category.dictionary.to_pylist(), tag.dictionary.to_pylist()
    pairs = category.indices.to_numpy().astype(np.int64) * len(tag_names) + tag.indices.to_numpy()
    distinct, places = np.unique(pairs, return_inverse=True)
    names = [
        tag_key(category_names[pair // len(tag_names)], tag_names[pair % len(tag_names)])
        for pair in distinct.tolist()
    ]
    return _keys(db, "tags", names)[places]


def _event_tag_keys(db: sqlite3.Connection, tags: Any) -> Keys:
    tag = _one(tags)
    names = [tag_key(EVENT_TAG_CATEGORY, name) for name in tag.dictionary.to_pylist()]
    return np.append(_keys(db, "tags", names), 0)[tag.indices.fill_null(-1).to_numpy()]


def _write_users(db: sqlite3.Connection, table: pa.Table) -> None:
    keys = _column_keys(db, "users", table["id"]).tolist()
    rows = zip(table["consent"].to_pylist(), table["attributes"].to_pylist(), keys, strict=True)
    db.executemany(
        "UPDATE users SET consent = ifnull(?, consent), attributes = ifnull(?, attributes) "
        "WHERE key = ?",
        (row for row in rows if row[:2] != (None, None)),
    )


def _write_items(db: sqlite3.Connection, table: pa.Table, replace: bool) -> None:
    keys = _column_keys(db, "items", table["id"]).tolist()
    if replace:
        one = [(key,) for key in keys]
        db.executemany("DELETE FROM item_tags WHERE item = ?", one)
        db.executemany("DELETE FROM item_domains WHERE item = ?", one)
        db.executemany(
            "UPDATE items SET title = NULL, created_at = NULL, attributes = NULL WHERE key = ?", one
        )
    columns = [table[name].to_pylist() for name in ("title", "created_at", "hidden", "attributes")]
    rows = zip(*columns, keys, strict=True)
    db.executemany(
        "UPDATE items SET title = ifnull(?, title), created_at = ifnull(?, created_at), "
        "hidden = ifnull(?, hidden), attributes = ifnull(?, attributes) WHERE key = ?",
        (row for row in rows if row[:4] != (None, None, None, None)),
    )


def _write_item_tags(db: sqlite3.Connection, table: pa.Table) -> None:
    keys = (
        _column_keys(db, "items", table["item"]),
        _tag_keys(db, table["category"], table["tag"]),
    )
    _upsert(db, "item_tags", ("item", "tag"), keys, table["weight"])


def _write_item_domains(db: sqlite3.Connection, table: pa.Table) -> None:
    keys = (
        _column_keys(db, "items", table["item"]),
        _column_keys(db, "domains", table["domain"]),
    )
    _upsert(db, "item_domains", ("item", "domain"), keys, table["weight"])


def _write_relations(db: sqlite3.Connection, name: str, ends: str, table: pa.Table) -> None:
    keys = (
        _column_keys(db, ends, table["source"]),
        _column_keys(db, ends, table["target"]),
        _column_keys(db, "kinds", table["kind"]),
    )
    _upsert(db, name, ("source", "target", "kind"), keys, table["weight"])


def _upsert(
    db: sqlite3.Connection,
    name: str,
    key_names: tuple[str, ...],
    keys: tuple[Keys, ...],
    weights: Any,
) -> None:
    order = np.lexsort(keys[::-1])  # stable: of two rows with one key the later one stays last
    columns = [column[order].tolist() for column in keys]
    marks = ", ".join("?" * (len(keys) + 1))
    db.executemany(
        f"INSERT INTO {name} ({', '.join(key_names)}, weight) VALUES ({marks}) "
        f"ON CONFLICT ({', '.join(key_names)}) DO UPDATE SET weight = excluded.weight "
        "WHERE weight <> excluded.weight",
        zip(*columns, weights.to_numpy()[order].tolist(), strict=True),
    )


def _write_events(db: sqlite3.Connection, table: pa.Table) -> None:
    keys = (
        _column_keys(db, "users", table["user"]),
        _column_keys(db, "items", table["item"]),
        _column_keys(db, "kinds", table["kind"]),
        _event_tag_keys(db, table["tag"]),
        _one(table["at"].fill_null(NO_TIME)).to_numpy(),
    )
    order = np.lexsort(keys[::-1])  # stable, and near neighbours in the tree
    if table["event_id"].null_count < len(table):
        order = order[_last_of_each_id(table["event_id"])[order]]
        event_ids = pc.take(table["event_id"].fill_null(""), order).to_pylist()
    else:
        event_ids = [""] * len(order)
    values = pc.take(table["value"], order).to_pylist()
    (watermark,) = db.execute("SELECT watermark FROM counter").fetchone()
    before = db.total_changes
    db.executemany(
        UPSERT_EVENT,
        zip(
            *(column[order].tolist() for column in keys),
            event_ids,
            values,
            (order + (watermark + 1)).tolist(),
            strict=True,
        ),
    )
    if db.total_changes > before:
        db.execute("UPDATE counter SET watermark = watermark + ?", (len(table),))


def _last_of_each_id(event_ids: Any) -> npt.NDArray[np.bool_]:
    """Which rows to keep: those without an id, and the last of those with the same one."""
    codes = _one(event_ids.dictionary_encode()).indices.fill_null(-1).to_numpy()
    _, from_the_end = np.unique(codes[::-1], return_index=True)
    keep = codes == -1
    keep[len(codes) - 1 - from_the_end] = True
    return keep


# Reading


def _names(db: sqlite3.Connection, table: str) -> tuple[Any, Keys]:
    """All names of a table (n,), and key -> place in them (largest key + 1,)."""
    rows = db.execute(f"SELECT key, name FROM {table} ORDER BY key").fetchall()
    keys = np.fromiter((key for key, _ in rows), np.int64, len(rows))
    places = np.full(int(keys[-1]) + 1 if len(keys) else 1, -1, np.int64)
    places[keys] = np.arange(len(keys))
    return pa.array([name for _, name in rows], pa.string()), places


def _named(db: sqlite3.Connection, table: str, keys: Keys) -> Any:
    """Keys as a dictionary-encoded column of names."""
    names, places = _names(db, table)
    return pa.DictionaryArray.from_arrays(pa.array(places[keys].astype(np.int32)), names)


def _named_tags(db: sqlite3.Connection, keys: Keys) -> tuple[Any, Any]:
    """Keys of tags as dictionary-encoded columns of categories and names, null where 0."""
    whole, places = _names(db, "tags")
    parts = [tag_parts(key) for key in whole.to_pylist()]
    categories = pa.array([category for category, _ in parts], pa.string()).dictionary_encode()
    indices = pa.array(places[keys].astype(np.int32), mask=keys == 0)
    return (
        pa.DictionaryArray.from_arrays(categories.indices.take(indices), categories.dictionary),
        pa.DictionaryArray.from_arrays(indices, pa.array([name for _, name in parts], pa.string())),
    )


def _read_events(db: sqlite3.Connection, until: int | None) -> pa.Table:
    limit = np.iinfo(np.int64).max if until is None else until
    kind = np.dtype([(name, "i8") for name in ("user", "item", "kind", "tag", "at", "seq")])
    kind = np.dtype([*((name, kind[name]) for name in kind.names or ()), ("value", "f8")])
    rows = np.fromiter(  # 9e999 is infinity: no stored value is, so it can stand for none
        db.execute(
            "SELECT user, item, kind, tag, at, seq, ifnull(value, 9e999) FROM events "
            "WHERE seq <= ?",
            (limit,),
        ),
        kind,
    )
    value = rows["value"]
    at = rows["at"]
    return pa.table(
        {
            "user": _named(db, "users", rows["user"]),
            "item": _named(db, "items", rows["item"]),
            "kind": _named(db, "kinds", rows["kind"]),
            "value": pa.array(value, mask=np.isinf(value)),
            "tag": _named_tags(db, rows["tag"])[1],
            "at": pa.array(at, mask=at == NO_TIME),
            "event_id": _read_event_ids(db, rows["seq"]),
        }
    )


def _read_event_ids(db: sqlite3.Connection, seqs: Keys) -> Any:
    """The ids of the events with these sequence numbers, null where none."""
    given = db.execute("SELECT seq, event_id FROM events WHERE event_id <> ''").fetchall()
    if not given or not len(seqs):
        return pa.nulls(len(seqs), pa.string())
    known = pa.array([seq for seq, _ in given], pa.int64())
    return pa.array([name for _, name in given], pa.string()).take(
        pc.index_in(pa.array(seqs), value_set=known)
    )


def _read_nodes(db: sqlite3.Connection, table: str) -> pa.Table:
    schema = SCHEMAS[table]
    rows = db.execute(f"SELECT name, {', '.join(schema.names[1:])} FROM {table}").fetchall()
    columns = zip(*rows, strict=True) if rows else iter([()] * len(schema))
    arrays = []
    for field, column in zip(schema, columns, strict=True):
        if field.type == pa.bool_():
            arrays.append(pa.array(column, pa.int8()).cast(pa.bool_()))
        else:
            arrays.append(pa.array(column, field.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def _read_links(db: sqlite3.Connection, table: str) -> pa.Table:
    names = {
        "item_tags": ("item", "tag"),
        "item_domains": ("item", "domain"),
        "item_relations": ("source", "target", "kind"),
        "user_relations": ("source", "target", "kind"),
    }[table]
    kind = np.dtype([*((name, "i8") for name in names), ("weight", "f8")])
    rows = np.fromiter(db.execute(f"SELECT {', '.join(names)}, weight FROM {table}"), kind)
    ends = "users" if table == "user_relations" else "items"
    columns: dict[str, Any] = {}
    for name in names:
        if name == "tag":
            columns["category"], columns["tag"] = _named_tags(db, rows["tag"])
        else:
            known = {"domain": "domains", "kind": "kinds"}.get(name, ends)
            columns[name] = _named(db, known, rows[name])
    return pa.table(columns | {"weight": rows["weight"]})


def _one(column: Any) -> Any:
    """A column as one array."""
    if not isinstance(column, pa.ChunkedArray):
        return column
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
