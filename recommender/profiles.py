"""What each segment's lists are made for: learned on the select part, edited in `segments.toml`.

`learn` reranks each user's candidates with every weight of a small grid and chooses for all
segments together: the long-tail share is made as large as possible while NDCG@20 over all users
falls by `BUDGET` at most. The best shares of such a budget have one slope in common (Everett
1963, doi:10.1287/opre.11.3.399), so one number is searched, not one per segment. What small
segments say is drawn towards what all users say. Each segment keeps its trade-off curve, and a
request's `long_tail` from 0 to 1 moves along it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from graph.model import NO_TIME
from recommender import metrics
from recommender.candidates import F32, Ranking
from recommender.release import Release
from recommender.request import DEFAULT, NEUTRAL
from recommender.rerank import (
    DEFAULT_PROFILE,
    NEUTRAL_PROFILE,
    POOL,
    Profile,
    freshness,
    rerank,
)
from recommender.segment_settings import EVERYONE, NEW

F64 = npt.NDArray[np.float64]

SEGMENTS = "segments"  # stands for the profile of each user's own segment
SHOWN = 20
BUDGET = 0.01  # of NDCG@20 over all users; half of what a default may lose, as the rest is chance
DRAWN = 200.0  # users' worth of what all say that every segment starts with
FEWEST_USERS = 30  # of a segment with something to find, for a profile of its own
MOST_USERS = 3_000  # whose lists are looked at
DIVERSITIES = (0.0, 0.05, 0.1, 0.2)
LONG_TAILS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7, 1.0)
FRESHNESSES = (0.0, 0.1)  # tried where items have times

# Moves along these where nothing was learned.
PLAIN_CURVE = (
    NEUTRAL_PROFILE,
    DEFAULT_PROFILE,
    replace(DEFAULT_PROFILE, long_tail=0.5),
    replace(DEFAULT_PROFILE, long_tail=1.0),
)


@dataclass(frozen=True)
class Point:
    """A profile and what it does to one segment's lists."""

    profile: Profile
    ndcg: float
    long_tail_share: float
    coverage: float
    diversity: float  # mean of 1 - cosine over all pairs of a list

    def to_json(self) -> dict[str, Any]:
        """Flat, as reports and manifests hold it; `shown_` marks what was measured."""
        return {
            **asdict(self.profile),
            **{
                f"shown_{field.name}": round(getattr(self, field.name), 6)
                for field in fields(self)[1:]
            },
        }


@dataclass(frozen=True)
class Learned:
    """Of one segment: its trade-off curve, from the least long tail to the most."""

    users: int
    neutral: Point  # no reranking, to compare with
    curve: tuple[Point, ...]
    chosen: int  # place on the curve

    def to_json(self) -> dict[str, Any]:
        """As the manifest holds it."""
        points = [point.to_json() for point in self.curve]
        return {
            "users": self.users,
            "neutral": self.neutral.to_json(),
            "curve": points,
            "chosen": self.chosen,
        }


def learn(
    pool: Ranking,
    truth: csr_array,
    segments: npt.NDArray[np.integer[Any]],
    arrays: Mapping[str, npt.NDArray[Any]],
    names: Sequence[str],
    *,
    now: int,
    budget: float = BUDGET,
) -> dict[str, Learned]:
    """A curve and a chosen point for `default` (all users) and each segment that is large enough.

    Args:
        pool: (b, c) candidates of b users, best first, by a model that has not seen `truth`.
        truth: (b, i) what is to be found; rows without anything are left out.
        segments: (b,) place of each user's segment in `names`, -1 for "new".
        arrays: of the release the candidates come from.
        names: of the segments.
        now: seconds since 1970.
        budget: share of NDCG@20 that may be lost over all users.
    """
    asked = np.flatnonzero(np.diff(truth.indptr))
    pool, truth = Ranking(pool.items[asked], pool.scores[asked]), truth[asked]
    segments = np.asarray(segments)[asked]
    created = arrays["created_at"]
    fresh = FRESHNESSES if (created != NO_TIME).any() else FRESHNESSES[:1]
    grid = [
        Profile(diversity=d, long_tail=t, freshness=f)
        for d, t, f in product(DIVERSITIES, LONG_TAILS, fresh)
    ]
    look = _Look(pool, truth, arrays, now)
    lists = [look.lists(profile) for profile in grid]
    ndcg = np.stack([look.ndcg(one) for one in lists])  # (g, b)
    tail = np.stack([look.tail(one) for one in lists])
    spread = np.stack([look.diversity(one) for one in lists])
    everyone = np.arange(len(asked))
    groups = {
        name: np.flatnonzero(segments == place)
        for place, name in [*enumerate(names), (-1, NEW)]
        if name != EVERYONE and (segments == place).sum() >= FEWEST_USERS
    }
    result = {}
    if len(asked):
        for group, who in {**_chosen(ndcg, tail, groups, budget), DEFAULT: None}.items():
            rows = everyone if group == DEFAULT else groups[group]
            place = _best(ndcg, tail, budget) if who is None else who
            points = [
                Point(
                    profile,
                    float(ndcg[at, rows].mean()),
                    float(tail[at, rows].mean()),
                    metrics.coverage(lists[at][rows], look.items),
                    float(spread[at, rows].mean()),
                )
                for at, profile in enumerate(grid)
            ]
            result[group] = _curve(len(rows), points, place)
    return result


