"""Facts that the store refused: kept aside with the reason until somebody decides.

They also stay in the journal and count in lists, because they were acknowledged.
"""

from dataclasses import dataclass
from typing import Any

from graph.errors import NotFound
from recommender.inbox.aliases import renamed
from recommender.inbox.facts import Row, fact, row, subject
from recommender.inbox.journal import Journal


@dataclass(frozen=True)
class Aside:
    """A fact in the quarantine."""

    fact: Row
    reason: str
    at: int  # seconds since 1970, when the store refused it

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return self.fact._asdict() | {"reason": self.reason, "at": self.at}


def put_aside(journal: Journal, refused: Row, reason: str, *, now: int) -> None:
    """Keep a fact and why it was refused; doing it twice is fine."""
    with journal.transaction() as db:
        payload = fact(refused.kind, refused.payload).payload
        db.execute(
            "INSERT OR REPLACE INTO quarantine VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                refused.sequence,
                refused.kind,
                subject(refused.kind, refused.payload),
                payload,
                refused.acknowledged,
                reason,
                now,
            ),
        )


def aside(journal: Journal) -> list[Aside]:
    """What is in the quarantine, by number."""
    with journal.reading() as db:
        if db is None:
            return []
        rows = db.execute(
            "SELECT seq, kind, payload, acknowledged, reason, at FROM quarantine ORDER BY seq"
        )
        return [Aside(row(*columns[:4]), *columns[4:]) for columns in rows]


def count_aside(journal: Journal) -> int:
    """How many facts are in the quarantine."""
    with journal.reading() as db:
        return 0 if db is None else int(db.execute("SELECT count(*) FROM quarantine").fetchone()[0])


def aside_at(journal: Journal, sequence: int) -> Aside:
    """One fact of the quarantine, by its number.

    Raises:
        NotFound: it holds no such number.
    """
    for entry in aside(journal):
        if entry.fact.sequence == sequence:
            return entry
    raise NotFound(
        f"no fact with the number {sequence} is in the quarantine; `nichegraph inbox list` shows it"
    )


def retry(journal: Journal, sequence: int, *, now: int) -> int:
    """Let the store try a fact again, which is now the newest one; its new number."""
    entry = aside_at(journal, sequence)
    with journal.transaction() as db:
        again = renamed(db, fact(entry.fact.kind, entry.fact.payload))
        written = db.execute(
            "INSERT INTO facts (kind, key, subject, payload, acknowledged) VALUES (?, ?, ?, ?, ?)",
            (again.kind, again.key, again.subject, again.payload, now),
        )
        db.execute("DELETE FROM quarantine WHERE seq = ?", (sequence,))
        db.execute("DELETE FROM facts WHERE seq = ?", (sequence,))
        return int(written.lastrowid or 0)


def drop(journal: Journal, sequence: int) -> None:
    """Forget a fact of the quarantine for good, in the journal too."""
    aside_at(journal, sequence)
    with journal.transaction() as db:
        db.execute("DELETE FROM quarantine WHERE seq = ?", (sequence,))
        db.execute("DELETE FROM facts WHERE seq = ?", (sequence,))
