"""Transactions and versions, for the SQLite files of the store and of the journal."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


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
