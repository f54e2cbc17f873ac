"""Whether a user agrees to be tracked, read from the journal's file inside a transaction."""

import sqlite3

import orjson

from recommender.inbox.facts import ALIAS, CONSENT, FEEDBACK, Fact

NOT_TRACKED = "this user does not agree to be tracked"


def any_consent(db: sqlite3.Connection) -> bool:
    """Whether anybody ever gave or withdrew a consent; if not, facts need no check."""
    query = "SELECT 1 FROM facts WHERE kind = 'consent' LIMIT 1"
    return db.execute(query).fetchone() is not None


def why_untracked(db: sqlite3.Connection, fact: Fact) -> str | None:
    """Why what a user did is refused: they withdrew `track`. None: it is accepted."""
    if fact.kind not in ("events", ALIAS, *FEEDBACK):
        return None
    tracked = True
    for (payload,) in db.execute(
        "SELECT payload FROM facts WHERE kind = 'consent' AND subject = ? ORDER BY seq",
        (fact.subject,),
    ):
        tracked = orjson.loads(payload)[CONSENT].get("track", tracked)
    return None if tracked else NOT_TRACKED
