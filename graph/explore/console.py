"""The guarded Cypher console: it reads the graph, harms nothing and ends in time.

    query ─▶ guard (cypher_guard) ─▶ slot (two at once) ─▶ worker process ─▶ rows ─▶ audit log

The worker (`console_worker`) is a process of its own that is killed at the time limit. With the
embedded engine, resource limits keep it from opening, writing or forking anything; on Neo4j a
query's plan is looked at before it runs. Without the privacy scope every query is answered from a
copy in which users are pseudonyms; `docs/decisions/0009-cypher-privacy.md` says why, and what that
means on Neo4j.
"""

import contextlib
import fcntl
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from graph.errors import QueryRefused, QueryStopped, StoreAway, StoreError
from graph.explore.console_process import KINDS, Worker, built
from graph.explore.copies import local_secret
from graph.explore.cypher_guard import check, check_parameters

GRACE = 0.5  # a worker is killed this many seconds after the limit
MOST_QUERIES = 100  # after so many queries a worker is replaced


@dataclass(frozen=True)
class Limits:
    """What one query may use, and how many may run at once on this host."""

    seconds: float = 5.0
    rows: int = 10_000
    bytes: int = 5_000_000  # of the answer as JSON
    at_once: int = 2
    memory: int = 1 << 30  # bytes of the worker beyond what it needs to open the graph


@dataclass(frozen=True)
class Target:
    """The store behind the console: a SQLite file, or a Neo4j server."""

    uri: str
    user: str = ""
    password: str = ""
    database: str = "neo4j"
    asks_as: str = ""  # the user that queries run as; empty: `user`
    asks_with: str = ""

    @property
    def reader(self) -> dict[str, str]:
        """How a process that runs queries connects to the server."""
        own = (self.asks_as, self.asks_with) if self.asks_as else (self.user, self.password)
        return {"uri": self.uri, "user": own[0], "password": own[1], "database": self.database}

    @property
    def absolute(self) -> "Target":
        """The same store with an absolute path, for processes that run in another folder."""
        if self.is_server:
            return self
        return replace(self, uri=str(Path(self.uri.removeprefix("embedded:")).absolute()))

    @property
    def is_server(self) -> bool:
        """True when the store is a Neo4j server."""
        return self.uri.startswith(("bolt", "neo4j"))


@dataclass(frozen=True)
class QueryResult:
    """Rows of values that JSON knows; nodes, relationships and paths as maps."""

    columns: list[str]
    rows: list[list[Any]]
    truncated: bool  # the row or byte limit was reached
    ms: float
    times: tuple[bool, ...] = ()  # which columns are seconds since 1970


