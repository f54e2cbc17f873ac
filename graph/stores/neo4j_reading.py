"""Gets tables out of Neo4j, for `Neo4jStore`, inside its reading transactions.

A row is one user (or source) with lists, not one relationship; a record holds many rows; nodes are
numbers, not names. The lists become arrays as they arrive, so that the arrays bound the memory.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from graph.errors import StoreForeign
from graph.model import NO_TIME, SCHEMAS
from graph.stores import cypher
from graph.stores.deadline import Tick
from graph.stores.neo4j_rows import Gathered, NamedNodes, events_table, repeated

Transaction = Any  # neo4j.Transaction
PART = 100  # nodes in one record
TAGS_AT_ONCE = 20_000


def check_schema(counter: dict[str, Any]) -> None:
    if counter["schema"] > cypher.SCHEMA_VERSION:
        raise StoreForeign(
            f"this database was written by a newer version (schema {counter['schema']}, this "
            f"program knows {cypher.SCHEMA_VERSION}); install the newer nichegraph"
        )


def read_counter(tx: Transaction) -> dict[str, Any]:
    counter = tx.run(cypher.READ_COUNTER).single()
    if counter is None:
        return {"watermark": 0, "kinds": [], "columns": [], "schema": cypher.SCHEMA_VERSION}
    check_schema(dict(counter))
    return dict(counter)


def count_tags(tx: Transaction, tick: Tick) -> int:
    """How many tags are in use by an item or an event; asked in parts, so that each ends soon."""
    span = tx.run(cypher.read_span("Tag")).single(strict=True)
    if span["first"] is None:
        return 0
    count = 0
    for first in range(span["first"], span["last"] + 1, TAGS_AT_ONCE):
        last = min(first + TAGS_AT_ONCE - 1, span["last"])
        count += tx.run(cypher.COUNT_TAGS, first=first, last=last).single(strict=True)["n"]
        tick()
    return count


def mentions(session: Any, tick: Tick, holds: Callable[[bytes], object]) -> int:
    """How many nodes and relationships have a label, type, name or value of which `holds` is true.

    It gets all texts of a node or relationship at once, each on a line of its own.
    """
    count = 0
    for statement in (cypher.ALL_NODES, cypher.ALL_RELATIONSHIPS):
        for record in session.run(statement):
            count += bool(holds(b"\n".join(_texts(record.values()))))
            tick()
    return count


def _texts(value: Any) -> Iterator[bytes]:
    """Every text in a value as the driver gives it."""
    if isinstance(value, dict):
        yield from _texts([*value.keys(), *value.values()])
    elif isinstance(value, list):
        for entry in value:
            yield from _texts(entry)
    elif isinstance(value, (bytes, bytearray)):
        yield bytes(value)
    else:
        yield str(value).encode("utf-8", "surrogatepass")


def read_events(tx: Transaction, tick: Tick, until: int | None, half: int) -> pa.Table:
    """The events of one half (0 or 1) of the users up to the watermark `until`, in the columns of
    the schema. Items are numbers of the server, until `name_items` puts in their ids.
    """
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
    rows = _rows(
        tx,
        tick,
        "User",
        cypher.read_events(columns, several, until is not None),
        half,
        until=until,
        kinds=kind_codes,
        no_value=float("nan"),
        no_time=NO_TIME,
    )
    for user, *values in rows:
        users.append(user)
        lengths.append(len(values[0]))
        for column, entries in zip(lists, values, strict=True):
            column.extend(entries)
    read: dict[str, Any] = {name: column.array() for name, column in gathered.items()}
    read["user"] = repeated(users, lengths)
    codes = read.get("kind", np.zeros(len(read["user"]), np.int32))
    read["kind"] = pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(kinds, pa.string()))
    return events_table(read)


def name_items(tx: Transaction, tick: Tick, events: pa.Table) -> pa.Table:
    """The table from `read_events`, with the ids of its items."""
    items = _read_names(tx, tick, "Item")
    named = items.column(items.places(events["item"].to_numpy()))
    return events.set_column(events.schema.names.index("item"), "item", named)


def _rows(
    tx: Transaction,
    tick: Tick,
    label: str,
    statement: str,
    half: int | None = None,
    **parameters: Any,
) -> Iterator[list[Any]]:
    """The rows of a statement of `cypher` that answers in parts: for all nodes, or for one half
    of them.
    """
    span = tx.run(cypher.read_span(label)).single(strict=True)
    if span["first"] is None:
        return
    begins = range(span["first"], span["last"] + 1, PART)
    middle = len(begins) // 2
    if half is not None:
        begins = begins[middle:] if half else begins[:middle]
    if not begins:  # asked for range(5, 4, 100), the server makes [5]
        return
    for record in tx.run(statement, parameters, first=begins[0], last=begins[-1], width=PART):
        tick()
        yield from record[0]


def _read_names(tx: Transaction, tick: Tick, label: str) -> NamedNodes:
    columns: list[list[Any]] = [[], [], []] if label == "Tag" else [[], []]
    for row in _rows(tx, tick, label, cypher.read_names(label)):
        for column, value in zip(columns, row, strict=True):
            column.append(value)
    return NamedNodes(*columns)


def read_nodes(tx: Transaction, tick: Tick, table: str) -> pa.Table:
    schema = SCHEMAS[table]
    label, statement = cypher.READ_NODES[table]
    columns: list[list[Any]] = [[] for _ in schema]
    for row in _rows(tx, tick, label, statement):
        for column, value in zip(columns, row, strict=True):
            column.append(value)
    arrays = [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def read_links(tx: Transaction, tick: Tick, table: str) -> pa.Table:
    """One of the tables of links; nodes are not read where there are no links."""
    if not tx.run(cypher.COUNTS[table]).single(strict=True)["n"]:
        return SCHEMAS[table].empty_table()
    targets, weights, kinds = Gathered(np.int64), Gathered(np.float64), Gathered(str)
    sources: list[str] = []
    lengths: list[int] = []
    label = cypher.LINKS[table][0]
    for source, nodes, link_weights, link_kinds in _rows(tx, tick, label, cypher.read_links(table)):
        sources.append(source)
        lengths.append(len(nodes))
        targets.extend(nodes)
        weights.extend(link_weights)
        kinds.extend(link_kinds)
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
