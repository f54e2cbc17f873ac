"""Gets tables out of Neo4j: what `Neo4jStore` does inside a reading transaction.

One user (or source) a row with lists, not one relationship a row; numbers instead of names; and
the lists become arrays as they come, so that memory is bounded by the arrays.
"""

from typing import Any

import numpy as np
import pyarrow as pa

from graph import cypher
from graph.deadline import Tick
from graph.errors import StoreForeign
from graph.model import NO_TIME, SCHEMAS
from graph.neo4j_rows import Gathered, NamedNodes, events_table, repeated

Transaction = Any  # neo4j.Transaction


def check_schema(counter: dict[str, Any]) -> None:
    if counter["schema"] > cypher.SCHEMA_VERSION:
        raise StoreForeign(
            f"this database was written by a newer version (schema {counter['schema']}, this "
            f"program knows {cypher.SCHEMA_VERSION}); install the newer nichegraph"
        )


def read_counter(tx: Transaction) -> dict[str, Any]:
    found = tx.run(cypher.READ_COUNTER).single()
    if found is None:
        return {"watermark": 0, "kinds": [], "columns": [], "schema": cypher.SCHEMA_VERSION}
    check_schema(dict(found))
    return dict(found)


def read_events(tx: Transaction, tick: Tick, until: int | None) -> pa.Table:
    counter = read_counter(tx)
    kinds, columns = counter["kinds"], counter["columns"]
    several = len(kinds) > 1
    kind_codes = {kind: code for code, kind in enumerate(kinds)}
    gathered = {"item": Gathered(np.int64)}
    if several:
        gathered["kind"] = Gathered(np.int32)
    types: dict[str, Any] = {"value": np.float64, "at": np.int64, "tag": str, "event_id": str}
    gathered |= {column: Gathered(types[column]) for column in columns}
    users: list[str] = []
    lengths: list[int] = []
    lists = list(gathered.values())
    result = tx.run(
        cypher.read_events(columns, several, until is not None),
        until=until,
        kinds=kind_codes,
        no_value=float("nan"),
        no_time=NO_TIME,
    )
    for user, *values in result:
        users.append(user)
        lengths.append(len(values[0]))
        for column, entries in zip(lists, values, strict=True):
            column.extend(entries)
        tick()
    read: dict[str, Any] = {name: column.array() for name, column in gathered.items()}
    items = _read_names(tx, tick, "Item")
    read["user"] = repeated(users, lengths)
    read["item"] = items.column(items.places(read["item"]))
    codes = read.get("kind", np.zeros(len(read["user"]), np.int32))
    read["kind"] = pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(kinds, pa.string()))
    return events_table(read)


def _read_names(tx: Transaction, tick: Tick, label: str) -> NamedNodes:
    columns: list[list[Any]] = [[], [], []] if label == "Tag" else [[], []]
    for record in tx.run(cypher.read_names(label)):
        for column, value in zip(columns, record, strict=True):
            column.append(value)
        tick()
    return NamedNodes(*columns)


def read_nodes(tx: Transaction, tick: Tick, table: str) -> pa.Table:
    schema = SCHEMAS[table]
    columns: list[list[Any]] = [[] for _ in schema]
    for record in tx.run(cypher.READ_USERS if table == "users" else cypher.READ_ITEMS):
        for column, value in zip(columns, record, strict=True):
            column.append(value)
        tick()
    arrays = [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def read_links(tx: Transaction, tick: Tick, table: str) -> pa.Table:
    targets, weights, kinds = Gathered(np.int64), Gathered(np.float64), Gathered(str)
    sources: list[str] = []
    lengths: list[int] = []
    for source, nodes, link_weights, link_kinds in tx.run(cypher.read_links(table)):
        sources.append(source)
        lengths.append(len(nodes))
        targets.extend(nodes)
        weights.extend(link_weights)
        kinds.extend(link_kinds)
        tick()
    named = _read_names(tx, tick, cypher.LINKS[table][2])
    places = named.places(targets.array())
    first, *_, last = SCHEMAS[table].names
    columns: dict[str, Any] = {first: repeated(sources, lengths), last: weights.array()}
    if table == "item_tags":
        columns |= {"category": named.column(places, 0), "tag": named.column(places, 1)}
    else:
        columns[SCHEMAS[table].names[1]] = named.column(places)
    if "kind" in SCHEMAS[table].names:
        columns["kind"] = kinds.array()
    read = pa.table([columns[name] for name in SCHEMAS[table].names], SCHEMAS[table].names)
    return read if (places >= 0).all() else read.filter(pa.array(places >= 0))
