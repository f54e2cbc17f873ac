"""The tables of the journal's file, and the steps that update an older file."""

import sqlite3
import time
from pathlib import Path
from typing import Any

from graph.errors import StoreForeign
from graph.sqlite_file import (
    committed,
    in_the_clear,
    is_no_database,
    migrate,
    operational_errors,
)

APPLICATION_ID = 0x4E47494E  # "NGIN" in the file's header
WAIT_SECONDS = 10.0

MIGRATIONS = [
    """
    CREATE TABLE facts (seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, key INTEGER,
        subject INTEGER NOT NULL, payload BLOB NOT NULL, acknowledged INTEGER NOT NULL);
    CREATE INDEX facts_by_key ON facts (key) WHERE key IS NOT NULL;
    CREATE INDEX facts_by_subject ON facts (subject);
    CREATE INDEX loads ON facts (seq) WHERE kind = 'load';
    CREATE INDEX consents ON facts (subject, seq) WHERE kind = 'consent';
    CREATE TABLE replies (request BLOB PRIMARY KEY, digest BLOB NOT NULL, receipts BLOB NOT NULL,
        at INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE quarantine (seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, subject INTEGER NOT NULL,
        payload BLOB NOT NULL, acknowledged INTEGER NOT NULL, reason TEXT NOT NULL,
        at INTEGER NOT NULL);
    CREATE INDEX refused_subjects ON quarantine (subject);
    CREATE INDEX friends ON facts (seq) WHERE kind = 'user_relations';
    CREATE TABLE erasures (seq INTEGER PRIMARY KEY, mark BLOB NOT NULL, user TEXT,
        asked INTEGER NOT NULL);
    CREATE INDEX erased_people ON erasures (mark);
    CREATE TABLE steps (seq INTEGER NOT NULL, place TEXT NOT NULL, at INTEGER NOT NULL,
        count INTEGER NOT NULL);
    CREATE TABLE about (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
    INSERT INTO about VALUES ('id', lower(hex(randomblob(8))));
    INSERT INTO about VALUES ('key', randomblob(32));
    """,
    """
    CREATE TABLE aliases (anonymous TEXT PRIMARY KEY, user TEXT NOT NULL, seq INTEGER NOT NULL)
        WITHOUT ROWID;
    CREATE INDEX names ON aliases (user);
    CREATE INDEX alias_facts ON facts (seq) WHERE kind = 'alias';
    """,
]
"""What takes a file from version n to n + 1; append, never change."""


def prepare(db: sqlite3.Connection, path: Path) -> None:
    """Check whose file this is, bring it to our version, set up the connection.

    Raises:
        StoreForeign: the file is another program's, or a newer version's.
    """
    owner = _patiently(db, "PRAGMA application_id")[0]
    tables = _patiently(db, "SELECT count(*) FROM sqlite_schema")[0]
    if owner != APPLICATION_ID and (owner or tables):
        raise StoreForeign(f"{path}: an SQLite file of another program; move it away")
    _patiently(db, "PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")  # a fact is on the disk before it is acknowledged
    db.execute("PRAGMA secure_delete = ON")  # an erased person leaves no trace in free pages
    db.execute("PRAGMA wal_autocheckpoint = 1000")
    version = _patiently(db, "PRAGMA user_version")[0]
    if version > len(MIGRATIONS):
        raise StoreForeign(
            f"{path}: written by a newer version (file version {version}, this program knows "
            f"{len(MIGRATIONS)}); install the newer nichegraph. Nothing in it was changed"
        )
    if version == len(MIGRATIONS):
        return
    _patiently(db, "BEGIN IMMEDIATE")
    with committed(db):
        migrate(db, MIGRATIONS, APPLICATION_ID)


def foreign(path: Path, key: str | None, error: sqlite3.DatabaseError) -> StoreForeign:
    """What to say when a file of the inbox cannot be understood; it was not changed."""
    if not is_no_database(error):
        return StoreForeign(f"{path}: {error}; move this file away")
    if key is None:
        return StoreForeign(
            f"{path}: no SQLite file, or an encrypted one: name the file of its key with the "
            "setting journal_key_file; if it is not ours, move it away"
        )
    if in_the_clear(path):
        return StoreForeign(
            f"{path}: in the clear, while the setting journal_key_file names a key: stop the "
            "server and run `nichegraph inbox encrypt`; or `nichegraph inbox decrypt`, which also "
            "ends a decryption that was killed, and then remove the setting"
        )
    return StoreForeign(
        f"{path}: encrypted with another key than that of the setting journal_key_file, or "
        "damaged: name the file of its key with that setting; `nichegraph inbox encrypt --old-key "
        "FILE` gives it another key"
    )


def _patiently(db: sqlite3.Connection, statement: str) -> Any:
    """The first row of a statement that others may keep from running for a moment."""
    until = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            return db.execute(statement).fetchone()
        except operational_errors() as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.005)
