"""Writes rows into the embedded store: upserts prepared tables.

Every function runs inside the caller's transaction and takes tables that `batch.prepared` made.
The connection's table `temp.names` serves to look up many names in one statement.
"""

import sqlite3
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from graph.arrays import I64, Flags
from graph.ids import as_word
from graph.model import EVENT_TAG_CATEGORY, NO_TIME, owners_of, tag_key

NAMES = "CREATE TEMP TABLE names (place INTEGER PRIMARY KEY, name TEXT)"
"""A connection must run this before the first call."""

UPSERT_EVENT = """
    INSERT INTO events (user, item, kind, tag, at, event_id, value, seq, load)
    VALUES (?, ?, ?, {tag}, ?, {event_id}, {value}, ?, {load})
    ON CONFLICT (user, item, kind, tag, at, event_id)
        DO UPDATE SET value = excluded.value, seq = excluded.seq, load = {changed}
        WHERE value IS NOT excluded.value
"""
SAME_EVENT_ID = """
    ON CONFLICT (event_id) WHERE event_id <> ''
        DO UPDATE SET user = excluded.user, item = excluded.item, kind = excluded.kind,
            tag = excluded.tag, at = excluded.at, value = excluded.value, seq = excluded.seq,
            load = {changed}
"""


def changed_by(load: int, column: str = "load") -> str:
    """SQL: what a fact's load becomes when `load` gives the fact another value.

    The number has a minus if the fact came from another load before, or from none.
    """
    return f"CASE WHEN abs({column}) = {load} THEN {column} ELSE {-load} END"


def _keys(db: sqlite3.Connection, table: str, names: list[str], load: int = 0) -> I64:
    """(n,) the key of each name in a table of names; new names are added as made by `load`."""
    db.execute("DELETE FROM temp.names")
    db.executemany("INSERT INTO temp.names VALUES (?, ?)", enumerate(names))
    known = f"SELECT t.key FROM temp.names n LEFT JOIN {table} t ON t.name = n.name ORDER BY place"
    keys = [key for (key,) in db.execute(known)]
    if None in keys:
        by = ("", "") if table not in ("users", "items") else (", load", f", {load}")
        db.execute(
            f"INSERT INTO {table} (name{by[0]}) SELECT name{by[1]} FROM temp.names WHERE true "
            "ON CONFLICT DO NOTHING"
        )
        keys = [key for (key,) in db.execute(known)]
    return np.array(keys, np.int64)


def _column_keys(db: sqlite3.Connection, table: str, column: Any, load: int = 0) -> I64:
    """The key of each entry of a dictionary-encoded column, 0 where it is null."""
    array = _joined(column)
    keys = np.append(_keys(db, table, array.dictionary.to_pylist(), load), 0)
    return keys[array.indices.fill_null(-1).to_numpy()]


