"""The graph on a Neo4j server (Community 5.26 or newer), through the official driver.

Every call ends with an answer, or with a `StoreAway` that says what to check. A call that makes no
progress within its deadline is given up and its connections are dropped. After some failures in a
row the server is left alone for a moment (`graph.stores.circuit`).

The model is drawn in `docs/neo4j.md`; the statements are in `graph.stores.cypher`. The driver's own
retries are off: every write is an upsert, so the caller may simply send it again.
"""

import json
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import neo4j
import neo4j.exceptions
import pyarrow as pa

from graph.errors import InputError, StoreAway
from graph.findings import Findings
from graph.ids import as_id
from graph.model import SCHEMAS, Batch
from graph.store import Load
from graph.stores import cypher
from graph.stores.batch import cleared, prepared
from graph.stores.circuit import CircuitBreaker
from graph.stores.deadline import Tick, within
from graph.stores.neo4j_faults import away, too_slow, unsupported
from graph.stores.neo4j_loads import begin_load, drop_events, read_loads, undo_load
from graph.stores.neo4j_reading import (
    count_tags,
    mentions,
    name_items,
    read_counter,
    read_events,
    read_links,
    read_nodes,
)
from graph.stores.neo4j_rows import EventGroups
from graph.stores.neo4j_writing import STATEMENT_ROWS, apply, write_back

Answer = TypeVar("Answer")
ALL_AT_ONCE = -1  # the server sends on while we read; only a full socket holds it back


