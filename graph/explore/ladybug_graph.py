"""Keeps the graph in a read-only file that answers Cypher without a server (by ladybug).

The file has the same labels, relationships and property names as the model in Neo4j
(`docs/neo4j.md`), so the same query text runs on both. It is made once per snapshot by a bulk copy,
beside the releases:

    explore/<fingerprint>/graph.lbug         everybody by name
    explore/<fingerprint>/pseudonyms.lbug    for strangers: see decision 9, `docs/decisions/`

This is the only file that imports ladybug.
"""

import datetime as dt
import math
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graph.durable import sync
from graph.errors import QueryRefused, StoreError
from graph.explore.copies import made_aside, mark_of_erasure
from graph.explore.ladybug_faults import in_words

if TYPE_CHECKING:  # queries need no arrays, and a worker must start quickly
    from graph.findings import Findings
    from graph.snapshot import GraphSnapshot

POOL = 512 << 20  # bytes of buffer pool while building

_NODES = {
    "User": "id STRING PRIMARY KEY, consent BOOLEAN, attributes STRING",
    "Item": (
        "id STRING PRIMARY KEY, title STRING, created_at INT64, hidden BOOLEAN, attributes STRING"
    ),
    "Tag": "key STRING PRIMARY KEY, category STRING, name STRING",
    "Domain": "name STRING PRIMARY KEY",
    "Segment": "name STRING PRIMARY KEY",
}
_LINKS = {
    "INTERACTED": "FROM User TO Item, kind STRING, value DOUBLE, tag STRING, at INT64",
    "IN": "FROM Item TO Domain, weight DOUBLE",
    "HAS_TAG": "FROM Item TO Tag, weight DOUBLE",
    "USED": "FROM User TO Tag, events INT64",
    "KNOWS": "FROM User TO User, kind STRING, weight DOUBLE",
    "RELATED": "FROM Item TO Item, kind STRING, weight DOUBLE",
    "IN_SEGMENT": "FROM User TO Segment",
    "NEAR": "FROM Item TO Item, score DOUBLE",
}

_INNER = {
    "_ID",
    "_LABEL",
    "_SRC",
    "_DST",
    "key",
}  # in results: fields that serve only to store rows


def graph_file(
    snapshot: "GraphSnapshot",
    folder: Path,
    *,
    secret: bytes | None = None,
    findings: "Findings | None" = None,
    mark: str | None = None,
) -> Path:
    """The file of this snapshot under `folder`, which is made now if it is missing.

    Args:
        snapshot: the snapshot to copy.
        folder: the `explore` folder; files of other snapshots in it are left alone.
        secret: if given, users appear as pseudonyms keyed with it.
        findings: segments and nearest items of a release, or none.
        mark: `mark_of_erasure(folder)` from before the snapshot was taken; by default from now.

    Raises:
        ErasedMeanwhile: the snapshot holds something that has since been erased.
    """
    name = snapshot.fingerprint + (f"-{findings.digest()[:16]}" if findings else "")
    path = folder / name / ("graph.lbug" if secret is None else "pseudonyms.lbug")
    if path.exists():
        return path
    from graph.explore.ladybug_tables import tables

    with made_aside(path, mark_of_erasure(folder) if mark is None else mark) as aside:
        _build(aside, tables(snapshot, findings, secret))
        sync(aside)
    return path


class GraphFile:
    """An opened file; runs queries and gives rows of plain values."""

    def __init__(self, path: Path, *, seconds: float, memory: int) -> None:
        """Open read-only; `memory` is the buffer pool in bytes, `seconds` a query's limit."""
        import ladybug

        room = 1 << max(30, (4 * path.stat().st_size).bit_length())
        try:
            self._database = ladybug.Database(
                path, buffer_pool_size=memory, max_db_size=room, read_only=True, max_num_threads=2
            )
            self._connection = ladybug.Connection(self._database, num_threads=1)
            self._queries = 0
            self._connection.set_query_timeout(int(seconds * 1000))
            # Load everything now that would be loaded late, as a worker can open nothing later.
            list(self.rows("RETURN $a AS a", {"a": [{"b": 1.5, "c": "x", "e": True}]})[1])
        except (RuntimeError, QueryRefused) as error:
            raise StoreError(f"{path.name} cannot be opened for exploring: {error}") from error

    def rows(self, query: str, parameters: dict[str, Any]) -> tuple[list[str], Iterator[list[Any]]]:
        """Names of the columns, and the rows as values that JSON knows.

        A node is {node, label, properties}, a relationship {relationship, type, from, to,
        properties}, a path {path: [node, relationship, node, …]}.

        Raises:
            QueryRefused: the engine will not or cannot run it; the message gives its words.
        """
        try:
            # The engine plans a text only once, with the first values, such as that of LIMIT.
            self._queries += 1
            result = self._connection.execute(f"{query} /* {self._queries} */", parameters)
        except (RuntimeError, ValueError, TypeError, MemoryError) as error:
            raise in_words(error) from None
        if isinstance(result, list):
            raise QueryRefused("This query was not run: send one statement.")
        return result.get_column_names(), _plain_rows(result)


def _plain_rows(result: Any) -> Iterator[list[Any]]:
    try:
        while result.has_next():
            yield [_plain(value) for value in result.get_next()]
    except (RuntimeError, MemoryError) as error:
        raise in_words(error) from None


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):  # beyond 64 bits, a number of JSON is a float
        return value if -(1 << 63) <= value < 1 << 63 else float(value)
    if isinstance(value, Decimal):  # sums of whole numbers
        return _plain(int(value)) if value == value.to_integral_value() else float(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, dict):
        return _plain_map(value)
    if isinstance(value, dt.date | dt.datetime):
        return value.isoformat()
    return str(value)


def _plain_map(value: dict[Any, Any]) -> Any:
    if "_NODES" in value and "_RELS" in value:
        nodes, links = value["_NODES"] or [], value["_RELS"] or []
        if not nodes:  # from an optional pattern without a match
            return None
        path = [_plain(nodes[0])] if nodes else []
        for index, link in enumerate(links):
            path.append(_plain(link))
            if index + 1 < len(nodes):
                path.append(_plain(nodes[index + 1]))
        return {"path": path}
    if "_LABEL" in value and "_ID" in value:
        properties = {
            str(name): _plain(part)
            for name, part in value.items()
            if part is not None and name not in _INNER
        }
        if "_SRC" in value:
            return {
                "relationship": _handle(value["_ID"]),
                "type": value["_LABEL"],
                "from": _handle(value["_SRC"]),
                "to": _handle(value["_DST"]),
                "properties": properties,
            }
        return {"node": _handle(value["_ID"]), "label": value["_LABEL"], "properties": properties}
    if set(value) == {"offset", "table"}:
        return _handle(value)
    return {str(key): _plain(part) for key, part in value.items()}


def _handle(identity: dict[str, int]) -> str:
    return f"{identity['table']}:{identity['offset']}"


def _build(path: Path, tables: dict[str, Any]) -> None:
    import ladybug

    database = ladybug.Database(path, buffer_pool_size=POOL, max_db_size=1 << 36)
    connection = ladybug.Connection(database, num_threads=2)
    try:
        for label, columns in _NODES.items():
            connection.execute(f"CREATE NODE TABLE `{label}`({columns})")
        for label, columns in _LINKS.items():
            connection.execute(f"CREATE REL TABLE `{label}`({columns})")
        for label, rows in tables.items():
            if rows.num_rows:
                connection.execute(f"COPY `{label}` FROM $rows", {"rows": rows})
        connection.execute("CHECKPOINT")
    finally:
        connection.close()
        database.close()
