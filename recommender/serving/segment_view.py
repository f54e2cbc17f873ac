"""Segments as doors show them: sizes, what marks each, which profile its lists have."""

from dataclasses import asdict
from typing import Any

from recommender.ranking.request import Request
from recommender.segments.settings import EVERYONE
from recommender.serving.recommend import Recommender


def overview(recommender: Recommender) -> dict[str, Any]:
    """Every segment with `users` (None where only a request can tell), `persona`, `profile`."""
    release = recommender.release
    said = release.segments or {
        "method": "none",
        "note": "this release was made without segments",
        "segments": [{"name": EVERYONE, "users": len(release.users), "persona": EVERYONE}],
    }
    learned = [
        _shown(recommender, one["name"], one["users"], one["persona"]) for one in said["segments"]
    ]
    ruled = [_shown(recommender, name, None, "a rule") for name, _ in recommender.segments.rules]
    return {
        "release": release.name,
        "method": said["method"],
        "note": said["note"],
        "segments": [*learned, *ruled],
    }


def of_user(recommender: Recommender, user: str, *, now: int) -> dict[str, Any]:
    """The `segments` of a user, known or not, and the `profile` of the user's lists.

    `moves` and `returns` are chances where the refresh could foretell them, else None.
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


def _shown(recommender: Recommender, name: str, users: int | None, persona: str) -> dict[str, Any]:
    chosen, profile = recommender.profiles.choose(None, (name,), None)
    return {
        "name": name,
        "users": users,
        "persona": persona,
        "profile": chosen,
        "weights": asdict(profile),
    }
