"""The process that makes a copy for exploring: opens the store, freezes it, copies it."""

import json
import sys
from pathlib import Path
from typing import Any

from graph.errors import NichegraphError
from graph.findings import forget, load_findings
from graph.ladybug_graph import graph_file
from graph.snapshot import take_snapshot
from graph.store import GraphStore


def main() -> None:
    """Read an order from standard input; print where the copies are, or what went wrong."""
    order = json.load(sys.stdin)
    try:
        told = build(order)
    except NichegraphError as error:
        told = {"error": "away", "message": str(error)}
    json.dump(told, sys.stdout)


def build(order: dict[str, Any]) -> dict[str, str]:
    """Make a copy of the store as it is now, and delete those of the past.

    With a secret, users are pseudonyms in it.
    """
    store = _opened(order["target"])
    try:
        snapshot = take_snapshot(store)
    finally:
        store.close()
    folder = Path(order["folder"])
    findings = load_findings(folder)
    secret = bytes.fromhex(order["secret"]) if order["secret"] else None
    path = graph_file(snapshot, folder, secret=secret, findings=findings)
    forget(folder, keep=path.parent.name)
    return {"path": str(path)}


def _opened(target: dict[str, str]) -> GraphStore:
    if target["uri"].startswith(("bolt", "neo4j")):
        from graph.neo4j_store import Neo4jStore

        return Neo4jStore(target["uri"], target["user"], target["password"], target["database"])
    from graph.embedded_store import EmbeddedStore

    return EmbeddedStore(Path(target["uri"].removeprefix("embedded:")))


if __name__ == "__main__":
    main()
