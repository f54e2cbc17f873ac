"""Connections, transactions and versions, for the SQLite files of the store and of the journal.

With a key, a file is one of SQLCipher (https://www.zetetic.net/sqlcipher): all that is written into
it or beside it is encrypted. Its connections are used as those of `sqlite3` are, but what they
raise is of classes of their own: `except operational_errors()` takes both.
"""

import fcntl
import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from graph.errors import MissingExtra
from graph.extras import missing_extra

INDEX_BYTES = 65_536  # that the index of a write-ahead log grows by, and some more


def connect(path: Path | str, key: str | None = None, **options: Any) -> sqlite3.Connection:
    """A connection to a file, encrypted or not.

    Whether the key fits is known when something is read: see `is_no_database`.

    Args:
        path: of the file.
        key: 64 hexadecimal digits; None: the file is not encrypted.
        options: of `sqlite3.connect`.

    Raises:
        MissingExtra: there is a key, and SQLCipher is not installed.
    """
    if key is None:
        return sqlite3.connect(path, **options)
    db: sqlite3.Connection = _sqlcipher().connect(path, **options)
    if db.execute("PRAGMA cipher_version").fetchone() is None:
        db.close()  # it would write in the clear
        raise MissingExtra("the package sqlcipher3 was built without SQLCipher: install its wheel")
    db.execute("PRAGMA cipher_log_level = NONE")  # or a wrong key writes to standard error
    db.execute(f'PRAGMA key = "{as_given(key)}"')
    return db


def _sqlcipher() -> Any:
    try:
        from sqlcipher3 import dbapi2
    except ModuleNotFoundError as error:
        raise (missing_extra(error) or error) from error
    return dbapi2


def as_given(key: str | None) -> str:
    """A key in the form that SQLCipher does not take for words to derive one from; None: ""."""
    return "" if key is None else f"x'{key}'"


def database_errors() -> tuple[type[sqlite3.DatabaseError], ...]:
    """What statements raise on a file, encrypted or not; for `except`."""
    return _classes("DatabaseError")


def operational_errors() -> tuple[type[sqlite3.OperationalError], ...]:
    """Of these, those for which the disk, the folder or other connections are the cause."""
    return _classes("OperationalError")


def _classes(name: str) -> tuple[Any, ...]:
    modules = (sqlite3, sys.modules.get("sqlcipher3.dbapi2"))  # nobody else raises its errors
    return tuple(getattr(module, name) for module in modules if module is not None)


def is_no_database(error: sqlite3.DatabaseError) -> bool:
    """Whether a file cannot be understood: it is no SQLite file, or needs a key, or another."""
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB


def in_the_clear(path: Path) -> bool:
    """Whether a file that a key did not open is one of SQLite that is not encrypted.

    Read by SQLCipher, too, without a key: whoever else opens and closes the file takes away the
    locks that SQLCipher holds on it in this process.
    """
    read_only = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
    try:
        with closing(_sqlcipher().connect(read_only, uri=True)) as db:
            db.execute("SELECT count(*) FROM sqlite_schema")
    except operational_errors():
        return False  # it cannot be read
    except database_errors() as error:
        return not is_no_database(error)
    return True


@contextmanager
def opening(path: Path) -> Iterator[None]:
    """Open a file in this block, so that nobody puts another one in its place meanwhile.

    A connection that was opened to the old file would write its log for the new one. Once it has
    read something, its own locks keep the file where it is.

    What a process that was killed while it replaced a file of this folder left there is removed,
    as it may be in the clear.
    """
    with _folder_locked(path.parent, fcntl.LOCK_SH):
        with suppress(OSError):  # who may not write here leaves that to those who may
            for left in path.parent.glob(f".*{path.suffix}.new*"):
                left.unlink(missing_ok=True)
        yield


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Put another file in the place of this one in this block, while nobody opens it.

    Gives where to write it, beside this one; what is still there at the end is removed.

    Raises:
        BlockingIOError: somebody opens a file in its folder just now.
    """
    aside = _aside(path)
    with _folder_locked(path.parent, fcntl.LOCK_EX | fcntl.LOCK_NB):
        _remove(aside)  # of a process that was killed
        try:
            yield aside
        finally:
            _remove(aside)


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")


def _remove(aside: Path) -> None:
    for file in (aside, aside.with_name(f"{aside.name}-journal")):
        file.unlink(missing_ok=True)


@contextmanager
def _folder_locked(folder: Path, how: int) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)


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


def as_it_lies(
    path: Path, error: sqlite3.OperationalError, key: str | None = None
) -> sqlite3.Connection:
    """A connection that reads a file alone, where a full disk has no room for what stands beside.

    Nobody can write then, so the file does not change meanwhile. `error` is what opening it as ever
    met, and is raised if it has another cause, or if the write-ahead log holds what the file lacks.
    """
    log = path.with_name(f"{path.name}-wal")
    if not is_full(error, path) or (log.exists() and log.stat().st_size > 0):
        raise error
    return connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", key, uri=True)
