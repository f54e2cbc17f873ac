"""Why an item is, or would be, shown to somebody, with Cypher that shows the same paths."""

from dataclasses import replace
from typing import Any

from graph.errors import NotFound
from recommender.ranking.request import NEUTRAL, Filter, Request
from recommender.serving import explain
from recommender.serving.recommend import Recommender


def why(recommender: Recommender, user: str, item: str, *, now: int) -> dict[str, Any]:
    """Why an item is, or would be, shown to a user, with Cypher that shows the same paths.

    The item is described as in an answer, even if the user has seen it already: `item`,
    `title`, `score`, its `parts`, `source`, `reasons`. Added are `drawing` (a line of text per
    path) and `cypher`: the `query` and `parameters` of the strongest reason, None where there is
    no reason; each reason has its own, too. `NotFound` when nobody knows the item, or when it is
    hidden, by a rule or otherwise.
    """
    user = recommender.overlay.own_name(user)
    request = Request(user=user, n=1, include_seen=True, profile=NEUTRAL, rules=False)
    segments = recommender.segments_of(request, now=now) if recommender.rulebook.rules else ()
    features = recommender.planner.features_of(request, now)
    rules = recommender.rulebook.in_force(now, segments, features)
    only = Filter(items=(item,), none_of=recommender.rulebook.hidden(rules, now))
    request = replace(request, filter=only)
    answer = recommender.recommend([request], now=now)[0]
    if not answer.items:
        raise NotFound(f"release {recommender.release.name} does not show an item {item!r}")
    shown = answer.items[0]
    known = user if recommender.overlay.knows(user) else None
    texts = [explain.cypher(recommender.release, known, item, reason) for reason in shown.reasons]
    queries = [{"query": query, "parameters": parameters} for query, parameters in texts]
    content = answer.to_json()
    recommended = content["items"][0]
    for reason, query in zip(recommended["reasons"], queries, strict=True):
        reason["cypher"] = query
    return {
        "user": user,
        **recommended,
        "drawing": explain.drawn(shown.reasons),
        "cypher": queries[0] if queries else None,
        **{key: content[key] for key in ("served_by", "release", "notes")},
    }
