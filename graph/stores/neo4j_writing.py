"""Writes batches and findings of models into Neo4j, for `Neo4jStore`, inside its transactions.

Sessions and transactions of the driver are handed in, as only the store imports the driver.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa

from graph.arrays import I64
from graph.findings import Findings
from graph.model import EVENT_TAG_CATEGORY, NO_TIME, owners_of
from graph.stores import cypher
from graph.stores.deadline import Tick
from graph.stores.neo4j_reading import check_schema
from graph.stores.neo4j_rows import EventGroups, coded, link_rows

STATEMENT_ROWS = 10_000  # entries per statement: a server with a small heap can plan these well
TRANSACTION_EVENTS = 100_000  # each takes about 1.1 kB of the server's heap until the commit

Session = Any  # neo4j.Session
Transaction = Any  # neo4j.Transaction
By = Mapping[str, int | None]
"""The parameters $load and $by, see `cypher`."""
OF_NO_LOAD: By = MappingProxyType({"load": 0, "by": None})


def apply(
    session: Session,
    tick: Tick,
    tables: dict[str, pa.Table],
    events: EventGroups | None,
    *,
    name: str | None,
    span: tuple[int, int] | None,
    parts: dict[str, list[str]],
    load: int,
) -> bool:
    """See `Neo4jStore.apply`; commits its transaction, and tells whether the batch was new."""
    tx = session.begin_transaction()
    try:
        counter = dict(tx.run(cypher.LOCK_COUNTER, schema=cypher.SCHEMA_VERSION).single(True))
        check_schema(counter)
        if name is not None and not _is_next(tx, name, span):
            return False
        tick()
        by = {"load": load, "by": load or None}
        for part, names in parts.items():
            _clear(tx, tick, part, names, by)
        for table, label in (("users", "User"), ("items", "Item")):
            if table in tables:
                _write_described(tx, tick, label, tables[table], by)
        for table in ("item_tags", "item_domains"):
            if table in tables:
                _write_links(tx, tick, table, tables[table], by)
        if events is not None:
            tx = _write_events(session, tx, tick, events, counter, by)
        for table in ("item_relations", "user_relations"):
            if table in tables:
                _write_links(tx, tick, table, tables[table], by)
        if name is not None:
            tx.run(cypher.RECORD_APPLIED, name=name, position=span and span[1]).consume()
        tick()
        tx.commit()
        return True
    finally:
        tx.close()


def _nodes(
    tx: Transaction,
    tick: Tick,
    label: str,
    keys: Sequence[tuple[str, ...]],
    make: bool = True,
    by: By = OF_NO_LOAD,
) -> tuple[I64, set[int]]:
    """The server's number of each key (-1 where unknown), and the numbers made just now."""
    nodes = np.full(len(keys), -1, np.int64)
    for start in range(0, len(keys), STATEMENT_ROWS):
        part = [list(key) for key in keys[start : start + STATEMENT_ROWS]]
        for index, node in tx.run(cypher.find_nodes(label), keys=part).values():
            nodes[start + index] = node
        tick()
    made: set[int] = set()
    unknown = np.flatnonzero(nodes < 0) if make else np.array([], np.int64)
    for start in range(0, len(unknown), STATEMENT_ROWS):
        places = unknown[start : start + STATEMENT_ROWS]
        part = [list(keys[index]) for index in places]
        for index, node in tx.run(cypher.make_nodes(label), keys=part, **by).values():
            nodes[places[index]] = node
            made.add(node)
        tick()
    return nodes, made


def _named_nodes(tx: Transaction, tick: Tick, label: str, column: Any, by: By = OF_NO_LOAD) -> I64:
    """The server's number for each entry of a column of ids."""
    codes, names = coded(column)
    return _nodes(tx, tick, label, [(name,) for name in names], by=by)[0][codes]


def _is_next(tx: Transaction, name: str, span: tuple[int, int] | None) -> bool:
    """Whether it is the turn of a named batch; the counter must be locked."""
    if span is None:
        return not tx.run(cypher.IS_APPLIED, name=name).single(True)["found"]
    return bool(tx.run(cypher.POSITION, name=name).single(True)["position"] == span[0])


def _clear(tx: Transaction, tick: Tick, part: str, names: list[str], by: By) -> None:
    label = "Item" if owners_of(part) == "items" else "User"
    nodes = _nodes(tx, tick, label, [(name,) for name in names], by=by)[0].tolist()
    for start in range(0, len(nodes), STATEMENT_ROWS):
        some = nodes[start : start + STATEMENT_ROWS]
        tx.run(cypher.CLEAR[part], nodes=some).consume()
        tick()


def _write_described(tx: Transaction, tick: Tick, label: str, table: pa.Table, by: By) -> None:
    """Write users or items, with their attributes and the like."""
    nodes = _named_nodes(tx, tick, label, table["id"], by)
    statement = cypher.SET_USERS if label == "User" else cypher.SET_ITEMS
    rows = table.drop_columns("id").to_pylist()
    described = [
        {"node": node, **row}
        for node, row in zip(nodes.tolist(), rows, strict=True)
        if any(value is not None for value in row.values())
    ]
    for start in range(0, len(described), STATEMENT_ROWS):
        tx.run(statement, rows=described[start : start + STATEMENT_ROWS], **by).consume()
        tick()


