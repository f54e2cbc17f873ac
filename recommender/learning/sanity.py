"""What no release may look like: checks without statistics, compared with the served release.

Each check is a small function without statistics. It gives None, or a sentence that says what was
seen and what to do. Items and users of two releases are matched by ids, never by rows.
"""

from collections.abc import Callable, Mapping

from recommender.learning import data_checks as data
from recommender.learning import model_checks as model
from recommender.learning.checked_release import Seen, Text
from recommender.learning.gates import Reason
from recommender.releases.release import Release


def checked(seen: Seen) -> tuple[list[Reason], list[str]]:
    """Every reason against a release, and the names of all checks that were made."""
    reasons = []
    for name, check in CHECKS.items():
        text = check(seen)
        if text:
            reasons.append(Reason(name, text))
    return reasons, list(CHECKS)


def _beside(check: Callable[[Release, Release], Text]) -> Callable[[Seen], Text]:
    """A check that compares with the served release; nothing to say where none is served."""
    return lambda seen: None if seen.old is None else check(seen.new, seen.old)


def _but_expired(
    check: Callable[[Release, Release, Mapping[str, int]], Text],
) -> Callable[[Seen], Text]:
    """The same; what was no longer to be kept is not missed."""
    return lambda seen: None if seen.old is None else check(seen.new, seen.old, seen.expired)


CHECKS: dict[str, Callable[[Seen], Text]] = {
    "older snapshot": _beside(data.older),
    "items gone": _beside(data.items_gone),
    "events gone": _but_expired(data.events_gone),
    "domain gone": _but_expired(data.domain_gone),
    "kind gone": _but_expired(data.kind_gone),
    "times turned back": _beside(data.turned_back),
    "tags changed": _beside(data.tags_changed),
    "column emptied": _beside(data.column_emptied),
    "twins": data.twins,
    "leak": model.leaked,
    "not numbers": model.not_numbers,
    "no vectors": model.no_vectors,
    "vectors moved": model.moved,
    "index recall": model.index_recall,
    "nothing to show": model.nothing_to_show,
}
