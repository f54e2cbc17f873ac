"""Who is like a user, told of many together and never of one: for people who run the service.

The nearest users by the cosine of their vectors stand behind the answer. What fewer than
`FEWEST` of them share is not told, and of a smaller circle nothing is.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from graph.errors import InputError, NotFound
from recommender import explain
from recommender.recommend import Recommender
from recommender.release import Release
from recommender.request import Filter

FEWEST = 20  # users behind everything that is told
CIRCLE = 200  # nearest users that are looked at
SPECTRAL = "vectors.spectral"


def similar_users(recommender: Recommender, user: str, n: int) -> dict[str, Any]:
    """What the users most like one have in common.

    Args:
        recommender: erased users are not among them.
        user: id of a known user.
        n: most items, and domains, to tell of.

    Returns:
        `users` (how many stand behind it), their `segments`, `domains` and `items`, each with
        `users`, how many of them share it, never below `FEWEST`; `items` are those that the user
        does not know, most shared first.

    Raises:
        NotFound: nobody knows the user, or the user is erased.
        InputError: there are fewer than `FEWEST` other users with a history.
    """
    release = recommender.release
    row = release.users.row(user)
    if row < 0 or user in recommender.erased:
        raise NotFound(f"there is no user {user!r} in release {release.name}")
    gone = release.users.rows(sorted(recommender.erased))
    circle = _nearest(release, int(row), gone[gone >= 0])
    if len(circle) < FEWEST:
        raise InputError(
            f"only {len(circle)} other users have a history; {FEWEST} must stand behind an answer"
        )
    histories = release.matrix("histories")
    chosen = histories[circle]
    counts = np.bincount(chosen.indices, minlength=len(release.items))
    known = histories.indices[histories.indptr[row] : histories.indptr[row + 1]]
    counts[known] = 0
    counts[~recommender.filters.mask(Filter())] = 0  # hidden
    named = recommender.segments.of_users()[circle]
    segments = [
        {"segment": recommender.segments.name(int(place)), "users": int(count)}
        for place, count in zip(*np.unique(named, return_counts=True), strict=True)
        if count >= FEWEST
    ]
    reached = (chosen @ release.matrix("item_domains")).tocsr()
    domains = np.bincount(reached.indices, minlength=len(release.domains))
    return {
        "users": len(circle),
        "segments": sorted(segments, key=lambda one: -one["users"]),
        "domains": [
            {"domain": release.domains.id(place), "users": count}
            for place, count in _most(domains, n)
        ],
        "items": [
            {
                "item": release.items.id(place),
                "title": explain.title(release, place),
                "users": count,
            }
            for place, count in _most(counts, n)
        ],
        "release": release.name,
    }


def _most(counts: npt.NDArray[np.int64], n: int) -> list[tuple[int, int]]:
    order = np.argsort(-counts, kind="stable")[:n].tolist()
    return [(place, int(counts[place])) for place in order if counts[place] >= FEWEST]


def _nearest(release: Release, row: int, gone: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Rows of the users whose vectors are nearest, without the user and those that are gone."""
    histories = release.matrix("histories")
    vectors = np.asarray(histories @ release.arrays[SPECTRAL], np.float64)  # (u, d)
    norms = np.linalg.norm(vectors, axis=1)
    likeness = vectors @ vectors[row] / np.maximum(norms * max(norms[row], 1e-12), 1e-12)
    likeness[norms == 0] = -np.inf
    likeness[row] = -np.inf
    likeness[gone] = -np.inf
    order = np.argsort(-likeness, kind="stable")[:CIRCLE]
    return order[np.isfinite(likeness[order])]
