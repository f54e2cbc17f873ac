"""Transactions and versions, for the SQLite files of the store and of the journal."""

import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

INDEX_BYTES = 65_536  # that the index of a write-ahead log grows by, and some more


@contextmanager
def committed(db: sqlite3.Connection) -> Iterator[None]:
    """Commit a transaction that has begun, or roll it back when the block raises."""
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:  # when the disk was full, SQLite has rolled back already
            db.execute("ROLLBACK")
        raise


def migrate(db: sqlite3.Connection, migrations: Sequence[str], application_id: int) -> None:
    """Bring a file to version `len(migrations)`, inside a transaction that is already open.

    The version is read inside it, as another process may have migrated the file just before.
    """
    version = db.execute("PRAGMA user_version").fetchone()[0]
    for migration in migrations[version:]:
        for statement in filter(str.strip, migration.split(";")):
            db.execute(statement)
    db.execute(f"PRAGMA user_version = {len(migrations)}")
    db.execute(f"PRAGMA application_id = {application_id}")


def is_full(error: sqlite3.OperationalError, path: Path) -> bool:
    """Whether an error comes of a full disk: SQLite says I/O error where its index has no room."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)  # ours have none
    if code & 0xFF != sqlite3.SQLITE_IOERR:
        return code == sqlite3.SQLITE_FULL
    return shutil.disk_usage(path.parent).free < INDEX_BYTES


def as_it_lies(path: Path, error: sqlite3.OperationalError) -> sqlite3.Connection:
    """A connection that reads a file alone, where a full disk has no room for what stands beside.

    Nobody can write then, so the file does not change meanwhile. `error` is what opening it as ever
    met, and is raised if it has another cause, or if the write-ahead log holds what the file lacks.
    """
    log = path.with_name(f"{path.name}-wal")
    if not is_full(error, path) or (log.exists() and log.stat().st_size > 0):
        raise error
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
