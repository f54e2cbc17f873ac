"""Keeps a file's checked rows on disk until the whole file is known to be good.

Each load has its own folder and holds a lock on it that ends with the process. Folders without a
lock are leftovers of killed loads, and the next load removes them.

Events are staged in parts by their user. So, whatever the order of the file, the events of a user
reach the store together and extend its sorted tree at one place.
"""

import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from graph.durable import locked
from graph.model import SCHEMAS
from loaders.duplicates import count_distinct, key_hashes, parts_of_events

BATCH_ROWS = 100_000  # in one transaction
EVENT_PARTS = 16
_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")


@contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """A folder for one load inside `folder`, which is made; it is removed at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    collect_leftovers(folder)
    own = Path(tempfile.mkdtemp(prefix="load-", dir=folder))
    try:
        with locked(own / "lock"):
            yield own
    finally:
        shutil.rmtree(own, ignore_errors=True)


def collect_leftovers(folder: Path) -> int:
    """Remove what killed loads left in `folder`; gives the number of such loads."""
    collected = 0
    for left in folder.glob("load-*"):
        try:
            with (left / "lock").open("r") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)
                collected += 1
        except BlockingIOError:
            continue  # that load is still at work
        except FileNotFoundError:
            continue  # being made just now, or killed then: empty, harmless
    return collected


class Stage:
    """The rows of one file, by table, in Arrow streams, with the hashes of their keys."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open = ExitStack()
        self._writers: dict[tuple[str, int], Any] = {}
        self._keys: dict[str, Any] = {}
        self.rows: dict[str, int] = {}

    def add(self, table: str, rows: Any) -> None:
        """Append checked rows of a table."""
        if not rows.num_rows:
            return
        if table not in self._keys:
            keys = (self._folder / f"{table}.keys").open("wb")
            self._keys[table] = self._open.enter_context(keys)
        self._keys[table].write(key_hashes(table, rows).tobytes())
        self.rows[table] = self.rows.get(table, 0) + rows.num_rows
        if table != "events":
            self._writer(table, 0).write_table(rows)
            return
        parts = parts_of_events(rows, EVENT_PARTS)
        rows = rows.take(pa.array(np.argsort(parts, kind="stable")))
        start = 0
        for part, count in enumerate(np.bincount(parts, minlength=EVENT_PARTS).tolist()):
            if count:
                self._writer(table, part).write_table(rows.slice(start, count))
                start += count

    def duplicates(self) -> dict[str, int]:
        """Table -> how many rows repeat a fact of the same file."""
        self._open.close()
        doubled = {}
        for table in self._keys:
            total, distinct = count_distinct(self._folder / f"{table}.keys")
            if total > distinct:
                doubled[table] = total - distinct
        return doubled

    def batches(self) -> Iterator[tuple[str, Any]]:
        """The rows again, in the order of `SCHEMAS`, at most `BATCH_ROWS` at a time."""
        self._open.close()
        for table in SCHEMAS:
            for rows in self._batches(table):
                yield table, rows

    def close(self) -> None:
        """Remove the files."""
        self._open.close()
        for table, part in self._writers:
            self._path(table, part).unlink()
        for table in self._keys:
            (self._folder / f"{table}.keys").unlink()

    def _path(self, table: str, part: int) -> Path:
        return self._folder / f"{table}-{part}.arrows"

    def _writer(self, table: str, part: int) -> Any:
        if (table, part) not in self._writers:
            file = self._open.enter_context(pa.OSFile(str(self._path(table, part)), "wb"))
            writer = pa.ipc.new_stream(file, SCHEMAS[table], options=_OPTIONS)
            self._writers[table, part] = self._open.enter_context(writer)
        return self._writers[table, part]

    def _batches(self, table: str) -> Iterator[Any]:
        """What was staged of a table, in pieces of `BATCH_ROWS` rows; the last may be shorter."""
        waiting: list[Any] = []
        count = 0
        for batch in self._stored(table):
            start = 0
            while start < batch.num_rows:
                piece = batch.slice(start, BATCH_ROWS - count)
                waiting.append(piece)
                start, count = start + piece.num_rows, count + piece.num_rows
                if count == BATCH_ROWS:
                    yield pa.Table.from_batches(waiting)
                    waiting, count = [], 0
        if waiting:
            yield pa.Table.from_batches(waiting)

    def _stored(self, table: str) -> Iterator[Any]:
        """The record batches of a table as they were written, part by part."""
        for part in range(EVENT_PARTS):
            if (table, part) in self._writers:
                with pa.OSFile(str(self._path(table, part)), "rb") as file:
                    yield from pa.ipc.open_stream(file)
