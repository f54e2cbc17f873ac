"""Erasures in the journal: what was said about a person is removed, and does not come back.

An erasure is first *asked* for: the journal's facts about the person are removed at once, and no
new ones are accepted. Then the drain *carries* it into the store. At last it is *done*, and the id
itself is removed. Two things stay: a pseudonym, made with a key of the journal, so that events from
before the erasure are refused when they are sent again; and a receipt of what was removed where,
and when.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from graph.errors import NotFound
from recommender.inbox.erased import mark, pseudonym, purge
from recommender.inbox.facts import USER_DELETE, fact
from recommender.inbox.journal import Journal


@dataclass(frozen=True)
class Step:
    """One place that an erasure has reached, and when."""

    location: str  # "inbox", "store" …
    at: int  # seconds since 1970
    count: int  # of what was removed there


@dataclass(frozen=True)
class Erasure:
    """The receipt of an erasure."""

    sequence: int  # of the fact that asks for it
    asked_at: int  # seconds since 1970
    done: bool
    steps: tuple[Step, ...]

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "sequence": self.sequence,
            "asked": self.asked_at,
            "done": self.done,
            "places": [
                {"place": step.location, "at": step.at, "count": step.count} for step in self.steps
            ],
        }


@dataclass(frozen=True)
class Erased:
    """Everybody who was ever erased from a home, by pseudonym."""

    key: bytes  # of the journal, which makes the pseudonyms
    moments: Mapping[bytes, int]  # pseudonym -> when the last erasure was asked for

    def asked_for(self, user: str) -> int | None:
        """When this user was erased for the last time; None: never."""
        return self.moments.get(pseudonym(self.key, user))

    def knows_more(self, user: str, before: "Erased | None") -> bool:
        """Whether there is an erasure of this user of which an earlier state knew nothing."""
        known = None if before is None else before.asked_for(user)
        now = self.asked_for(user)
        return now is not None and (known is None or known < now)


def erased(journal: Journal) -> Erased | None:
    """Everybody who was ever erased; None if there is no journal yet."""
    with journal.reading() as db:
        if db is None:
            return None
        (key,) = db.execute("SELECT value FROM about WHERE name = 'key'").fetchone()
        rows = db.execute("SELECT mark, max(asked) FROM erasures GROUP BY mark")
        return Erased(key, dict(rows.fetchall()))


def ask(journal: Journal, user: str, person: str, *, now: int) -> int:
    """Remove a user's facts from the journal and append the erasure; the number of that fact.

    Args:
        journal: of the home.
        user: the id, in NFC; it is kept until the store has forgotten it.
        person: the pseudonym, which the fact holds in place of the id.
        now: seconds since 1970.
    """
    deletion = fact(USER_DELETE, {"person": person})
    with journal.transaction() as db:
        gone, aside = purge(db, user)
        written = db.execute(
            "INSERT INTO facts (kind, key, subject, payload, acknowledged) VALUES (?, ?, ?, ?, ?)",
            (deletion.kind, deletion.key, deletion.subject, deletion.payload, now),
        )
        sequence = int(written.lastrowid or 0)
        db.execute(
            "INSERT INTO erasures (seq, mark, user, asked) VALUES (?, ?, ?, ?)",
            (sequence, mark(db, user), user, now),
        )
        counts = [(sequence, "inbox", now, gone), (sequence, "quarantine", now, aside)]
        db.executemany("INSERT INTO steps VALUES (?, ?, ?, ?)", counts)
    return sequence


def user_of(journal: Journal, sequence: int) -> str | None:
    """Whom an erasure is about; None when it is done."""
    with journal.reading() as db:
        if db is None:
            return None
        row = db.execute("SELECT user FROM erasures WHERE seq = ?", (sequence,)).fetchone()
        return row[0] if row else None


def reached(journal: Journal, sequence: int, location: str, *, at: int, count: int = 0) -> None:
    """Note in the receipt that an erasure has reached a place."""
    with journal.transaction() as db:
        db.execute("INSERT INTO steps VALUES (?, ?, ?, ?)", (sequence, location, at, count))


def close(journal: Journal, sequence: int) -> None:
    """End an erasure: remove the id itself, from the write-ahead file, too."""
    with journal.transaction() as db:
        db.execute("UPDATE erasures SET user = NULL WHERE seq = ?", (sequence,))
    journal.shorten()


def still_in_releases(journal: Journal) -> list[int]:
    """The erasures that are done, while releases may still hold what they learned before."""
    with journal.reading() as db:
        if db is None:
            return []
        rows = db.execute(
            "SELECT seq FROM erasures WHERE user IS NULL "
            "AND seq NOT IN (SELECT seq FROM steps WHERE place = 'releases')"
        )
        return [sequence for (sequence,) in rows]


def receipt(journal: Journal, sequence: int) -> Erasure:
    """How far an erasure has come.

    Raises:
        NotFound: no erasure has this number.
    """
    with journal.reading() as db:
        row = (
            db
            and db.execute(
                "SELECT asked, user IS NULL FROM erasures WHERE seq = ?", (sequence,)
            ).fetchone()
        )
        if not db or not row:
            raise NotFound(f"no erasure has the number {sequence}")
        steps = db.execute(
            "SELECT place, at, count FROM steps WHERE seq = ? ORDER BY rowid", (sequence,)
        ).fetchall()
    return Erasure(sequence, row[0], bool(row[1]), tuple(Step(*step) for step in steps))


def open_erasures(journal: Journal) -> int:
    """How many erasures were asked for and are not done yet."""
    with journal.reading() as db:
        if db is None:
            return 0
        counted = db.execute("SELECT count(*) FROM erasures WHERE user IS NOT NULL").fetchone()
        return int(counted[0])