class Neo4jStore:
    """A `GraphStore` in one database of a server. Threads may share it; writers take turns."""

    def __init__(
        self,
        uri: str,
        user: str,
        password: str,
        database: str = "neo4j",
        *,
        deadline: float = 5.0,
        bulk_deadline: float = 60.0,
    ) -> None:
        """Remember where the server is; the first call connects.

        Args:
            uri: `bolt://host:port`, `neo4j://…`, or their `+s` forms with TLS.
            user: name of the database user.
            password: its password.
            database: which of the server's databases.
            deadline: seconds a small call may take.
            bulk_deadline: seconds a load or a snapshot may go without any progress.
        """
        self.uri = uri
        self._auth = (user, password)
        self._database = database
        self._deadline = deadline
        self._bulk_deadline = bulk_deadline
        self._breaker = CircuitBreaker()
        self._connecting = threading.Lock()
        self._writing = threading.Lock()
        self._driver: neo4j.Driver | None = None
        self._has_schema = False

    # What a store does

    @property
    def resting(self) -> bool:
        """Whether the server is left alone for a moment."""
        return self._breaker.is_open

    def apply(
        self,
        batch: Batch,
        *,
        name: str | None = None,
        span: tuple[int, int] | None = None,
        replace: bool = False,
        clear: Mapping[str, Collection[str]] | None = None,
        load: int = 0,
    ) -> bool:
        """See `GraphStore.apply`.

        More events than `neo4j_writing.TRANSACTION_EVENTS` are written in several transactions,
        so that they fit into the server's heap. The last one moves the watermark and records the
        name. So a snapshot up to a watermark holds nothing of a load that was killed on the way,
        and sending the batch again completes it.
        """
        tables = prepared(batch)
        parts = cleared(tables, clear, replace=replace)
        events = EventGroups(tables.pop("events")) if "events" in tables else None
        rows = sum(table.num_rows for table in tables.values()) + (len(events) if events else 0)
        limit = self._deadline if rows <= STATEMENT_ROWS else self._bulk_deadline
        if not self._writing.acquire(timeout=self._bulk_deadline):
            raise StoreAway(
                f"{self.uri}: another thread of this process has been writing for too long"
            )
        try:
            self._prepare_schema()
            return self._call(
                lambda session, tick: apply(
                    session, tick, tables, events, name=name, span=span, parts=parts, load=load
                ),
                limit,
            )
        finally:
            self._writing.release()

    def position(self, name: str) -> int:
        """See `GraphStore.position`."""
        return self._transaction(
            lambda tx, _: int(tx.run(cypher.POSITION, name=name).single(True)["position"]),
            writes=False,
        )

    def read(self, table: str, *, until: int | None = None) -> pa.Table:
        """See `GraphStore.read`; id and name columns are dictionary-encoded."""
        if table not in SCHEMAS:
            raise InputError(f"{table}: no such table; there are {', '.join(SCHEMAS)}")

        if table == "events":
            return self._call(
                lambda session, tick: self._read_events(session, tick, until),
                self._bulk_deadline,
                writes=False,
            )

        def work(tx: neo4j.Transaction, tick: Tick) -> pa.Table:
            if table in ("users", "items"):
                return read_nodes(tx, tick, table)
            return read_links(tx, tick, table)

        return self._transaction(work, self._bulk_deadline, writes=False)

    def user_events(self, user: str) -> pa.Table:
        """See `GraphStore.user_events`."""
        rows = self._transaction(
            lambda tx, _: tx.run(cypher.USER_EVENTS, user=as_id(user)).data(), writes=False
        )
        return pa.Table.from_pylist(rows, schema=SCHEMAS["events"])

    def counts(self) -> dict[str, int]:
        """See `GraphStore.counts`; a tag counts while an item or an event has it."""

        def work(tx: neo4j.Transaction, tick: Tick) -> dict[str, int]:
            counts = {}
            for name, statement in cypher.COUNTS.items():
                counts[name] = int(tx.run(statement).single(strict=True)["n"])
                tick()
            return counts | {"tags": count_tags(tx, tick)}

        return self._transaction(work, writes=False)

    def watermark(self) -> int:
        """See `GraphStore.watermark`."""
        return self._transaction(lambda tx, _: int(read_counter(tx)["watermark"]), writes=False)

    def erase_user(self, user: str) -> int:
        """See `GraphStore.erase_user`."""

        def work(tx: neo4j.Transaction, _: Tick) -> int:
            record = tx.run(cypher.ERASE_USER, user=as_id(user)).single()
            return int(record["events"]) if record else 0

        return self._transaction(work)

    def drop_events(self, kind: str, before: int) -> int:
        """See `GraphStore.drop_events`; takes many transactions, call it again if it is killed."""
        return self._call(lambda session, tick: drop_events(session, tick, kind, before), None)

    def begin_load(self, at: int, about: Mapping[str, Any]) -> int:
        """See `GraphStore.begin_load`."""
        self._prepare_schema()
        return self._transaction(lambda tx, _: begin_load(tx, at, about))

    def note_load(self, load: int, about: Mapping[str, Any]) -> None:
        """See `GraphStore.note_load`."""
        parameters = {"load": load, "about": json.dumps(about)}
        self._transaction(lambda tx, _: tx.run(cypher.NOTE_LOAD, parameters).consume())

    def loads(self) -> list[Load]:
        """See `GraphStore.loads`."""
        return self._transaction(lambda tx, _: read_loads(tx), writes=False)

    def undo_load(self, load: int) -> dict[str, int]:
        """See `GraphStore.undo_load`."""
        return self._call(lambda session, tick: undo_load(session, tick, load), None)

    def ping(self) -> None:
        """See `GraphStore.ping`."""
        self._transaction(lambda tx, _: tx.run("RETURN 1").consume(), writes=False)

    def close(self) -> None:
        """See `GraphStore.close`."""
        with self._connecting:
            driver, self._driver = self._driver, None
        if driver is not None:
            driver.close()

    def mentions(self, holds: Callable[[bytes], object]) -> int:
        """How many nodes and relationships hold something in a label, type, name or value."""
        return self._call(lambda session, tick: mentions(session, tick, holds), None, writes=False)

    # What models found

    def write_back(self, findings: Findings, release: str) -> None:
        """Make segments and nearest items explorable as (:User)-[:IN_SEGMENT]->(:Segment) and
        (:Item)-[:NEAR {score}]->(:Item), and remove those of other releases.

        Users and items that the store does not know are left out. If it is killed, call it again
        to complete it.
        """
        self._prepare_schema()
        self._call(lambda session, tick: write_back(session, tick, findings, release), None)

    def _read_events(self, session: neo4j.Session, tick: Tick, until: int | None) -> pa.Table:
        """Each half of the users over its own connection: the server gives each a thread."""

        def read(half: int, over: neo4j.Session) -> pa.Table:
            with over.begin_transaction() as tx:
                return read_events(tx, tick, until, half)

        second_session = self._session(neo4j.READ_ACCESS)
        with _closed_in_the_end(second_session), ThreadPoolExecutor(1) as pool:
            second = pool.submit(read, 1, second_session)
            halves = [read(0, session), second.result()]
        with session.begin_transaction() as tx:
            return name_items(tx, tick, pa.concat_tables(halves).combine_chunks())

    # How it is asked

    def _transaction(
        self,
        work: Callable[[neo4j.Transaction, Tick], Answer],
        limit: float | None = None,
        *,
        writes: bool = True,
    ) -> Answer:
        def in_session(session: neo4j.Session, tick: Tick) -> Answer:
            with session.begin_transaction() as tx:
                answer = work(tx, tick)
                tx.commit()
                return answer

        return self._call(in_session, limit or self._deadline, writes=writes)

    def _call(
        self,
        work: Callable[[neo4j.Session, Tick], Answer],
        limit: float | None,
        *,
        writes: bool = True,
    ) -> Answer:
        """Run in a session within the deadline; errors are put in our words and counted."""
        pause = self._breaker.wait()
        if pause:
            raise StoreAway(
                f"Neo4j at {self.uri} has not answered recently; the next attempt "
                f"is in {pause:.0f} s"
            )
        limit = limit or self._bulk_deadline
        mode = neo4j.WRITE_ACCESS if writes else neo4j.READ_ACCESS

        def in_session(tick: Tick) -> Answer:
            session = self._session(mode)
            with _closed_in_the_end(session):
                tick()
                return work(session, tick)

        try:
            answer = within(limit, in_session, self._drop)
        except TimeoutError as error:
            self._breaker.failed()
            raise StoreAway(too_slow(self.uri, limit)) from error
        except StoreAway:
            self._breaker.failed()
            raise
        except Exception as error:
            sentence = self._sentence(error)
            if sentence is None:
                raise
            self._breaker.failed()
            self._drop()  # other connections of the pool may be dead too
            raise StoreAway(sentence) from error
        self._breaker.succeeded()
        return answer

    def _session(self, mode: str) -> neo4j.Session:
        return self._connected().session(
            database=self._database, default_access_mode=mode, fetch_size=ALL_AT_ONCE
        )

    def _connected(self) -> neo4j.Driver:
        """The driver, made and checked when there is none."""
        with self._connecting:
            if self._driver is None:
                driver = neo4j.GraphDatabase.driver(
                    self.uri,
                    auth=self._auth,
                    connection_timeout=min(self._deadline, 3.0),
                    connection_acquisition_timeout=self._deadline,
                    max_transaction_retry_time=0,
                    liveness_check_timeout=20,
                    notifications_min_severity="OFF",
                    user_agent="nichegraph",
                )
                try:
                    agent = driver.get_server_info().agent
                except BaseException:
                    driver.close()
                    raise
                refusal = unsupported(self.uri, agent)
                if refusal:
                    driver.close()
                    raise StoreAway(refusal)
                self._driver = driver
            return self._driver

    def _drop(self) -> None:
        """Forget the driver and close its sockets; calls that wait on one then end."""
        driver, self._driver = self._driver, None
        if driver is not None:
            driver.close()

    def _sentence(self, error: Exception) -> str | None:
        """Our words for an error of the driver or the network, None for any other."""
        ours = isinstance(error, (neo4j.exceptions.Neo4jError, neo4j.exceptions.DriverError))
        ours = ours or isinstance(error, OSError) or type(error).__module__.startswith("neo4j.")
        if not ours:
            return None
        code = error.code if isinstance(error, neo4j.exceptions.Neo4jError) else None
        return away(
            self.uri,
            database=self._database,
            code=code,
            kind=type(error).__name__,
            text=str(getattr(error, "message", None) or error),
        )

    def _prepare_schema(self) -> None:
        """Make constraints, rename old properties, before data is written; once per store."""
        if self._has_schema:
            return

        def work(session: neo4j.Session, tick: Tick) -> None:
            for statement in cypher.CONSTRAINTS:
                _make_constraint(session, statement)
                tick()
            session.run(cypher.AWAIT_INDEXES).consume()
            left = session.run(cypher.HAS_OLD_NAME).single(strict=True)["n"]
            while left:
                tick()
                left = session.run(cypher.RENAME_DESCRIBED).single(strict=True)["n"]

        self._call(work, self._bulk_deadline)
        self._has_schema = True


@contextmanager
def _closed_in_the_end(session: neo4j.Session) -> Iterator[None]:
    """Close until it succeeds: on a dead connection each attempt frees one layer and raises."""
    try:
        yield
    finally:
        for _ in range(4):
            with suppress(Exception):
                session.close()
            if session.closed():
                break


def _make_constraint(session: neo4j.Session, statement: str) -> None:
    """Make a constraint. A client that was killed while it made one may have left the index without
    the constraint. Whoever makes one holds a lock, so such an index is nobody's and is dropped.
    """
    try:
        session.run(statement).consume()
    except neo4j.exceptions.ClientError as error:
        if error.code != "Neo.ClientError.Schema.IndexWithNameAlreadyExists":
            raise
        session.run(cypher.drop_index(statement)).consume()
        session.run(statement).consume()