def _best(ndcg: F64, tail: F64, budget: float) -> int:
    """The most long tail for all users within the budget."""
    kept = ndcg.mean(axis=1) >= (1 - budget) * ndcg[0].mean()  # the grid begins with neutral
    return int(np.argmax(np.where(kept, tail.mean(axis=1), -1.0)))


def _chosen(
    ndcg: F64, tail: F64, groups: Mapping[str, npt.NDArray[np.int64]], budget: float
) -> dict[str, int]:
    """The place in the grid for each segment, at the steepest common slope within the budget."""
    if not groups:
        return {}
    sizes = np.array([len(rows) for rows in groups.values()], np.float64)
    mean_ndcg = _drawn(ndcg, groups)  # (s, g)
    mean_tail = _drawn(tail, groups)
    floor = (1 - budget) * sizes @ mean_ndcg[:, 0]
    best = np.zeros(len(groups), np.int64)
    most = sizes @ mean_tail[:, 0]
    for slope in np.geomspace(1e-3, 1e2, 200):
        places = (mean_ndcg + slope * mean_tail).argmax(axis=1)
        own = np.arange(len(groups))
        if sizes @ mean_ndcg[own, places] >= floor and sizes @ mean_tail[own, places] > most:
            best, most = places, sizes @ mean_tail[own, places]
    return dict(zip(groups, best.tolist(), strict=True))


def _drawn(values: F64, groups: Mapping[str, npt.NDArray[np.int64]]) -> F64:
    """(s, g) each segment's mean, in steps from its neutral one that lean on all users' steps."""
    steps = (values - values[:1]).mean(axis=1)  # (g,) over all users
    level = max(float(values[0].mean()), 1e-12)
    means = []
    for rows in groups.values():
        neutral = float(values[0, rows].mean())
        own = values[:, rows].mean(axis=1) - neutral
        expected = steps * neutral / level
        means.append(neutral + (len(rows) * own + DRAWN * expected) / (len(rows) + DRAWN))
    return np.stack(means)


def _curve(users: int, points: list[Point], chosen: int) -> Learned:
    """The points that no other beats in both NDCG and long-tail share, and the chosen one."""
    order = sorted(range(len(points)), key=lambda p: (-points[p].long_tail_share, -points[p].ndcg))
    kept: list[int] = []
    best = -np.inf
    for place in order:
        if points[place].ndcg > best:
            kept.append(place)
            best = points[place].ndcg
    if chosen not in kept:
        kept.append(chosen)
    kept.sort(key=lambda place: (points[place].long_tail_share, -points[place].ndcg))
    curve = tuple(points[place] for place in kept)
    return Learned(users, points[0], curve, kept.index(chosen))


