"""Whether a user agrees to be tracked, read from the journal's file inside a transaction."""

import sqlite3
from collections.abc import Callable

import orjson

from recommender.inbox.facts import ALIAS, CONSENT, FEEDBACK, Fact

NOT_TRACKED = "this user does not agree to be tracked"


def any_consent(db: sqlite3.Connection) -> bool:
    """Whether anybody ever gave or withdrew a consent; if not, facts need no check."""
    query = "SELECT 1 FROM facts WHERE kind = 'consent' LIMIT 1"
    return db.execute(query).fetchone() is not None


def why_untracked(
    db: sqlite3.Connection, fact: Fact, tracked: Callable[[str], bool] | None = None
) -> str | None:
    """Why what a user did is refused: they do not agree to `track`. None: it is accepted.

    `tracked` tells it of users of whom the journal does not know what they said; None: they agree.
    """
    if fact.kind not in ("events", ALIAS, *FEEDBACK):
        return None
    agrees = None
    for (payload,) in db.execute(
        "SELECT payload FROM facts WHERE kind = 'consent' AND subject = ? ORDER BY seq",
        (fact.subject,),
    ):
        agrees = orjson.loads(payload)[CONSENT].get("track", agrees)
    if agrees is None and tracked is not None:
        user = orjson.loads(fact.payload).get("id" if fact.kind == ALIAS else "user")
        agrees = user is None or tracked(user)
    return NOT_TRACKED if agrees is False else None
