"""From checked entries to acknowledged facts, and the answer, which has a line for each entry."""

from collections.abc import Sequence
from typing import Any

from api.bootstrap import now
from api.errors import Problem
from loaders.entries import Refused
from recommender.inbox.facts import Fact
from recommender.inbox.journal import Journal

MOST_NAMED = 100  # errors named when a batch is refused as a whole

Answer = tuple[dict[str, Any], int]


def write(
    journal: Journal,
    entries: Sequence[Fact | Refused],
    *,
    listed_as: str | None = None,
    atomic: bool = False,
    request: str | None = None,
    moves: bool = True,
) -> Answer:
    """Append the entries that can be taken, and answer for each one; 202 when they are on the disk.

    Args:
        journal: takes the facts.
        entries: for each entry a fact, or why the check refused it.
        listed_as: the field that held them; None: the request is a single entry, and is refused if
            that entry is.
        atomic: refuse all when one is wrong.
        request: the caller's name for the request, see `Journal.append`.
        moves: see `Journal.append`.
    """
    refused = [(index, entry) for index, entry in enumerate(entries) if isinstance(entry, Refused)]
    if refused and (atomic or listed_as is None):
        raise _refusal(refused, len(entries), listed_as)
    facts = [entry for entry in entries if isinstance(entry, Fact)]
    written = journal.append(facts, now=now(), request=request, atomic=atomic, moves=moves)
    refused = [
        (index, Refused("user", receipt.refused))
        for index, receipt in enumerate(written)
        if receipt.refused is not None
    ]
    if refused and atomic:
        raise _refusal(refused, len(entries), listed_as)
    receipts = iter(written)
    results: list[dict[str, Any]] = []
    for entry in entries:
        if isinstance(entry, Refused):
            error = {"field": entry.field, "message": entry.reason}
            results.append({"status": "refused", "errors": [error]})
            continue
        receipt = next(receipts)
        if receipt.refused is not None:
            if listed_as is None:
                raise _refusal(refused, len(entries), listed_as)
            error = {"field": "user", "message": receipt.refused}
            results.append({"status": "refused", "errors": [error]})
            continue
        status = "repeated" if receipt.repeated else "taken"
        results.append({"status": status, "sequence": receipt.sequence})
    counts = [result["status"] for result in results]
    return {
        "sequence": max((result.get("sequence", 0) for result in results), default=0),
        **{status: counts.count(status) for status in ("taken", "repeated", "refused")},
        "results": results,
    }, 202


def _refusal(refused: list[tuple[int, Refused]], count: int, listed_as: str | None) -> Problem:
    errors = [
        (
            ".".join(part for part in (listed_as and f"{listed_as}.{index}", entry.field) if part),
            entry.reason,
        )
        for index, entry in refused[:MOST_NAMED]
    ]
    field, reason = errors[0]
    detail = f"{field}: {reason}" if field else reason
    if listed_as is not None:
        detail = (
            f"nothing was accepted, because {len(refused)} of {count} entries are wrong; {detail}"
        )
    return Problem(400, detail, errors)
