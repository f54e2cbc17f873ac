"""Numbers, lists and takes back loads on a Neo4j server, in sessions of the driver."""

import json
from collections.abc import Mapping
from typing import Any

from graph.errors import NotFound
from graph.model import EVENT_TAG_CATEGORY
from graph.store import Load
from graph.stores import cypher
from graph.stores.batch import no_such_load
from graph.stores.deadline import Tick

NODES_AT_ONCE = 1_000  # nodes whose links are looked at in one transaction

Session = Any  # neo4j.Session
Transaction = Any  # neo4j.Transaction


def begin_load(tx: Transaction, at: int, about: Mapping[str, Any]) -> int:
    """See `GraphStore.begin_load`."""
    tx.run(cypher.LOCK_COUNTER, schema=cypher.SCHEMA_VERSION).consume()  # one number at a time
    made = tx.run(cypher.BEGIN_LOAD, at=at, about=json.dumps(about)).single(True)
    return int(made["number"])


def read_loads(tx: Transaction) -> list[Load]:
    """See `GraphStore.loads`."""
    rows = tx.run(cypher.LOADS).data()
    return [Load(**row | {"about": json.loads(row["about"])}) for row in rows]


def undo_load(session: Session, tick: Tick, load: int) -> dict[str, int]:
    """See `GraphStore.undo_load`; takes many transactions; if killed, call it again to complete."""
    with session.begin_transaction() as tx:
        known = {each.load: each for each in read_loads(tx)}
    if load not in known or known[load].undone:
        raise NotFound(no_such_load(load, undone=load in known))
    links = {"events": ("User", "INTERACTED", "Item"), **cypher.LINKS}
    gone, changed = {}, 0
    for table, (label, relationship, _) in links.items():
        statement = cypher.undo_links(label, relationship)
        gone[table], restored = _remove_links(session, tick, label, statement, {"load": load})
        changed += restored
    with session.begin_transaction() as tx:
        for statement in cypher.UNDO_TOLD.values():
            changed += int(tx.run(statement, load=load).single(True)["changed"])
            tick()
        gone["shown"] = int(tx.run(cypher.UNDO_HIDDEN, load=load).single(True)["gone"])
        for table, statement in cypher.UNDO_NODES.items():
            gone[table] = int(tx.run(statement, load=load).single(True)["gone"])
            tick()
        tx.run(cypher.END_LOAD, load=load).consume()
        tx.commit()
    return gone | {"changed": changed}


def drop_events(session: Session, tick: Tick, kind: str, before: int) -> int:
    """See `GraphStore.drop_events`."""
    which = {"kind": kind, "before": before}
    return _remove_links(session, tick, "User", cypher.DROP_EVENTS, which)[0]


def _remove_links(
    session: Session, tick: Tick, label: str, statement: str, which: Mapping[str, Any]
) -> tuple[int, int]:
    """Remove links of the nodes of a label; how many, and how many of them had been changed."""
    gone = changed = 0
    with session.begin_transaction() as tx:
        span = tx.run(cypher.read_span(label)).single(True)
    if span["first"] is None:
        return 0, 0
    for begin in range(span["first"], span["last"] + 1, NODES_AT_ONCE):
        with session.begin_transaction() as tx:
            rows = {"begin": begin, "end": begin + NODES_AT_ONCE - 1, **which}
            counts = tx.run(statement, rows).single(True)
            gone, changed = gone + counts["gone"], changed + counts["changed"]
            if counts["touched"]:
                tags = {"nodes": counts["touched"], "category": EVENT_TAG_CATEGORY}
                tx.run(cypher.COUNT_USED_TAGS, tags).consume()
            tx.commit()
        tick()
    return gone, changed
