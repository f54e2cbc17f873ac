"""Facts about events that have been kept long enough, out of the journal and its quarantine."""

from collections.abc import Sequence

from recommender.inbox.journal import Journal

_WHEN = """coalesce(json_extract(CAST(payload AS TEXT), '$.at'),
    CASE WHEN kind <> 'events' OR json_extract(CAST(payload AS TEXT), '$.event_id') IS NOT NULL
    THEN acknowledged END)"""


def drop_before(
    journal: Journal,
    kinds: Sequence[str],
    event_kind: str | None,
    before: int,
    upto: int,
    *,
    dry_run: bool = False,
) -> int:
    """Remove facts of some kinds that happened before a time; how many.

    Args:
        journal: of the home.
        kinds: of facts.
        event_kind: only events of this kind, in lower case; None: all.
        before: seconds since 1970; what has no time stays.
        upto: only facts up to this number: the store has them.
        dry_run: only count.
    """
    marks = ", ".join("?" * len(kinds))
    which = f"seq <= ? AND kind IN ({marks}) AND {_WHEN} < ?"
    values = [upto, *kinds, before]
    if event_kind is not None:
        which += " AND lower(json_extract(CAST(payload AS TEXT), '$.kind')) = ?"
        values.append(event_kind)
    count = "SELECT count(*) FROM {} WHERE " + which
    if dry_run:
        with journal.reading() as db:
            tables = ("facts", "quarantine") if db is not None else ()
            return sum(
                int(db.execute(count.format(table), values).fetchone()[0])
                for table in tables
                if db is not None
            )
    if not journal.last_sequence():
        return 0
    with journal.transaction() as db:
        gone = sum(
            db.execute(f"DELETE FROM {table} WHERE {which}", values).rowcount
            for table in ("facts", "quarantine")
        )
    journal.shorten()
    return gone