class _Look:
    """Reranks the same candidates again and again, and measures the lists per user."""

    def __init__(
        self, pool: Ranking, truth: csr_array, arrays: Mapping[str, npt.NDArray[Any]], now: int
    ) -> None:
        self.items = truth.shape[1]
        self._pool, self._truth = pool, truth
        self._relevant = np.diff(truth.indptr)
        self._likeness: F32 = np.asarray(arrays["likeness"])
        self._rarity: F32 = np.asarray(arrays["rarity"])
        self._fresh = freshness(arrays["created_at"], now)
        counts = np.diff(arrays["item_users.indptr"])
        self._in_tail = metrics.tail(counts)

    def lists(self, profile: Profile) -> metrics.Ranked:
        weights = np.tile(np.array(profile.weights(), np.float32), (len(self._pool.items), 1))
        found = rerank(self._pool, weights, self._likeness, self._rarity, self._fresh, SHOWN)
        return found.items

    def ndcg(self, lists: metrics.Ranked) -> F64:
        return metrics.ndcg(metrics.hits(lists, self._truth), self._relevant, SHOWN)

    def tail(self, lists: metrics.Ranked) -> F64:
        shown = lists >= 0
        share: F64 = (self._in_tail[lists] & shown).sum(axis=1) / np.maximum(shown.sum(axis=1), 1)
        return share

    def diversity(self, lists: metrics.Ranked) -> F64:
        shown = (lists >= 0)[:, :, None]
        vectors = np.where(shown, self._likeness[lists], 0).astype(np.float64)
        sums = vectors.sum(axis=1)
        own = (vectors**2).sum(axis=(1, 2))
        pairs = np.maximum(shown.sum(axis=(1, 2)) * (shown.sum(axis=(1, 2)) - 1.0), 1)
        return 1 - ((sums**2).sum(axis=1) - own) / pairs


# ── serving ──────────────────────────────────────────────────────────────────────────────


class Profiles:
    """The profiles of a release, and those an editor wrote over them."""

    def __init__(self, release: Release, edited: Mapping[str, Profile] | None = None) -> None:
        """Read what was learned; `edited` stands over it."""
        said = (release.manifest.get("segments") or {}).get("profiles", {})
        self.named = {NEUTRAL: NEUTRAL_PROFILE, DEFAULT: DEFAULT_PROFILE}
        self._curves: dict[str, tuple[F64, F64]] = {DEFAULT: _path(PLAIN_CURVE)}
        for name, learned in said.items():
            profiles = [_read(point) for point in learned["curve"]]
            shares = [point["shown_long_tail_share"] for point in learned["curve"]]
            self.named[name] = profiles[learned["chosen"]]
            self._curves[name] = _path(profiles, shares)
        self.named |= edited or {}

    def choose(
        self, asked: str | None, segments: Sequence[str], long_tail: float | None
    ) -> tuple[str, Profile]:
        """The name and the profile for a request: as asked, else of the first segment with one.

        Args:
            asked: a name in `named`, or None.
            segments: of the subject, the strongest first.
            long_tail: 0 … 1 along the trade-off curve, over the profile's own; None: as it is.
        """
        name = asked or next((one for one in segments if one in self.named), DEFAULT)
        if long_tail is None:
            return name, self.named[name]
        return name, self.along(name, long_tail)

    def along(self, name: str, share: float) -> Profile:
        """The profile at a place of a curve: 0 the least long tail, 1 the most it can give."""
        places, weights = self._curves.get(name, self._curves[DEFAULT])
        share = min(max(share, 0.0), 1.0)
        return Profile(*(float(np.interp(share, places, column)) for column in weights.T))


def _path(profiles: Sequence[Profile], shares: Sequence[float] | None = None) -> tuple[F64, F64]:
    """Places 0 … 1 (m,) and weights (m, 4) of the points of a curve.

    Weights of the long tail grow along it, so that more asked for is never less given.
    """
    weights = np.array([profile.weights() for profile in profiles], np.float64)
    weights[:, 2] = np.maximum.accumulate(weights[:, 2])
    at = np.linspace(0, 1, len(profiles)) if shares is None else np.asarray(shares, np.float64)
    span = at[-1] - at[0]
    return ((at - at[0]) / span if span > 0 else np.linspace(0, 1, len(at))), weights


def _read(point: Mapping[str, Any]) -> Profile:
    return Profile(**{field.name: float(point[field.name]) for field in fields(Profile)})


def candidates(recommender: Any, user_rows: npt.NDArray[np.int64]) -> Ranking:
    """The pool that reranking chooses from, for users of a recommender, by the serving code."""
    found: Ranking = recommender.rank_users(user_rows, POOL, profile=NEUTRAL)
    return found
