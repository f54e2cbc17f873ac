"""Who was erased, by pseudonym, read from the journal's file inside a transaction."""

import hashlib
import sqlite3

import orjson

from recommender.inbox.facts import (
    ALIAS,
    CONSENT,
    EVENT_UNDONE,
    FEEDBACK,
    USER_DELETE,
    USER_PUT,
    USER_UNDONE,
    Fact,
    user_subject,
)

RELATED = ("source", "target")
NAMES = {  # kind of fact -> the fields that name a user
    "user_relations": RELATED,
    ALIAS: ("id", "anonymous"),
    **dict.fromkeys(("events", EVENT_UNDONE, *FEEDBACK), ("user",)),
    **dict.fromkeys(("users", USER_PUT, CONSENT, USER_UNDONE), ("id",)),
}


def why_refused(db: sqlite3.Connection, fact: Fact, now: int) -> str | None:
    """Why a fact about a person is refused; None: it is accepted. Called before it is written."""
    names = NAMES.get(fact.kind, ())
    payload = orjson.loads(fact.payload) if names else {}
    for name in names:
        if name not in payload:
            continue  # an impression of somebody who was not named
        erasure = db.execute(
            "SELECT asked, user IS NOT NULL FROM erasures WHERE mark = ? ORDER BY seq DESC LIMIT 1",
            (mark(db, payload[name]),),
        ).fetchone()
        if erasure is None:
            continue
        if erasure[1]:
            return "this user is being erased"
        if payload.get("at", now) < erasure[0]:
            return "this user was erased, and the event is older than the erasure"
    return None


def any_erasure(db: sqlite3.Connection) -> bool:
    """Whether anybody was ever erased; if not, facts need no check."""
    return db.execute("SELECT 1 FROM erasures LIMIT 1").fetchone() is not None


def mark(db: sqlite3.Connection, user: str) -> bytes:
    """A user's pseudonym in this journal."""
    (key,) = db.execute("SELECT value FROM about WHERE name = 'key'").fetchone()
    return pseudonym(key, user)


def pseudonym(key: bytes, user: str) -> bytes:
    """A user's pseudonym under the key of a journal."""
    return hashlib.blake2b(user.encode(), key=key, digest_size=16).digest()


def purge(db: sqlite3.Connection, user: str) -> tuple[int, int]:
    """Remove what the journal and its quarantine hold of a user; how many facts of each."""
    subject = user_subject(user)
    db.execute("DELETE FROM aliases WHERE ? IN (user, anonymous)", (user,))
    gone = []
    for table in ("facts", "quarantine"):
        rows = db.execute(f"SELECT seq, kind, payload FROM {table} WHERE subject = ?", (subject,))
        about_user = [row for row in rows if row[1] != USER_DELETE]
        for kind in ("user_relations", ALIAS):  # by the other id, too
            others = f"SELECT seq, kind, payload FROM {table} WHERE kind = '{kind}'"
            about_user += db.execute(others).fetchall()
        numbers = sorted(
            {(seq,) for seq, kind, payload in about_user if _is_about(kind, payload, user)}
        )
        if numbers:
            db.executemany(f"DELETE FROM {table} WHERE seq = ?", numbers)
        gone.append(len(numbers))
    return gone[0], gone[1]


def _is_about(kind: str, payload: bytes, user: str) -> bool:
    fields = orjson.loads(payload)
    return user in [fields.get(name) for name in NAMES.get(kind, ())]
