"""Encrypt an inbox that is there, change its key, or write it in the clear again.

Each file is written anew beside the old one, and takes its name when it is on the disk. So it is
whole whenever this is killed, as it was or as it is to be, and a second call does the rest.
"""

import contextlib
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from graph.durable import sync
from graph.errors import InputError, StoreAway, StoreForeign
from graph.sqlite_file import (
    as_given,
    committed,
    connect,
    database_errors,
    in_the_clear,
    is_no_database,
    operational_errors,
    replacing,
)
from recommender.inbox.drain import lease
from recommender.inbox.feedback import feedback_file


def rewrite(journal_file: Path, before: str | None, after: str | None) -> list[str]:
    """Write the inbox's files with another key; the names of those that did not have it yet.

    Args:
        journal_file: of a home on which no server runs.
        before: the present key; None: they are not encrypted.
        after: the key they are to have; None: none.

    Raises:
        InputError: somebody uses the files.
        StoreForeign: a file is neither as before nor as it is to be; it is left alone.
        StoreAway: the disk is full, or does not answer; what is there was not changed.
    """
    files = [path for path in (journal_file, feedback_file(journal_file)) if path.exists()]
    if not files:
        return []
    with lease(journal_file) as alone:
        if not alone:
            raise InputError(f"{journal_file}: a server uses it; stop that first")
        return [path.name for path in files if _rewritten(path, before, after)]


def _rewritten(path: Path, before: str | None, after: str | None) -> bool:
    """Whether a file was written anew; False: it is as it is to be."""
    with _answers(path, before, after), replacing(path) as aside:
        if _fits(path, after):
            return False
        with closing(_both(path, before, aside, after)) as db:
            _copy(db)
            _own(aside, path.stat())
            sync(aside)
            aside.replace(path)  # nobody else can read or write the old file before it is closed
        sync(path.parent)
    return True


def _fits(path: Path, key: str | None) -> bool:
    with closing(connect(path, key)) as db:
        try:
            db.execute("SELECT count(*) FROM sqlite_schema")
        except database_errors() as error:
            if is_no_database(error):
                return False
            raise
        return True


def _both(path: Path, before: str | None, aside: Path, after: str | None) -> sqlite3.Connection:
    """A connection to a file, `old`, that no other one has open, and to what replaces it, `new`."""
    db = connect(":memory:", before or after, timeout=0, isolation_level=None)
    try:
        db.execute("ATTACH ? AS old KEY ?", (str(path), as_given(before)))
        db.execute("PRAGMA old.locking_mode = EXCLUSIVE")
        db.execute("PRAGMA old.journal_mode = DELETE")  # a log would be taken for the new file's
        db.execute("ATTACH ? AS new KEY ?", (str(aside), as_given(after)))
    except BaseException:
        db.close()
        raise
    return db


def _copy(db: sqlite3.Connection) -> None:
    db.execute("BEGIN IMMEDIATE")
    with committed(db):
        db.execute("SELECT sqlcipher_export('new', 'old')").fetchall()
        for name in ("application_id", "user_version"):
            value = db.execute(f"PRAGMA old.{name}").fetchone()[0]
            db.execute(f"PRAGMA new.{name} = {value}")
    db.execute("DETACH new")


def _own(path: Path, like: os.stat_result) -> None:
    """Let a file be used by whoever may use another one, where root does this for a server."""
    path.chmod(stat.S_IMODE(like.st_mode))
    with contextlib.suppress(PermissionError):
        os.chown(path, like.st_uid, like.st_gid)


@contextlib.contextmanager
def _answers(path: Path, before: str | None, after: str | None) -> Iterator[None]:
    """Say in our words what was refused."""
    try:
        yield
    except BlockingIOError as error:
        raise InputError(f"{path} is in use; stop what uses it, and try again") from error
    except operational_errors() as error:
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
            raise InputError(f"{path} is in use; stop what uses it, and try again") from error
        raise StoreAway(f"{path}: {error}; nothing was changed, check the disk") from error
    except database_errors() as error:
        if not is_no_database(error):
            raise StoreForeign(f"{path}: {error}; move this file away") from error
        raise StoreForeign(f"{path}: {_why_unread(path, before, after)}") from error


def _why_unread(path: Path, before: str | None, after: str | None) -> str:
    """What is wrong with a file that opens neither as before nor as it is to be; the remedy."""
    setting = "the setting journal_key_file"
    if before is not None and in_the_clear(path):
        return "in the clear; nothing was changed. Run `nichegraph inbox encrypt` without --old-key"
    if before is None:
        return (
            f"encrypted with another key than that of {setting}, or damaged; nothing was changed. "
            "`nichegraph inbox encrypt --old-key FILE` names the key with which it was written"
        )
    if after is None:
        return (
            f"encrypted with another key than that of {setting}, or damaged; nothing was changed. "
            "Name the file of its key with that setting"
        )
    return (
        f"encrypted with neither the key of --old-key nor that of {setting}, or damaged; nothing "
        "was changed. Name the file of its key with --old-key"
    )
