"""What similar users have in common, told only of many users together; for operators.

Who these users are, and how many there must be, is decided in `recommender.serving.circles`.
"""

from typing import Any

import numpy as np

from graph.arrays import I64
from recommender.ranking.request import Filter
from recommender.serving import explain
from recommender.serving.circles import FEWEST
from recommender.serving.recommend import Recommender


def similar_users(recommender: Recommender, user: str, n: int) -> dict[str, Any]:
    """What the users most like one have in common.

    Args:
        recommender: erased users are not among them.
        user: id of a known user.
        n: how many items, and how many domains, are named at most.

    Returns:
        `users` (how many they are), their `segments`, `domains` and `items`. Each of these has
        `users`, how many of them share it, never below `FEWEST`. `items` are those that the user
        does not know, the most shared first.

    Raises:
        NotFound: nobody knows the user, or the user is erased.
        InputError: there are fewer than `FEWEST` other users with a history.
    """
    release = recommender.release
    circle = recommender.circles.of(user, recommender.overlay)
    histories, row = release.histories.matrix, release.users.row(user)
    counts = recommender.circles.shared(circle, recommender.filters.mask(Filter()))
    counts[histories.indices[histories.indptr[row] : histories.indptr[row + 1]]] = 0
    named = recommender.segments.of_users()[circle]
    segments = [
        {"segment": recommender.segments.name(int(segment)), "users": int(count)}
        for segment, count in zip(*np.unique(named, return_counts=True), strict=True)
        if count >= FEWEST
    ]
    reached = (histories[circle] @ release.item_domains.matrix).tocsr()
    domains = np.bincount(reached.indices, minlength=len(release.domains))
    return {
        "users": len(circle),
        "segments": sorted(segments, key=lambda entry: -entry["users"]),
        "domains": [
            {"domain": release.domains.id(domain), "users": count}
            for domain, count in _most(domains, n)
        ],
        "items": [
            {
                "item": release.items.id(item),
                "title": explain.title(release, item),
                "users": count,
            }
            for item, count in _most(counts, n)
        ],
        "release": release.name,
    }


def _most(counts: I64, n: int) -> list[tuple[int, int]]:
    order = np.argsort(-counts, kind="stable")[:n].tolist()
    return [(row, int(counts[row])) for row in order if counts[row] >= FEWEST]
