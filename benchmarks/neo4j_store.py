"""Loading into Neo4j and taking a snapshot, compared with the plainest correct driver code.

The plain loader sends one relationship a row (MERGE by its key, 10,000 rows a transaction); the
plain reader gets one record a relationship. Both stand here, in full. Needs a running server:
`NEO4J_TEST_URI`, or Java and Maven to start one. The database of a given server must be
empty; what is written into it is removed.
"""

import argparse
import importlib.util
import os
import resource
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import neo4j
import pyarrow as pa

from graph.snapshot import take_snapshot
from graph.stores.neo4j_store import Neo4jStore
from loaders.synthetic import generate

MERGE = """UNWIND $rows AS row
MATCH (u:User {id: row.user}) MATCH (i:Item {id: row.item})
MERGE (u)-[r:INTERACTED {kind: row.kind, at: row.at}]->(i)"""
NODES = "UNWIND $ids AS id MERGE (:%s {id: id})"
READ = """MATCH (u:User)-[r:INTERACTED]->(i:Item) WHERE r.seq <= $until
RETURN u.id AS user, i.id AS item, r.kind AS kind, r.value AS value, r.tag AS tag, r.at AS at,
r.event_id AS event_id"""


def main(arguments: list[str]) -> dict:
    """Measure; `--events N` (default 300,000), `--plain N` rows for the plain side."""
    parser = argparse.ArgumentParser(prog="bench neo4j")
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--plain", type=int, default=100_000)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args(arguments)
    batches = [b["events"] for b in generate(chosen.events, seed=1).batches() if "events" in b]
    events = pa.concat_tables(batches).select(["user", "item", "kind", "at"])
    few = events.slice(0, chosen.plain)
    with _server() as (server, uri, user, password, database):
        driver = neo4j.GraphDatabase.driver(
            uri, auth=(user, password), notifications_min_severity="OFF"
        )
        store = Neo4jStore(uri, user, password, database, deadline=60.0)
        if any(store.counts().values()):
            raise SystemExit("bench neo4j: this database has facts in it; name an empty one")
        _warm_up(driver, database, store, events.slice(0, 5000))
        measured = Measured(server)
        with measured("load, one relationship a row", few.num_rows):
            _plain_load(driver, database, few)
        for name in ("first", "warm"):  # the server's compiler learns the statements
            _empty(driver, database)
            with measured(f"load, ours, {name}", events.num_rows):
                store.apply({"events": events})
        stored = store.counts()["events"]
        for name in ("first", "second", "warm"):
            with measured(f"snapshot, ours, {name}", stored):
                take_snapshot(store)
        with measured("read of events, ours", stored):
            store.read("events", until=store.watermark())
        with measured("read, one record a relationship", stored):
            _plain_read(driver, database, store.watermark())
        _empty(driver, database)
        store.close()
        driver.close()
    rates = measured.rates()
    plain = rates["read, one record a relationship"]
    load = rates["load, ours, warm"] / rates["load, one relationship a row"]
    return {
        "bench": "neo4j",
        "events": chosen.events,
        "table": measured.table,
        "ratios": {
            "load over one relationship a row": round(load, 2),
            "read over one record a relationship": round(rates["read of events, ours"] / plain, 2),
            "snapshot over one record a relationship": round(
                rates["snapshot, ours, warm"] / plain, 2
            ),
        },
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


class Measured:
    """Rates by the clock and by the processor seconds of client and server together.

    The second says what a machine that does nothing else would do on one core.
    """

    def __init__(self, server) -> None:
        """`server` is the one we started, or None: then only the client's seconds are known."""
        self._pid = server.process.pid if server else None
        self.table: list[dict] = []

    def rates(self) -> dict[str, float]:
        return {row["what"]: row["events/s"] for row in self.table}

    @contextmanager
    def __call__(self, label: str, events: int):
        begun, client, ours = time.perf_counter(), time.process_time(), self._server_seconds()
        yield
        seconds = time.perf_counter() - begun
        client, ours = time.process_time() - client, self._server_seconds() - ours
        row = {"what": label, "events/s": round(events / seconds), "client CPU s": round(client, 2)}
        if self._pid is not None:
            row["server CPU s"] = round(ours, 2)
            row["events per CPU s"] = round(events / (client + ours))
        self.table.append(row)

    def _server_seconds(self) -> float:
        if self._pid is None:
            return 0.0
        fields = Path(f"/proc/{self._pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _warm_up(driver, database, store, events) -> None:
    """Let the server plan and compile what both sides will ask."""
    _plain_load(driver, database, events)
    _plain_read(driver, database, store.watermark())
    _empty(driver, database)
    for _ in range(3):
        store.apply({"events": events})
        take_snapshot(store)
        _plain_read(driver, database, store.watermark())
        _empty(driver, database)


def _plain_load(driver, database, events) -> None:
    rows = events.to_pylist()
    for label, column in (("User", "user"), ("Item", "item")):
        statement = NODES % label
        driver.execute_query(statement, ids=events[column].unique().to_pylist(), database_=database)
    for start in range(0, len(rows), 10_000):
        driver.execute_query(MERGE, rows=rows[start : start + 10_000], database_=database)


def _plain_read(driver, database, until) -> int:
    with driver.session(database=database) as session:
        return len([tuple(record) for record in session.run(READ, until=until)])


def _empty(driver, database) -> None:
    with driver.session(database=database) as session:
        statement = "MATCH (n) CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 200 ROWS"
        session.run(statement).consume()


@contextmanager
def _server():
    uri = os.environ.get("NEO4J_TEST_URI")
    if uri:
        yield (
            None,
            uri,
            os.environ.get("NICHEGRAPH_NEO4J_USER", "neo4j"),
            os.environ.get("NICHEGRAPH_NEO4J_PASSWORD", ""),
            os.environ.get("NICHEGRAPH_NEO4J_DATABASE", "neo4j"),
        )
        return
    script = Path(__file__).parents[1] / "tests" / "servers" / "neo4j.py"
    spec = importlib.util.spec_from_file_location("neo4j_bench_server", script)
    module = importlib.util.module_from_spec(spec)
    sys.modules["neo4j_bench_server"] = module  # a dataclass looks itself up
    spec.loader.exec_module(module)
    reason = module.missing()
    if reason:
        raise SystemExit(f"bench neo4j: {reason}")
    with tempfile.TemporaryDirectory() as folder:
        server = module.Server(Path(folder), heap="1g").start()
        try:
            yield server, server.uri, "neo4j", module.PASSWORD, "neo4j"
        finally:
            server.kill()
