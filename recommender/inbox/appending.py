"""Writing facts into the journal's file in a transaction: each is new, repeated or refused."""

import hashlib
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import orjson

from graph.errors import InputError
from recommender.inbox import aliases
from recommender.inbox.consent import any_consent, why_untracked
from recommender.inbox.dating import Released, dated
from recommender.inbox.erased import any_erasure, why_refused
from recommender.inbox.facts import (
    ALIAS,
    CONSENT,
    EVENT_UNDONE,
    LOAD,
    PUT,
    Fact,
    fact,
    row,
    user_subject,
)

Tracked = Callable[[str], bool]  # whether a user agrees to that, if the journal does not know
Stored = tuple[int, str, bytes, int]  # a fact's number, kind, payload and time
NOT_YOURS = "another user's event has this event_id"
REPLY_SECONDS = 86_400  # how long a repeated request gets its first answer again


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a fact."""

    sequence: int  # number of the fact; of the earlier fact if repeated; 0: refused
    repeated: bool  # it changes nothing, and was not written again
    refused: str | None = None  # why it was not written: its person is erased, or not tracked


NOT_WRITTEN = Receipt(0, repeated=False)  # because another fact of an atomic request is refused


@dataclass(frozen=True, slots=True)
class Served:
    """What a server knows beside the journal."""

    tracked: Tracked | None = None  # None: everybody agrees who has not said
    released: Callable[[], Released] | None = None  # None: new items get no time of their own


@dataclass(slots=True)
class Waiting:
    """Facts of one request, until they are committed or refused."""

    facts: Sequence[Fact]
    now: int
    request: str | None
    atomic: bool = False  # write none of them if one is refused
    moves: bool = True  # an event whose id comes with another user is that user's; else refused
    receipts: list[Receipt] = ()  # type: ignore[assignment]
    error: BaseException | None = None
    done: bool = False


def write_once(
    db: sqlite3.Connection, entry: Waiting, loaded: int, served: Served
) -> list[Receipt]:
    """Write the facts of a request; one that was answered before gets the same answer."""
    if entry.request is None:
        return _write_all(db, entry, loaded, served)
    name = hashlib.sha256(entry.request.encode()).digest()
    digest = hashlib.sha256(b"atomic" if entry.atomic else b"")
    for each in entry.facts:
        digest.update(b"%s %d " % (each.kind.encode(), len(each.payload)) + each.payload)
    db.execute("DELETE FROM replies WHERE at < ?", (entry.now - REPLY_SECONDS,))
    before = db.execute(
        "SELECT digest, receipts FROM replies WHERE request = ?", (name,)
    ).fetchone()
    if before is None:
        receipts = _write_all(db, entry, loaded, served)
        if entry.atomic and any(receipt.refused for receipt in receipts):
            return receipts  # nothing was written, so the same request may be tried again
        numbers = orjson.dumps(
            [[receipt.sequence, receipt.repeated, receipt.refused] for receipt in receipts]
        )
        reply = (name, digest.digest(), numbers, entry.now)
        db.execute("INSERT INTO replies VALUES (?, ?, ?, ?)", reply)
        return receipts
    if before[0] != digest.digest():
        entry.error = InputError(
            "this Idempotency-Key was used before with another body; use a new key for each request"
        )
        return []
    return [Receipt(*numbers) for numbers in orjson.loads(before[1])]


def _write_all(
    db: sqlite3.Connection, entry: Waiting, loaded: int, served: Served
) -> list[Receipt]:
    """Insert what is new; of an atomic request nothing if any of it is refused."""
    if not entry.atomic:
        return _write(db, entry, loaded, served)
    db.execute("SAVEPOINT request")  # others share the transaction
    receipts = _write(db, entry, loaded, served)
    if any(receipt.refused for receipt in receipts):
        db.execute("ROLLBACK TO request")
        receipts = [receipt if receipt.refused else NOT_WRITTEN for receipt in receipts]
    db.execute("RELEASE request")
    return receipts


def _write(db: sqlite3.Connection, entry: Waiting, loaded: int, served: Served) -> list[Receipt]:
    """Insert what is new, in order."""
    receipts, now = [], entry.now
    puts = any(fact.kind == PUT for fact in entry.facts)
    released = served.released() if puts and served.released is not None else None
    watched, any_consents, joined = any_erasure(db), any_consent(db), aliases.any_alias(db)
    for sent in entry.facts:
        own = aliases.renamed(db, sent) if joined else sent
        why = why_refused(db, own, now) if watched else None
        if why is None and (any_consents or served.tracked is not None):
            why = why_untracked(db, own, served.tracked)
        before = None
        if why is None and own.kind == ALIAS:
            before, why = aliases.joined_before(db, own)
        if why is not None:
            receipts.append(Receipt(0, repeated=False, refused=why))
            continue
        if released is not None:
            own = dated(db, own, now, loaded, released)
        newest = None
        for form in dict.fromkeys((own, sent)):  # it may have been sent before it was joined
            newest = _newest(db, form)
            before = before or _same(newest, form, loaded)
        if before is not None:
            receipts.append(Receipt(before, repeated=True))
            continue
        undone = _of_another(db, own, newest)
        if undone is not None and not entry.moves:
            receipts.append(Receipt(0, repeated=False, refused=NOT_YOURS))
            continue
        if undone is not None:
            _insert(db, undone, now)
        sequence = _insert(db, own, now)
        receipts.append(Receipt(sequence, repeated=False))
        any_consents = any_consents or own.kind == CONSENT
        if own.kind == ALIAS:
            joined, consent = True, aliases.note(db, own, sequence)
            if consent is not None:
                _insert(db, consent, now)
                any_consents = True
    return receipts


def _insert(db: sqlite3.Connection, fact: Fact, now: int) -> int:
    """Write a fact; its number."""
    written = db.execute(
        "INSERT INTO facts (kind, key, subject, payload, acknowledged) VALUES (?, ?, ?, ?, ?)",
        (fact.kind, fact.key, fact.subject, fact.payload, now),
    )
    return int(written.lastrowid or 0)


def _newest(db: sqlite3.Connection, fact: Fact) -> Stored | None:
    """The last fact about the same row of a table, or else about the same user or item."""
    if fact.key is not None:
        column, value = "key", fact.key
    elif fact.subject:
        column, value = "subject", fact.subject
    else:
        return None
    newest: Stored | None = db.execute(
        f"SELECT seq, kind, payload, acknowledged FROM facts WHERE {column} = ? "
        "ORDER BY seq DESC LIMIT 1",
        (value,),
    ).fetchone()
    return newest


def _same(newest: Stored | None, fact: Fact, loaded: int) -> int | None:
    """The number of the last fact if it says the same and still holds."""
    if newest is None or newest[1:3] != (fact.kind, fact.payload) or newest[0] < loaded:
        return None
    return newest[0]


def _of_another(db: sqlite3.Connection, event: Fact, newest: Stored | None) -> Fact | None:
    """What takes an event from the user who had it, when its id comes again with another one."""
    if newest is None or event.kind != "events" or newest[1] != "events":
        return None
    before = row(*newest).payload
    user = aliases.own_name_in(db, before["user"])
    if "event_id" not in before or user_subject(user) == event.subject:
        return None
    return fact(EVENT_UNDONE, before | {"user": user})


def last_load(db: sqlite3.Connection) -> int:
    """The number of the last load past the journal, which may have overwritten earlier facts."""
    newest = db.execute("SELECT max(seq) FROM facts WHERE kind = ?", (LOAD,)).fetchone()
    return int(newest[0] or 0)