class Console:
    """Runs read-only queries for people who are not trusted.

    Use it from one thread or many; `close` it. Nothing is started before the first query.
    """

    def __init__(
        self,
        target: Target,
        folder: Path,
        *,
        limits: Limits | None = None,
        audit: Path | None = None,
        note: Callable[[dict[str, Any]], None] | None = None,
        now: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """Guard `target`; `folder` (`explore` in the home) keeps copies, slots and the secret.

        `now` gives the seconds since 1970 for the audit log.
        """
        self.target, self.folder = target.absolute, folder.absolute()
        self.limits = limits or Limits()
        self._audit, self._note, self._now = audit, note, now
        self._lock = threading.Lock()
        self._copies: dict[bool, str] = {}  # with names, and with pseudonyms
        self._idle: dict[str, list[Worker]] = {}

    def run(self, query: str, parameters: dict[str, Any], *, privacy: bool) -> QueryResult:
        """Answer one query, or say why not.

        Args:
            query: Cypher, see `graph.explore.cypher_guard` for what may stand in it.
            parameters: by name, without the $.
            privacy: whether the asker may see the names of users; otherwise they are pseudonyms.

        Raises:
            QueryRefused: the guard or the engine will not run it, or it exceeded a limit.
            StoreAway: the store is away, two others are running, or the machine has no room.
        """
        began = time.perf_counter()
        verdict, rows = "failed", 0
        try:
            result = self._answer(query, parameters, privacy)
            verdict, rows = "answered", len(result.rows)
        except QueryStopped:
            verdict = "stopped"
            raise
        except QueryRefused:
            verdict = "refused"
            raise
        except OSError as error:
            raise StoreAway(
                f"The console cannot answer now ({error.strerror or error}). Look for free memory, "
                "disk and open files on the server, and try again."
            ) from error
        else:
            return result
        finally:
            self._log(query, verdict, rows, (time.perf_counter() - began) * 1000, privacy)

    def renew(self) -> None:
        """Forget the copy, so that the next query is answered from the graph as it is then."""
        with self._lock:
            self._copies = {}
            idle, self._idle = self._idle, {}
        for workers in idle.values():
            for worker in workers:
                worker.kill()

    def close(self) -> None:
        """End the workers; calling it twice is fine."""
        self.renew()

    def _answer(self, query: str, parameters: dict[str, Any], privacy: bool) -> QueryResult:
        on_server = self.target.is_server and privacy
        engine = "neo4j" if on_server else "ladybug"
        check_parameters(parameters)
        checked = check(query, engine, parameters)
        missing = sorted(checked.parameters - set(parameters))
        if missing:
            raise QueryRefused(f"This query was not run: give a value for ${missing[0]}.")
        message = {"query": checked.text, "parameters": parameters | checked.strings}
        with _slot(self.folder, self.limits.at_once):
            answer, before = self._ask(message, on_server, privacy)
            if answer.get("starved") and before:  # its earlier queries left it too little memory
                answer, _ = self._ask(message, on_server, privacy)
        if "error" in answer:
            kind = KINDS.get(str(answer["error"]), StoreError)
            raise kind(_with_strings(str(answer["message"]), checked.strings))
        columns = checked.columns
        if columns is None or len(columns) != len(answer["columns"]):
            columns = [_with_strings(column, checked.strings) for column in answer["columns"]]
        return QueryResult(
            columns=columns,
            rows=answer["rows"],
            truncated=answer["truncated"],
            ms=answer["ms"],
            times=checked.times,
        )

    def _ask(self, message: dict[str, Any], on_server: bool, privacy: bool) -> tuple[Any, int]:
        """The answer of a worker, and how many queries it answered before."""
        worker = self._worker("neo4j") if on_server else self._reader_of_copy(privacy)
        before = worker.answered
        try:
            answer = worker.ask(message, self.limits.seconds + GRACE)
        except BaseException:
            worker.kill()
            raise
        if answer.get("error") == "stopped" or "worn" in answer:
            worker.kill()  # its leftovers would starve the next query
        else:
            self._give_back(worker)
        return answer, before

    def _reader_of_copy(self, privacy: bool) -> "Worker":
        copy = self._copy(privacy)
        try:
            return self._worker(copy)
        except StoreError:
            if Path(copy).exists():
                raise
            return self._worker(self._copy(privacy))  # somebody was erased just now

    def _copy(self, privacy: bool) -> str:
        """The path of the embedded graph file, built in a process of its own when needed."""
        with self._lock:
            known = self._copies.get(privacy)
            if known is None or not Path(known).exists():  # a newer copy has replaced it
                order = {
                    "target": asdict(self.target),
                    "folder": str(self.folder),
                    "secret": None if privacy else local_secret(self.folder).hex(),
                }
                self._copies[privacy] = built(order)
                for gone in [graph for graph in self._idle if not _is_there(graph)]:
                    for worker in self._idle.pop(gone):
                        worker.kill()
            return self._copies[privacy]

    def _worker(self, graph: str) -> "Worker":
        with self._lock:
            idle = self._idle.get(graph, [])
            while idle:
                worker = idle.pop()
                if worker.lives():
                    return worker
                worker.kill()
        order: dict[str, Any] = {"limits": asdict(self.limits), "graph": graph}
        if graph == "neo4j":
            order["target"] = self.target.reader
        return Worker(graph, order)

    def _give_back(self, worker: "Worker") -> None:
        worker.answered += 1
        if worker.answered >= MOST_QUERIES:
            worker.kill()
            return
        with self._lock:
            self._idle.setdefault(worker.graph, []).append(worker)

    def _log(self, query: str, verdict: str, rows: int, ms: float, privacy: bool) -> None:
        if self._audit is None:
            return
        line = {
            "at": self._now(),
            "query": hashlib.sha256(query.encode(errors="surrogatepass")).hexdigest(),
            "verdict": verdict,
            "rows": rows,
            "ms": round(ms, 1),
            "privacy": privacy,
        }
        self._audit.parent.mkdir(parents=True, exist_ok=True)
        with self._audit.open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")
        if self._note is not None:
            self._note({name: value for name, value in line.items() if name != "at"})


def _is_there(graph: str) -> bool:
    return graph == "neo4j" or Path(graph).exists()


def _with_strings(text: str, strings: dict[str, Any]) -> str:
    """Put lifted texts back into names of columns and messages, which people read."""
    for name, value in reversed(strings.items()):
        text = text.replace(f"${name}", repr(value))
    return text


@contextlib.contextmanager
def _slot(folder: Path, at_once: int) -> Iterator[None]:
    """Hold one of the host's slots, across all processes; wait up to a second for it."""
    folder.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + 1.0
    while True:
        for number in range(at_once):
            with (folder / f".slot-{number}").open("a") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                yield
                return
        if time.monotonic() > deadline:
            raise StoreAway(f"{at_once} queries are running already; try again in a moment.")
        time.sleep(0.02)