def _write_links(tx: Transaction, tick: Tick, table: str, links: pa.Table, by: By) -> None:
    source_label, _, target_label = cypher.LINKS[table]
    columns = links.column_names
    sources = _named_nodes(tx, tick, source_label, links[columns[0]], by)
    kinds = links["kind"].to_pylist() if "kind" in columns else None
    if table == "item_tags":
        categories, category_names = coded(links["category"])
        tags, tag_names = coded(links["tag"])
        pairs, places = np.unique(categories * len(tag_names) + tags, return_inverse=True)
        keys = [
            (category_names[pair // len(tag_names)], tag_names[pair % len(tag_names)])
            for pair in pairs.tolist()
        ]
        targets = _nodes(tx, tick, "Tag", keys)[0][places]
    else:
        targets = _named_nodes(tx, tick, target_label, links[columns[1]], by)
    weights = links["weight"].to_numpy()
    statement = cypher.merge_links(table)
    for rows in link_rows(sources, targets, weights, kinds, STATEMENT_ROWS):
        tx.run(statement, rows=rows, **by).consume()
        tick()


def _write_events(
    session: Session,
    tx: Transaction,
    tick: Tick,
    events: EventGroups,
    counter: dict[str, Any],
    by: By,
) -> Transaction:
    """Write events in order of users; gives the transaction that is still open."""
    users, fresh = _nodes(tx, tick, "User", [(name,) for name in events.users], by=by)
    items, _ = _nodes(tx, tick, "Item", [(name,) for name in events.items], by=by)
    tagged = np.unique(events.user[events.tag >= 0])
    touched = set(users[tagged].tolist())
    if len(tagged):
        names = [events.tags[code] for code in np.unique(events.tag[events.tag >= 0])]
        _nodes(tx, tick, "Tag", [(EVENT_TAG_CATEGORY, name) for name in names])
    changed, held = False, 0
    with_ids = events.with_ids(users, items)
    for start in range(0, len(with_ids), STATEMENT_ROWS):
        part = with_ids[start : start + STATEMENT_ROWS]
        moved = tx.run(cypher.REMOVE_MOVED, rows=part, no_time=NO_TIME)
        touched.update(moved.value())
        tick()
    underway: list[Any] = []  # the server works on one statement while the next is prepared
    for count, rows in events.rows(users, items, counter["watermark"] + 1, STATEMENT_ROWS):
        # A user made in this batch has no events yet, so none need be looked for.
        new = [row for row in rows if row["user"] in fresh]
        known = [row for row in rows if row["user"] not in fresh]
        for statement, part in ((cypher.CREATE_EVENTS, new), (cypher.UPSERT_EVENTS, known)):
            if part:
                sent = tx.run(statement, rows=part, kinds=events.kinds, no_time=NO_TIME, **by)
                changed = _consume(underway, tick) or changed
                underway.append(sent)
        held += count
        if held >= TRANSACTION_EVENTS:
            changed = _consume(underway, tick) or changed
            _save_counter(tx, counter | _known_facts(counter, events))
            tx.commit()
            tick()
            tx = session.begin_transaction()
            tx.run(cypher.LOCK_COUNTER, schema=cypher.SCHEMA_VERSION).consume()
            held = 0
    changed = _consume(underway, tick) or changed
    nodes = sorted(touched)
    for start in range(0, len(nodes), 1000):
        part = nodes[start : start + 1000]
        tx.run(cypher.COUNT_USED_TAGS, nodes=part, category=EVENT_TAG_CATEGORY).consume()
        tick()
    if changed:
        facts = _known_facts(counter, events)
        _save_counter(tx, counter | facts | {"watermark": counter["watermark"] + len(events)})
    return tx


def _consume(underway: list[Any], tick: Tick) -> bool:
    """Wait for the statements that were sent; tells whether any of them changed anything."""
    changed = False
    while underway:
        changed = underway.pop().consume().counters.contains_updates or changed
        tick()
    return changed


def _known_facts(counter: dict[str, Any], events: EventGroups) -> dict[str, list[str]]:
    """The kinds and optional columns that events have, this batch included, for later reads."""
    return {
        "kinds": sorted({*counter["kinds"], *events.kinds}),
        "columns": sorted({*counter["columns"], *events.used_columns()}),
    }


def _save_counter(tx: Transaction, counter: dict[str, Any]) -> None:
    names = ("watermark", "kinds", "columns")
    tx.run(cypher.SAVE_COUNTER, {name: counter[name] for name in names}).consume()


def write_back(session: Session, tick: Tick, findings: Findings, release: str) -> None:
    """See `Neo4jStore.write_back`."""
    with session.begin_transaction() as tx:
        users, names = coded(findings.segments["user"])
        sources = _nodes(tx, tick, "User", [(name,) for name in names], make=False)[0][users]
        targets = _named_nodes(tx, tick, "Segment", findings.segments["segment"])
        tx.commit()
    weights = np.ones(len(sources))
    _write_found(session, tick, cypher.WRITE_SEGMENTS, release, (sources, targets, weights))
    with session.begin_transaction() as tx:
        ends = []
        for column in ("source", "target"):
            items, names = coded(findings.near[column])
            nodes = _nodes(tx, tick, "Item", [(name,) for name in names], make=False)[0]
            ends.append(nodes[items])
        tx.commit()
    scores = findings.near["score"].to_numpy()
    _write_found(session, tick, cypher.WRITE_NEAR, release, (*ends, scores))
    for statement in cypher.REMOVE_OLD:
        gone = 1
        while gone:
            result = session.run(statement, release=release, limit=STATEMENT_ROWS)
            gone = result.single(True)["gone"]
            tick()


def _write_found(
    session: Session, tick: Tick, statement: str, release: str, links: tuple[Any, Any, Any]
) -> None:
    known = (links[0] >= 0) & (links[1] >= 0)
    sources, targets, weights = (column[known] for column in links)
    for rows in link_rows(sources, targets, weights, None, STATEMENT_ROWS):
        session.run(statement, rows=rows, release=release).consume()
        tick()
