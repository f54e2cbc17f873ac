"""Anonymous ids that turned out to be somebody: from then on they are other names of that user.

The journal keeps them in a table, changed in the transaction that writes the fact. A fact that
names an anonymous id later is written under the user's own id, so whoever reads the journal on
meets it there. What came before is given to the user by each reader when it hears of the alias:
by the overlay, and by the drain, which joins both in the store (`joining`).
"""

import sqlite3
from typing import Any

import orjson

from recommender.inbox.erased import NAMES, RELATED
from recommender.inbox.facts import CONSENT, Fact, fact, user_subject

TAKEN = "this anonymous id was joined to another user before"
ITSELF = "a user is not an alias of themselves"


def any_alias(db: sqlite3.Connection) -> bool:
    """Whether any anonymous id was ever joined to a user; if not, facts are written as they are."""
    return db.execute("SELECT 1 FROM aliases LIMIT 1").fetchone() is not None


def renamed(db: sqlite3.Connection, written: Fact) -> Fact:
    """A fact about a person under the id that they have now."""
    names = NAMES.get(written.kind, ())
    if not names or names == RELATED:
        return written
    payload = orjson.loads(written.payload)
    if names[0] not in payload:
        return written
    own = own_name_in(db, payload[names[0]])
    return written if own == payload[names[0]] else fact(written.kind, payload | {names[0]: own})


def joined_before(db: sqlite3.Connection, written: Fact) -> tuple[int, str | None]:
    """For an alias: the number of the fact that says the same (0: none), and why it is refused."""
    payload = orjson.loads(written.payload)
    if payload["id"] == payload["anonymous"]:
        return 0, ITSELF
    before = db.execute(
        "SELECT user, seq FROM aliases WHERE anonymous = ?", (payload["anonymous"],)
    ).fetchone()
    if before is None:
        return 0, None
    return (before[1], None) if before[0] == payload["id"] else (0, TAKEN)


def note(db: sqlite3.Connection, written: Fact, sequence: int) -> Fact | None:
    """Note an alias that was written; the consent that it brings the user, if any.

    What somebody did not agree to before they logged in, they do not agree to afterwards, unless
    the user has said something about that purpose themselves.
    """
    payload = orjson.loads(written.payload)
    anonymous, user = payload["anonymous"], payload["id"]
    db.execute("UPDATE aliases SET user = ? WHERE user = ?", (user, anonymous))
    db.execute("INSERT INTO aliases VALUES (?, ?, ?)", (anonymous, user, sequence))
    own = _consent(db, user)
    refused = {
        purpose: False
        for purpose, agrees in _consent(db, anonymous).items()
        if not agrees and purpose not in own
    }
    return fact(CONSENT, {"id": user, "consent": refused}) if refused else None


def own_name_in(db: sqlite3.Connection, user: str) -> str:
    row = db.execute("SELECT user FROM aliases WHERE anonymous = ?", (user,)).fetchone()
    return str(row[0]) if row else user


def _consent(db: sqlite3.Connection, user: str) -> dict[str, bool]:
    agrees: dict[str, Any] = {}
    for (payload,) in db.execute(
        "SELECT payload FROM facts WHERE kind = 'consent' AND subject = ? ORDER BY seq",
        (user_subject(user),),
    ):
        content = orjson.loads(payload)
        if content["id"] == user:
            agrees |= content["consent"]
    return agrees
