"""Segments as users of the API see them: sizes, what marks each, and its profile."""

from dataclasses import asdict
from typing import Any

import numpy as np

from graph.model import NO_ROW
from recommender.ranking.request import Request
from recommender.segments.features import Scale
from recommender.segments.report import pca
from recommender.segments.settings import EVERYONE
from recommender.serving.recommend import Recommender

MOST_POINTS = 1_000  # users in the picture
FEWEST_POINTS = 20  # with fewer users it would show persons, not groups
SAMPLE = 5  # ids shown of each segment


def overview(recommender: Recommender) -> dict[str, Any]:
    """Every segment with `users` (None where only a request can tell), `persona`, `profile`."""
    release = recommender.release
    report = release.segments or {
        "method": "none",
        "note": "this release has no segments",
        "segments": [{"name": EVERYONE, "users": len(release.users), "persona": EVERYONE}],
    }
    learned = [
        _shown(recommender, segment["name"], segment["users"], segment["persona"])
        for segment in report["segments"]
    ]
    ruled = [_shown(recommender, name, None, "a rule") for name, _ in recommender.segments.rules]
    return {
        "release": release.name,
        "method": report["method"],
        "note": report["note"],
        "segments": [*learned, *ruled],
    }


def of_user(recommender: Recommender, user: str, *, now: int) -> dict[str, Any]:
    """The `segments` of a user, known or not, and the `profile` of the user's lists.

    `moves` and `returns` are chances if the refresh could predict them, else None.
    """
    user_row = recommender.overlay.user_row(user)
    segments = recommender.segments_of(Request(user=user, n=1), now=now)
    name, profile = recommender.profiles.choose(None, segments, None)
    return {
        "user": user,
        "release": recommender.release.name,
        "segments": list(segments),
        "profile": name,
        "weights": asdict(profile),
        **{name: recommender.segments.chance(name, user_row) for name in ("moves", "returns")},
    }


def picture(recommender: Recommender, *, named: bool) -> dict[str, Any]:
    """A sample of the grouped users by PCA: `names` of segments, `points`, some `users` of each.

    The same release gives the same sample. Ids are shown only where `named`, never of erased
    users; a release without learned segments has no points.
    """
    release, learned = recommender.release, recommender.release.segments
    empty: dict[str, Any] = {"names": [], "points": [], "users": {}, "release": release.name}
    if learned is None or learned["method"] == "none":
        return empty
    assigned = np.asarray(release.segment_arrays["assigned"])
    grouped = np.flatnonzero(assigned >= 0)
    shown = np.sort(np.random.default_rng(0).permutation(grouped)[:MOST_POINTS])
    if len(shown) < FEWEST_POINTS:
        return empty
    scale = Scale.read(release.segment_arrays["scale"])
    points = pca(scale(release.segment_arrays["raw"][shown].astype(np.float64)))
    users: dict[str, list[str]] = {}
    for number, name in enumerate(learned["names"] if named else ()):
        own = release.users.ids(shown[assigned[shown] == number][: 4 * SAMPLE])
        users[name] = [u for u in own if recommender.overlay.user_row(u) != NO_ROW][:SAMPLE]
    return empty | {
        "names": list(learned["names"]),
        "points": [
            {"x": round(x, 3), "y": round(y, 3), "segment": int(segment)}
            for (x, y), segment in zip(points.tolist(), assigned[shown], strict=True)
        ],
        "users": users,
    }


def _shown(recommender: Recommender, name: str, users: int | None, persona: str) -> dict[str, Any]:
    chosen, profile = recommender.profiles.choose(None, (name,), None)
    return {
        "name": name,
        "users": users,
        "persona": persona,
        "profile": chosen,
        "weights": asdict(profile),
    }
