"""The journal: a SQLite file in the home, where a fact is stored before it is acknowledged.

Every process of a host may write and read it. Requests of the same moment share a commit: one of
them also writes the facts of all others that wait in its process. A commit is on the disk
(`synchronous=FULL`) before anybody reads it, so what was read or acknowledged is never taken back.
"""

import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from graph.durable import sync
from graph.errors import InboxFull, StoreAway
from graph.model import SESSION
from graph.sqlite_file import (
    as_it_lies,
    committed,
    connect,
    database_errors,
    is_full,
    opening,
    operational_errors,
)
from recommender.inbox.appending import Receipt, Served, Waiting, last_load, write_once
from recommender.inbox.facts import CONSENT, Fact, Row, row
from recommender.inbox.schema import foreign, prepare

PATIENCE = 5.0  # seconds that a write waits for its turn
TRIMMED = 10_000  # facts removed in one transaction, so that writes need not wait long
CHECK_SECONDS = 1.0  # how old what is known of size and disk may be


@dataclass(frozen=True)
class Limits:
    """Where the journal takes no more writes."""

    most_bytes: int = 2_000_000_000  # of facts that are kept
    free_bytes: int = 200_000_000  # that others on the disk must have left


class Journal:
    """The journal in the file at `path`, made by the first write; threads may share it.

    With a key (64 hexadecimal digits), it and the files beside it are encrypted.
    """

    def __init__(self, path: Path, limits: Limits | None = None, key: str | None = None) -> None:
        """Remember where it is; nothing is opened."""
        self.path = path
        self.key = key
        self.limits = limits or Limits()
        self.served = Served()  # set by a server
        self._waiting: list[Waiting] = []
        self._led = False  # whether a thread is about to commit what waits
        self._queue = threading.Condition()  # held for moments, around these two
        self._turn = threading.Lock()  # held by whoever commits
        self._reading = threading.Lock()
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._checked = float("-inf")
        self._full: str | None = None

    def append(
        self,
        facts: Sequence[Fact],
        *,
        now: int,
        request: str | None = None,
        atomic: bool = False,
        moves: bool = True,
    ) -> list[Receipt]:
        """Write facts in one transaction; they are on the disk when this returns.

        Args:
            facts: in the order in which they happened.
            now: seconds since 1970, the time of their acknowledgement.
            request: the caller's name for this request; under a name that came before, within
                `REPLY_SECONDS`, nothing is written and the answer is what it was then.
            atomic: if one is refused, write none of them.
            moves: an event whose id comes with another user is that user's from now on; else it is
                refused.

        Raises:
            InputError: the name came before, with other facts.
            InboxFull: the journal or the disk is at its limit; nothing was written.
            StoreAway: the file cannot be written, or others keep it busy. The facts may have been
                written all the same: sending them again does no harm.
            StoreForeign: the file is not a journal that this version knows.
        """
        if not facts:
            return []
        mine = Waiting(facts, now, request, atomic, moves)
        with self._queue:
            self._waiting.append(mine)
            until = time.monotonic() + 2 * PATIENCE
            while self._led and not mine.done:
                if not self._queue.wait(until - time.monotonic()):
                    raise self._busy()
            if not mine.done:
                self._led = True
        if not mine.done:
            self._lead()
        if mine.error is not None:
            raise mine.error
        return mine.receipts

    def last_sequence(self) -> int:
        """The number of the newest fact, 0 when there is none; costs some microseconds."""
        with self._read() as db:
            if db is None:
                return 0
            newest = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'facts'").fetchone()
            return int(newest[0]) if newest else 0

    def last_load(self) -> int:
        """The number of the newest load past the journal, 0 when there is none."""
        with self._read() as db:
            return 0 if db is None else last_load(db)

    def facts_after(self, sequence: int, limit: int = 100_000) -> list[Row]:
        """The first `limit` facts whose number is above `sequence`, in order."""
        return self._facts("WHERE seq > ? ORDER BY seq LIMIT ?", sequence, limit)

    def standing_facts(self, upto: int) -> list[Row]:
        """The facts up to a number that no release holds, whatever it was made from: consent."""
        return self._facts("WHERE kind = ? AND seq <= ? ORDER BY seq", CONSENT, upto)

    def session_events(self, upto: int, seconds: int) -> list[Row]:
        """The events up to a number that name a session, in order: those of the last `seconds`.

        The time is counted back from the newest fact.
        """
        events = self._facts(
            "WHERE kind = 'events' AND seq > ifnull((SELECT seq FROM facts WHERE seq <= ?1 "
            "AND acknowledged < (SELECT acknowledged FROM facts ORDER BY seq DESC LIMIT 1) - ?2 "
            "ORDER BY seq DESC LIMIT 1), 0) AND seq <= ?1 AND instr(payload, ?3) ORDER BY seq",
            upto,
            seconds,
            f'"{SESSION}":'.encode(),
        )
        return [event for event in events if SESSION in event.payload]

    def trim(self, upto: int, before: int | None = None) -> int:
        """Remove at most `TRIMMED` facts up to a number, but for standing ones; how many went.

        For facts that the store and every release contain: nobody needs them again, but for the
        sessions that run. So facts stay that were not acknowledged `before` that time; None: none.
        """
        with self.transaction() as db:
            gone = db.execute(
                "DELETE FROM facts WHERE seq IN (SELECT seq FROM facts WHERE seq <= ? AND "
                "kind <> ? AND acknowledged < ifnull(?, acknowledged + 1) ORDER BY seq LIMIT ?)",
                (upto, CONSENT, before, TRIMMED),
            )
            return gone.rowcount

    def facts_about(self, subject: int) -> list[Row]:
        """The facts about a user or an item (see `facts.user_subject`), in order.

        Two subjects may, once in 10^19, share a number: look at the payload.
        """
        return self._facts("WHERE subject = ? ORDER BY seq", subject)

    def _facts(self, which: str, *values: object) -> list[Row]:
        """Facts by the clauses that end a `SELECT`."""
        with self._read() as db:
            if db is None:
                return []
            rows = db.execute(f"SELECT seq, kind, payload, acknowledged FROM facts {which}", values)
            return [row(*columns) for columns in rows]

    def identity(self) -> str:
        """The identity of this journal, unlike any other's; "" while nothing was written."""
        with self._read() as db:
            if db is None:
                return ""
            return str(db.execute("SELECT value FROM about WHERE name = 'id'").fetchone()[0])

    def rename(self, above: int) -> None:
        """Take a new identity, and give only numbers above this one from now on."""
        with self.transaction() as db:
            db.execute("UPDATE about SET value = lower(hex(randomblob(8))) WHERE name = 'id'")
            db.execute(
                "INSERT INTO sqlite_sequence SELECT 'facts', 0 WHERE NOT EXISTS "
                "(SELECT 1 FROM sqlite_sequence WHERE name = 'facts')"
            )
            db.execute(
                "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'facts'", (above,)
            )

    def shorten(self) -> bool:
        """Empty the write-ahead file, so that nothing removed is left in it; False: others read."""
        with self._turn, self._answers():
            if self._writer is None:
                self._writer = _made(self.path, self.key)
            busy, *_ = self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            return not busy

    def close(self) -> None:
        """Give back the connections; calling it twice is fine."""
        with self._turn, self._reading:
            for db in (self._writer, self._reader):
                if db is not None:
                    db.close()
            self._writer = self._reader = None

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction that writes, for the other modules of this room."""
        if not self._turn.acquire(timeout=2 * PATIENCE):
            raise self._busy()
        try:
            with self._answers(), self._written() as db:
                yield db
        finally:
            self._turn.release()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection | None]:
        """A connection that reads, for the other modules of this room; None without a file."""
        with self._read() as db:
            yield db

    def _lead(self) -> None:
        """Commit everything that waits, and let the others know."""
        try:
            if not self._turn.acquire(timeout=2 * PATIENCE):
                raise self._busy()
            try:
                self._commit()
            finally:
                self._turn.release()
        finally:
            with self._queue:
                self._led = False
                self._queue.notify_all()

    def _commit(self) -> None:
        together: list[Waiting] = []
        try:
            with self._answers():
                self._check_room()
                with self._written() as db:
                    together = self._taken()  # as late as possible: more came meanwhile
                    loaded = last_load(db)
                    for entry in together:
                        entry.receipts = write_once(db, entry, loaded, self.served)
        except BaseException as error:
            together = together or self._taken()
            for entry in together:
                entry.error, entry.receipts = error, []
            if not isinstance(error, Exception):
                raise
        finally:
            for entry in together:
                entry.done = True

    def _taken(self) -> list[Waiting]:
        with self._queue:
            together, self._waiting = self._waiting, []
        return together

    def _busy(self) -> StoreAway:
        return StoreAway(f"{self.path}: other writes keep it busy; try again")

    @contextmanager
    def _written(self) -> Iterator[sqlite3.Connection]:
        if self._writer is None:
            self._writer = _made(self.path, self.key)
        db = self._writer
        _begin(db)
        with committed(db):
            yield db

    @contextmanager
    def _read(self) -> Iterator[sqlite3.Connection | None]:
        with self._reading, self._answers():
            if self._reader is None and self.path.exists():
                try:
                    self._reader = _connected(self.path, self.key)
                except operational_errors() as error:
                    with closing(as_it_lies(self.path, error, self.key)) as db:
                        yield db
                    return
            yield self._reader

    def _check_room(self) -> None:
        moment = time.monotonic()
        if moment - self._checked >= CHECK_SECONDS:
            self._checked = moment
            self._full = self._why_full()
        if self._full is not None:
            raise InboxFull(self._full)

    def why_closed(self) -> str | None:
        """Why writes are refused with `InboxFull` now; None: they are accepted."""
        with self._answers():
            return self._why_locked() or (self._why_full() if self.path.exists() else None)

    def _why_locked(self) -> str | None:
        folder = next(each for each in self.path.parents if each.exists())
        if os.access(folder, os.W_OK):
            return None
        return f"{self.path}: {folder} is read-only; mount it writable"

    def _why_full(self) -> str | None:
        folder = self.path.parent
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        if free < self.limits.free_bytes:
            return (
                f"{self.path}: {free:,} bytes are free on its disk, and writes leave "
                f"{self.limits.free_bytes:,} to others (setting inbox_free_bytes); make room"
            )
        size = self.size()
        if size > self.limits.most_bytes:
            return (
                f"{self.path}: it holds {size:,} bytes, more than {self.limits.most_bytes:,} "
                "(setting inbox_bytes); it shrinks when the store takes the facts and a refresh "
                "has learned from them"
            )
        return None

    def size(self) -> int:
        """Bytes of the pages in use."""
        with self._read() as db:
            if db is None:
                return 0
            used = (
                "SELECT page_count - freelist_count FROM pragma_page_count, pragma_freelist_count"
            )
            pages = db.execute(used).fetchone()[0]
            return int(pages) * int(db.execute("PRAGMA page_size").fetchone()[0])

    @contextmanager
    def _answers(self) -> Iterator[None]:
        """Say in our words what SQLite or the file system refuses."""
        try:
            yield
        except operational_errors() as error:
            if is_full(error, self.path):
                raise InboxFull(f"{self.path}: its disk is full; make room") from error
            raise StoreAway(
                self._why_locked()
                or f"{self.path}: {error}; check the disk and the folder's permissions"
            ) from error
        except database_errors() as error:
            raise foreign(self.path, self.key, error) from error
        except OSError as error:
            raise StoreAway(
                self._why_locked() or f"{self.path}: {error.strerror or error}"
            ) from error


def _made(path: Path, key: str | None) -> sqlite3.Connection:
    """A connection to the file, which is made, and its name put on the disk, when it is new."""
    new = not path.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    db = _connected(path, key)
    for folder in (path.parent, path.parent.parent) if new else ():
        sync(folder)
    return db


def _connected(path: Path, key: str | None) -> sqlite3.Connection:
    with opening(path):
        db = connect(path, key, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            prepare(db, path)
        except BaseException:
            db.close()
            raise
        return db


def _begin(db: sqlite3.Connection) -> None:
    """Begin to write. SQLite's own waiting sleeps ever longer, and a commit takes but a moment."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            db.execute("BEGIN IMMEDIATE")
        except operational_errors() as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.0005)
        else:
            return
