"""The process that makes a copy for exploring: it opens, freezes and copies the store."""

import json
import sys
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from graph.errors import NichegraphError
from graph.explore.copies import ErasedMeanwhile, keep_only, mark_of_erasure
from graph.explore.ladybug_graph import graph_file
from graph.extras import missing_extra
from graph.findings import load_findings
from graph.snapshot import take_snapshot
from graph.store import GraphStore


def main() -> None:
    """Read an order from standard input; print where the copies are, or what went wrong."""
    order = json.load(sys.stdin)
    try:
        answer = build(order)
    except NichegraphError as error:
        answer = {"error": "away", "message": str(error)}
    except ModuleNotFoundError as error:
        missing = missing_extra(error)
        if missing is None:
            raise
        answer = {"error": "missing", "message": str(missing)}
    json.dump(answer, sys.stdout)


def build(order: dict[str, Any]) -> dict[str, str]:
    """Make a copy of the store as it is now, and delete those of the past.

    With a secret, users are pseudonyms in it.
    """
    folder = Path(order["folder"])
    secret = bytes.fromhex(order["secret"]) if order["secret"] else None
    while True:
        with suppress(ErasedMeanwhile):
            path = _copied(order["target"], folder, secret)
            keep_only(folder, path.parent.name)
            return {"path": str(path)}


def _copied(target: dict[str, str], folder: Path, secret: bytes | None) -> Path:
    mark = mark_of_erasure(folder)
    with closing(_opened(target)) as store:
        snapshot = take_snapshot(store)
    findings = load_findings(folder)
    return graph_file(snapshot, folder, secret=secret, findings=findings, mark=mark)


def _opened(target: dict[str, str]) -> GraphStore:
    if target["uri"].startswith(("bolt", "neo4j")):
        from graph.stores.neo4j_store import Neo4jStore

        return Neo4jStore(target["uri"], target["user"], target["password"], target["database"])
    from graph.stores.embedded_store import EmbeddedStore

    return EmbeddedStore(Path(target["uri"].removeprefix("embedded:")))


if __name__ == "__main__":
    main()
