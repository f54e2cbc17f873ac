"""Writing facts into the journal's file in a transaction: each is new, repeated or refused."""

import hashlib
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import orjson

from graph.errors import InputError
from recommender.inbox import aliases
from recommender.inbox.consent import any_consent, why_untracked
from recommender.inbox.erased import any_erasure, why_refused
from recommender.inbox.facts import ALIAS, CONSENT, LOAD, Fact

Tracked = Callable[[str], bool]  # whether a user agrees to that, if the journal does not know
REPLY_SECONDS = 86_400  # how long a repeated request gets its first answer again


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a fact."""

    sequence: int  # number of the fact; of the earlier fact if repeated; 0: refused
    repeated: bool  # it changes nothing, and was not written again
    refused: str | None = None  # why it was not written: its person is erased, or not tracked


NOT_WRITTEN = Receipt(0, repeated=False)  # because another fact of an atomic request is refused


@dataclass(slots=True)
class Waiting:
    """Facts of one request, until they are committed or refused."""

    facts: Sequence[Fact]
    now: int
    request: str | None
    atomic: bool = False  # write none of them if one is refused
    receipts: list[Receipt] = ()  # type: ignore[assignment]
    error: BaseException | None = None
    done: bool = False


def write_once(
    db: sqlite3.Connection, entry: Waiting, loaded: int, tracked: Tracked | None = None
) -> list[Receipt]:
    """Write the facts of a request; one that was answered before gets the same answer."""
    if entry.request is None:
        return _write_all(db, entry, loaded, tracked)
    name = hashlib.sha256(entry.request.encode()).digest()
    digest = hashlib.sha256(b"atomic" if entry.atomic else b"")
    for fact in entry.facts:
        digest.update(b"%s %d " % (fact.kind.encode(), len(fact.payload)) + fact.payload)
    db.execute("DELETE FROM replies WHERE at < ?", (entry.now - REPLY_SECONDS,))
    before = db.execute(
        "SELECT digest, receipts FROM replies WHERE request = ?", (name,)
    ).fetchone()
    if before is None:
        receipts = _write_all(db, entry, loaded, tracked)
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
    db: sqlite3.Connection, entry: Waiting, loaded: int, tracked: Tracked | None
) -> list[Receipt]:
    """Insert what is new; of an atomic request nothing if any of it is refused."""
    if not entry.atomic:
        return _write(db, entry.facts, entry.now, loaded, tracked)
    db.execute("SAVEPOINT request")  # others share the transaction
    receipts = _write(db, entry.facts, entry.now, loaded, tracked)
    if any(receipt.refused for receipt in receipts):
        db.execute("ROLLBACK TO request")
        receipts = [receipt if receipt.refused else NOT_WRITTEN for receipt in receipts]
    db.execute("RELEASE request")
    return receipts


def _write(
    db: sqlite3.Connection, facts: Sequence[Fact], now: int, loaded: int, tracked: Tracked | None
) -> list[Receipt]:
    """Insert what is new, in order."""
    receipts = []
    watched, any_consents, joined = any_erasure(db), any_consent(db), aliases.any_alias(db)
    for sent in facts:
        fact = aliases.renamed(db, sent) if joined else sent
        why = why_refused(db, fact, now) if watched else None
        if why is None and (any_consents or tracked is not None):
            why = why_untracked(db, fact, tracked)
        before = None
        if why is None and fact.kind == ALIAS:
            before, why = aliases.joined_before(db, fact)
        if why is not None:
            receipts.append(Receipt(0, repeated=False, refused=why))
            continue
        for form in dict.fromkeys((fact, sent)):  # it may have been sent before it was joined
            before = before or _same(db, form, loaded)
        if before is not None:
            receipts.append(Receipt(before, repeated=True))
            continue
        sequence = _insert(db, fact, now)
        receipts.append(Receipt(sequence, repeated=False))
        any_consents = any_consents or fact.kind == CONSENT
        if fact.kind == ALIAS:
            joined, consent = True, aliases.note(db, fact, sequence)
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


def _same(db: sqlite3.Connection, fact: Fact, loaded: int) -> int | None:
    """The number of an earlier fact that says the same and still holds."""
    if fact.key is not None:
        column, value = "key", fact.key
    elif fact.subject:
        column, value = "subject", fact.subject
    else:
        return None
    newest = db.execute(
        f"SELECT seq, kind, payload FROM facts WHERE {column} = ? ORDER BY seq DESC LIMIT 1",
        (value,),
    ).fetchone()
    if newest is None or newest[1:] != (fact.kind, fact.payload) or newest[0] < loaded:
        return None
    return int(newest[0])


def last_load(db: sqlite3.Connection) -> int:
    """The number of the last load past the journal, which may have overwritten earlier facts."""
    newest = db.execute("SELECT max(seq) FROM facts WHERE kind = ?", (LOAD,)).fetchone()
    return int(newest[0] or 0)
