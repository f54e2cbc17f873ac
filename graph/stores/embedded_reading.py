"""Reads rows of the embedded store as columns of `graph.model.SCHEMAS`, names as dictionaries."""

import sqlite3
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from graph.arrays import I64
from graph.model import NO_TIME, SCHEMAS, tag_parts


def _names(db: sqlite3.Connection, table: str) -> tuple[Any, I64]:
    """All names of a table (n,), and for each key the place of its name (largest key + 1,)."""
    rows = db.execute(f"SELECT key, name FROM {table} ORDER BY key").fetchall()
    keys = np.fromiter((key for key, _ in rows), np.int64, len(rows))
    places = np.full(int(keys[-1]) + 1 if len(keys) else 1, -1, np.int64)
    places[keys] = np.arange(len(keys))
    return pa.array([name for _, name in rows], pa.string()), places


def _named(db: sqlite3.Connection, table: str, keys: I64) -> Any:
    """Keys as a dictionary-encoded column of names."""
    names, places = _names(db, table)
    return pa.DictionaryArray.from_arrays(pa.array(places[keys].astype(np.int32)), names)


def _named_tags(db: sqlite3.Connection, keys: I64) -> tuple[Any, Any]:
    """Keys of tags as dictionary-encoded columns of categories and names, null where 0."""
    named, places = _names(db, "tags")
    parts = [tag_parts(key) for key in named.to_pylist()]
    categories = pa.array([category for category, _ in parts], pa.string()).dictionary_encode()
    indices = pa.array(places[keys].astype(np.int32), mask=keys == 0)
    return (
        pa.DictionaryArray.from_arrays(categories.indices.take(indices), categories.dictionary),
        pa.DictionaryArray.from_arrays(indices, pa.array([name for _, name in parts], pa.string())),
    )


def read_events(db: sqlite3.Connection, until: int | None) -> pa.Table:
    limit = np.iinfo(np.int64).max if until is None else until

    def column(names: str, kind: type) -> npt.NDArray[Any]:
        # Flat numbers are read several times faster than rows. The order is that of the key, so
        # that columns read one after the other match.
        rows = db.execute(
            f"SELECT {names} FROM events WHERE seq <= ? ORDER BY user, item, kind, tag, at, "
            "event_id",
            (limit,),
        )
        return np.fromiter(chain.from_iterable(rows), kind)

    def any_event(condition: str) -> bool:
        return bool(
            db.execute(f"SELECT EXISTS (SELECT 1 FROM events WHERE {condition})").fetchone()[0]
        )

    user, item, kind, tag, at = column("user, item, kind, tag, at", np.int64).reshape(-1, 5).T
    values, event_ids = pa.nulls(len(user), pa.float64()), pa.nulls(len(user), pa.string())
    if any_event(
        "value IS NOT NULL"
    ):  # 9e999 is infinity, which no stored value is, so it stands for null
        column_of_values = column("ifnull(value, 9e999)", np.float64)
        values = pa.array(column_of_values, mask=np.isinf(column_of_values))
    if any_event("event_id <> ''"):
        event_ids = pa.array(column("nullif(event_id, '')", object), pa.string())
    return pa.table(
        {
            "user": _named(db, "users", user),
            "item": _named(db, "items", item),
            "kind": _named(db, "kinds", kind),
            "value": values,
            "tag": _named_tags(db, tag)[1],
            "at": pa.array(at, mask=at == NO_TIME),
            "event_id": event_ids,
        }
    )


def read_nodes(db: sqlite3.Connection, table: str) -> pa.Table:
    schema = SCHEMAS[table]
    names = ["nullif(consent, 1)" if name == "consent" else name for name in schema.names[1:]]
    rows = db.execute(f"SELECT name, {', '.join(names)} FROM {table}").fetchall()
    columns = zip(*rows, strict=True) if rows else iter([()] * len(schema))
    arrays = []
    for field, column in zip(schema, columns, strict=True):
        if field.type == pa.bool_():
            arrays.append(pa.array(column, pa.int8()).cast(pa.bool_()))
        else:
            arrays.append(pa.array(column, field.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def read_links(db: sqlite3.Connection, table: str) -> pa.Table:
    names = {
        "item_tags": ("item", "tag"),
        "item_domains": ("item", "domain"),
        "item_relations": ("source", "target", "kind"),
        "user_relations": ("source", "target", "kind"),
    }[table]
    links = db.execute(f"SELECT {', '.join(names)}, weight FROM {table}")
    numbers = np.fromiter(chain.from_iterable(links), np.float64).reshape(-1, len(names) + 1)
    rows = dict(zip(names, numbers.T[:-1].astype(np.int64), strict=True))  # keys are below 2^53
    ends = "users" if table == "user_relations" else "items"
    columns: dict[str, Any] = {}
    for name in names:
        if name == "tag":
            columns["category"], columns["tag"] = _named_tags(db, rows["tag"])
        else:
            known = {"domain": "domains", "kind": "kinds"}.get(name, ends)
            columns[name] = _named(db, known, rows[name])
    return pa.table(columns | {"weight": numbers[:, -1].copy()})
