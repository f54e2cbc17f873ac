"""Impressions and clicks in requests, checked against the answer that their `request_id` is of."""

import hashlib
from collections.abc import Sequence
from typing import Any

from graph.errors import InputError
from graph.model import SESSION
from loaders.entries import Refused, check_events
from recommender.inbox.facts import FEEDBACK, IMPRESSION, Fact, fact
from recommender.serving.answered import shown

NOBODY = "nobody"  # stands in for the user while an entry without one is checked
KINDS = " or ".join(FEEDBACK)
_COLUMNS = ("user", "item", "kind", "at")


def is_feedback(entry: object) -> bool:
    """Whether an entry is to be checked here, and not as an event."""
    if not isinstance(entry, dict):
        return False
    return "request_id" in entry or "position" in entry or entry.get("kind") == IMPRESSION


def feedback_facts(entries: Sequence[dict[str, Any]], now: int) -> list[Fact | Refused]:
    """Each entry as a fact, or why it is refused; `now` is in seconds since 1970."""
    rest = [
        {name: value for name, value in entry.items() if name not in ("request_id", "position")}
        for entry in entries
    ]
    for entry in rest:
        if not _says_who(entry):
            entry["user"] = NOBODY
    rows = check_events(rest, now)
    return [_fact(entry, row) for entry, row in zip(entries, rows, strict=True)]


def _fact(entry: dict[str, Any], row: dict[str, Any] | Refused) -> Fact | Refused:
    if isinstance(row, Refused):
        return row
    if row["kind"] not in FEEDBACK:
        return Refused("request_id", f"goes with the kind {KINDS}, not with {row['kind']!r}")
    for name in row:
        if name not in (*_COLUMNS, SESSION):
            return Refused(name, f"does not go with the kind {row['kind']}")
    text, position = entry.get("request_id"), entry.get("position")
    if not isinstance(text, str):
        return Refused("request_id", f"{row['kind']} needs that of the answer, as text")
    if position is not None and (type(position) is not int or position < 1):
        return Refused("position", "a whole number from 1")
    try:
        about = shown(text, row["item"], position)
    except InputError as error:
        return Refused("request_id", str(error))
    if not _says_who(entry):
        del row["user"]
    row.pop(SESSION, None)
    content = {
        **row,
        "request": hashlib.blake2b(text.encode(), digest_size=8).hexdigest(),
        "release": about.release,
        "segment": about.segment,
        "source": about.source,
        "position": about.position,
        "rules": list(about.rules) or None,
    }
    return fact(row["kind"], content)


def _says_who(entry: dict[str, Any]) -> bool:
    return bool(entry.get("user") or entry.get(SESSION))
