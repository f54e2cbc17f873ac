"""When an answer may have changed, and when a user was last seen."""

from graph.model import NO_ROW, NO_TIME
from recommender.ranking.request import Request
from recommender.ranking.sources import TRENDING
from recommender.serving.recommend import Recommender


def version_of(recommender: Recommender, request: Request, now: int) -> str | None:
    """A text that changes when the answer to a request may change; None: there is no such text.

    There is none when the answer depends on what other users do. The ages of items, which
    `freshness` looks at, do not change the text. If rules, contexts or a filter depend on the
    time, the text changes every minute.
    """
    if request.similar_to is not None:
        return None
    users = (request.user, *request.household, *(p.name for p in request.mix))
    by_time = (
        recommender.rulebook.rules or recommender.contexts or recommender.settings.rules
        or request.filter.at(now) is not request.filter
    )  # fmt: skip
    minute = now // 60 if by_time else ""
    own_name = recommender.overlay.own_name
    holds = recommender.overlay.version([own_name(user) for user in users if user is not None])
    lately: tuple[int, ...] = ()
    if trends := recommender.overlay.trends:
        alone = not any(recommender.overlay.has_history(own_name(user)) for user in users if user)
        if request.source == TRENDING or (alone and any(users)):
            lately = trends.stamp, now // 60
    sessions = recommender.overlay.sessions.version(request.sessions, now)
    return f"{holds} {recommender.edited} {minute} {sessions} {lately}"


def last_seen(recommender: Recommender, request: Request, now: int) -> int | None:
    """When the user of a request was last seen; `now` if they did something since the refresh,
    or if it names a session.

    None: there is no user, or the time is not known.
    """
    if request.sessions:
        return now
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