def _tag_keys(db: sqlite3.Connection, categories: Any, tags: Any) -> I64:
    category, tag = _joined(categories), _joined(tags)
    category_names, tag_names = category.dictionary.to_pylist(), tag.dictionary.to_pylist()
    pairs = category.indices.to_numpy().astype(np.int64) * len(tag_names) + tag.indices.to_numpy()
    distinct, places = np.unique(pairs, return_inverse=True)
    names = [
        tag_key(category_names[pair // len(tag_names)], tag_names[pair % len(tag_names)])
        for pair in distinct.tolist()
    ]
    return _keys(db, "tags", names)[places]


def _event_tag_keys(db: sqlite3.Connection, tags: Any) -> I64:
    tag = _joined(tags)
    names = [tag_key(EVENT_TAG_CATEGORY, name) for name in tag.dictionary.to_pylist()]
    return np.append(_keys(db, "tags", names), 0)[tag.indices.fill_null(-1).to_numpy()]


def write_users(db: sqlite3.Connection, table: pa.Table, load: int) -> None:
    keys = _column_keys(db, "users", table["id"], load).tolist()
    rows = zip(table["consent"].to_pylist(), table["attributes"].to_pylist(), keys, strict=True)
    db.executemany(
        "UPDATE users SET described = CASE WHEN ?2 IS NOT NULL AND ?2 IS NOT attributes "
        f"THEN {_last_describer(load, 'attributes')} ELSE described END, "
        "consent = CASE ?1 WHEN 1 THEN 2 WHEN 0 THEN 0 ELSE consent END, "
        "attributes = ifnull(?2, attributes) WHERE key = ?3",
        (row for row in rows if row[:2] != (None, None)),
    )


CLEAR = {  # part of `graph.model.PARTS` -> the statement that takes it from one item or user
    "title": "UPDATE items SET title = NULL WHERE key = ?",
    "created_at": "UPDATE items SET created_at = NULL WHERE key = ?",
    "attributes": "UPDATE items SET attributes = NULL WHERE key = ?",
    "tags": "DELETE FROM item_tags WHERE item = ?",
    "domains": "DELETE FROM item_domains WHERE item = ?",
    "relations": "DELETE FROM item_relations WHERE source = ?",
    "user_attributes": "UPDATE users SET attributes = NULL WHERE key = ?",
    "user_relations": "DELETE FROM user_relations WHERE source = ?",
}


def clear_parts(db: sqlite3.Connection, parts: dict[str, list[str]], load: int) -> None:
    """Take parts (part -> ids) away from items and users; unknown ones are created."""
    for part, names in parts.items():
        keys = _keys(db, owners_of(part), names, load).tolist()
        db.executemany(CLEAR[part], [(key,) for key in keys])


def write_items(db: sqlite3.Connection, table: pa.Table, load: int) -> None:
    keys = _column_keys(db, "items", table["id"], load).tolist()
    columns = [table[name].to_pylist() for name in ("title", "created_at", "hidden", "attributes")]
    rows = zip(*columns, keys, strict=True)
    db.executemany(
        "UPDATE items SET described = CASE WHEN (?1 IS NOT NULL AND ?1 IS NOT title) "
        "OR (?2 IS NOT NULL AND ?2 IS NOT created_at) "
        "OR (?4 IS NOT NULL AND ?4 IS NOT attributes) "
        f"THEN {_last_describer(load, 'title', 'created_at', 'attributes')} ELSE described END, "
        f"hider = CASE WHEN ?3 AND NOT hidden THEN {load} WHEN NOT ?3 THEN 0 ELSE hider END, "
        "title = ifnull(?1, title), created_at = ifnull(?2, created_at), "
        "hidden = ifnull(?3, hidden), attributes = ifnull(?4, attributes) WHERE key = ?5",
        (row for row in rows if row[:4] != (None, None, None, None)),
    )


def _last_describer(load: int, *columns: str) -> str:
    """SQL: what `described` becomes when `load` gives one of these columns a value."""
    empty = " AND ".join(f"{column} IS NULL" for column in columns)
    return f"CASE WHEN {empty} THEN {load} ELSE {changed_by(load, 'described')} END"


def write_item_tags(db: sqlite3.Connection, table: pa.Table, load: int) -> None:
    keys = (
        _column_keys(db, "items", table["item"], load),
        _tag_keys(db, table["category"], table["tag"]),
    )
    _upsert(db, "item_tags", ("item", "tag"), keys, table["weight"], load)


def write_item_domains(db: sqlite3.Connection, table: pa.Table, load: int) -> None:
    keys = (
        _column_keys(db, "items", table["item"], load),
        _column_keys(db, "domains", table["domain"]),
    )
    _upsert(db, "item_domains", ("item", "domain"), keys, table["weight"], load)


def write_relations(
    db: sqlite3.Connection, name: str, ends: str, table: pa.Table, load: int
) -> None:
    keys = (
        _column_keys(db, ends, table["source"], load),
        _column_keys(db, ends, table["target"], load),
        _column_keys(db, "kinds", table["kind"]),
    )
    _upsert(db, name, ("source", "target", "kind"), keys, table["weight"], load)


def _upsert(
    db: sqlite3.Connection,
    name: str,
    key_names: tuple[str, ...],
    keys: tuple[I64, ...],
    weights: Any,
    load: int,
) -> None:
    order = np.lexsort(keys[::-1])  # stable: of two rows with the same key the later one stays last
    columns = [column[order].tolist() for column in keys]
    marks = ", ".join("?" * (len(keys) + 1))
    db.executemany(
        f"INSERT INTO {name} ({', '.join(key_names)}, weight, load) VALUES ({marks}, {load}) "
        f"ON CONFLICT ({', '.join(key_names)}) DO UPDATE SET weight = excluded.weight, "
        f"load = {changed_by(load)} "
        "WHERE weight <> excluded.weight",
        zip(*columns, weights.to_numpy()[order].tolist(), strict=True),
    )


def write_events(db: sqlite3.Connection, table: pa.Table, load: int) -> None:
    keys = (
        _column_keys(db, "users", table["user"], load),
        _column_keys(db, "items", table["item"], load),
        _column_keys(db, "kinds", table["kind"]),
        _event_tag_keys(db, table["tag"]),
        _joined(table["at"].fill_null(NO_TIME)).to_numpy(),
    )
    order = np.lexsort(keys[::-1])  # stable; successive rows are near each other in the tree
    has_ids = table["event_id"].null_count < len(table)
    if has_ids:
        order = order[_last_of_each_id(table["event_id"])[order]]
    (watermark,) = db.execute("SELECT watermark FROM counter").fetchone()
    users, items, kinds, tags, times = (column[order].tolist() for column in keys)
    # Columns that no row has are constants of the statement: binding them would cost a third more.
    literals = {"tag": "0", "event_id": "''", "value": "NULL"}
    literals |= {"load": str(load), "changed": changed_by(load)}
    bound = [users, items, kinds]
    if keys[3].any():
        literals["tag"] = "?"
        bound.append(tags)
    bound.append(times)
    if has_ids:
        literals["event_id"] = "?"
        bound.append(pc.take(table["event_id"].fill_null(""), order).to_pylist())
    if table["value"].null_count < len(table):
        literals["value"] = "?"
        bound.append(pc.take(table["value"], order).to_pylist())
    bound.append((order + (watermark + 1)).tolist())
    statement = (UPSERT_EVENT + (SAME_EVENT_ID if has_ids else "")).format(**literals)
    before = db.total_changes
    db.executemany(statement, zip(*bound, strict=True))
    if db.total_changes > before:
        db.execute("UPDATE counter SET watermark = watermark + ?", (len(table),))


def drop_events(db: sqlite3.Connection, kind: str, before: int) -> int:
    """Remove the events of a kind that have a time before this one; how many."""
    kinds = db.execute("SELECT key, name FROM kinds").fetchall()
    gone = 0
    for key in [key for key, name in kinds if as_word(name) == as_word(kind)]:
        old, chosen = "kind = ? AND at < ? AND at <> ?", (key, before, NO_TIME)
        tags = db.execute(f"SELECT DISTINCT tag FROM events WHERE tag <> 0 AND {old}", chosen)
        tagged = [tag for (tag,) in tags]
        gone += db.execute(f"DELETE FROM events WHERE {old}", chosen).rowcount
        if tagged:
            forget_tags(db, tagged)
    return gone


def forget_tags(db: sqlite3.Connection, keys: list[int]) -> None:
    """Remove the names of those of these tags that no event and no item has any more."""
    db.execute("DELETE FROM temp.names")
    db.executemany("INSERT INTO temp.names (place) VALUES (?)", [(key,) for key in keys])
    db.execute(
        "DELETE FROM tags WHERE key IN (SELECT place FROM temp.names) "
        "AND key NOT IN (SELECT tag FROM events) AND key NOT IN (SELECT tag FROM item_tags)"
    )


def _last_of_each_id(event_ids: Any) -> Flags:
    """True for rows to keep: those without an id, and the last row of each id."""
    codes = _joined(event_ids.dictionary_encode()).indices.fill_null(-1).to_numpy()
    _, from_the_end = np.unique(codes[::-1], return_index=True)
    keep = codes == -1
    keep[len(codes) - 1 - from_the_end] = True
    return keep


def _joined(column: Any) -> Any:
    """A column as one array."""
    if not isinstance(column, pa.ChunkedArray):
        return column
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
