"""When an answer may have become another, and when somebody was last there."""

from graph.model import NO_ROW, NO_TIME
from recommender.ranking.request import Request
from recommender.serving.recommend import Recommender


def version_of(recommender: Recommender, request: Request, now: int) -> str | None:
    """What, beside the request, its answer is made of; None: also of what others do.

    While it stays the same the answer does, too, but for the ages of items, which `freshness`
    looks at. Where rules, contexts or a filter ask for the time it changes every minute.
    """
    if request.similar_to is not None:
        return None
    users = (request.user, *request.household, *(p.name for p in request.mix))
    by_time = (
        recommender.rulebook.rules or recommender.contexts or recommender.settings.rules
        or request.filter.at(now) is not request.filter
    )  # fmt: skip
    minute = now // 60 if by_time else ""
    holds = recommender.overlay.version([user for user in users if user is not None])
    return f"{holds} {recommender.edited} {minute}"


def last_seen(recommender: Recommender, request: Request, now: int) -> int | None:
    """When the user of a request was last seen; now where something was done since the refresh.

    None: there is no user, or nobody knows.
    """
    if request.user is None:
        return None
    if request.user in recommender.overlay.users:
        return now
    row, seen = (
        recommender.overlay.user_row(request.user),
        recommender.release.segment_arrays.get("last_seen"),
    )
    if row == NO_ROW or seen is None or seen[row] == NO_TIME:
        return None
    return int(seen[row])
