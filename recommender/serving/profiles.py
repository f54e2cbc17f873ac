"""The profile of each segment: learned at a refresh, edited in `segments.toml`."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np

from graph.arrays import F64
from recommender.ranking.request import DEFAULT, NEUTRAL
from recommender.ranking.rerank import DEFAULT_PROFILE, LONG_TAIL, NEUTRAL_PROFILE, Profile
from recommender.releases.release import Release

SEGMENTS = "segments"  # stands for the profile of each user's own segment

# Requests for more long tail move along these where no curve was learned.
PLAIN_CURVE = (
    NEUTRAL_PROFILE,
    DEFAULT_PROFILE,
    replace(DEFAULT_PROFILE, long_tail=0.5),
    replace(DEFAULT_PROFILE, long_tail=1.0),
)


class Profiles:
    """The profiles of a release, some of them replaced by an editor's."""

    def __init__(self, release: Release, edited: Mapping[str, Profile] | None = None) -> None:
        """Read the learned profiles; those in `edited` replace them."""
        learned_profiles = (release.segments or {}).get("profiles", {})
        self.named = {NEUTRAL: NEUTRAL_PROFILE, DEFAULT: DEFAULT_PROFILE}
        self._curves: dict[str, tuple[F64, F64]] = {DEFAULT: _path(PLAIN_CURVE)}
        for name, learned in learned_profiles.items():
            profiles = [_read(point) for point in learned["curve"]]
            shares = [point["shown_long_tail_share"] for point in learned["curve"]]
            self.named[name] = profiles[learned["chosen"]]
            self._curves[name] = _path(profiles, shares)
        self.named |= edited or {}

    def choose(
        self, requested: str | None, segments: Sequence[str], long_tail: float | None
    ) -> tuple[str, Profile]:
        """A request's profile and its name: as asked, else of the first segment that has one.

        Args:
            requested: a name in `named`, or None.
            segments: of the subject, the strongest first.
            long_tail: 0 … 1 along the trade-off curve, over the profile's own; None: as it is.
        """
        name = requested or next(
            (segment for segment in segments if segment in self.named), DEFAULT
        )
        if long_tail is None:
            return name, self.named[name]
        return name, self.along(name, long_tail)

    def along(self, name: str, share: float) -> Profile:
        """The profile at a place of a curve: 0 the least long tail, 1 the most it can give."""
        places, weights = self._curves.get(name, self._curves[DEFAULT])
        share = min(max(share, 0.0), 1.0)
        return Profile.of([np.interp(share, places, column) for column in weights.T])


def _path(profiles: Sequence[Profile], shares: Sequence[float] | None = None) -> tuple[F64, F64]:
    """Places 0 … 1 (m,) and weights (m, 7) of the points of a curve.

    Weights of the long tail grow along it, so asking for more long tail never gives less.
    """
    weights = np.array([profile.weights() for profile in profiles], np.float64)
    weights[:, LONG_TAIL] = np.maximum.accumulate(weights[:, LONG_TAIL])
    at = np.linspace(0, 1, len(profiles)) if shares is None else np.asarray(shares, np.float64)
    span = at[-1] - at[0]
    return ((at - at[0]) / span if span > 0 else np.linspace(0, 1, len(at))), weights


def _read(point: Mapping[str, Any]) -> Profile:
    return Profile(**{field.name: point[field.name] for field in fields(Profile)})
