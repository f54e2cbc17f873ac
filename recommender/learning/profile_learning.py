"""The profile of each segment, learned on the select part with a trade-off curve.

`learn` reranks each user's candidates with every weight of a small grid and chooses for all
segments together: the long-tail share becomes as large as possible while NDCG@20 over all users
falls by `BUDGET` at most. When such a budget is shared out best, all segments have one slope in
common (Everett 1963, doi:10.1287/opre.11.3.399), so one number is searched, not one per segment.
The figures of small segments, and their curves, are drawn towards those of all users (empirical
Bayes). Balance and DPP are tried after that, and taken where they surely gain. Each segment keeps
its trade-off curve, and a request's `long_tail` from 0 to 1 moves along it.

Exploration is never learned, only set by an editor: on held-back pairs it can only lose.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from embeddings import metrics
from graph.arrays import F32, F64, I64, Flags
from graph.model import NO_TIME
from recommender.ranking.candidates import Ranking
from recommender.ranking.request import DEFAULT, NEUTRAL
from recommender.ranking.rerank import DPP, POOL, Profile, Traits, freshness, rerank, shares_of
from recommender.releases.release import Release
from recommender.segments.settings import EVERYONE, NEW

SHOWN = 20
BUDGET = 0.02  # share of NDCG@20 over all users that a default may lose
DRAWN = 200.0  # each segment's mean counts this many average users beside its own
FEWEST_USERS = 30  # users with something to find that a profile of its own takes
DIVERSITIES = (0.0, 0.05, 0.1, 0.2)
LONG_TAILS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7, 1.0)
FRESHNESSES = (0.0, 0.1)  # tried where items have times
BALANCES = (0.05, 0.1, 0.2, 0.5)
SURE = 2.5  # standard errors from which a gain is believed: several variants are tried
SLOPES = np.geomspace(1e-3, 1e2, 200)  # NDCG that a unit of long-tail share is worth


@dataclass(frozen=True)
class Point:
    """A profile and what it does to one segment's lists."""

    profile: Profile
    ndcg: float  # in a small segment drawn towards all users; the long tail, too
    long_tail_share: float
    coverage: float
    diversity: float  # mean of 1 - cosine over all pairs of a list

    def to_json(self) -> dict[str, Any]:
        """One flat object, as in reports and manifests; measured values begin with `shown_`."""
        return {
            **asdict(self.profile),
            **{
                f"shown_{field.name}": round(getattr(self, field.name), 6)
                for field in fields(self)[1:]
            },
        }


@dataclass(frozen=True)
class Learned:
    """What was learned of a segment: its trade-off curve, from the least long tail to the most."""

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
    release: Release,
    names: Sequence[str],
    *,
    now: int,
    budget: float = BUDGET,
    mix: F32 | None = None,
) -> dict[str, Learned]:
    """A curve and a chosen point for `default` (all users) and each segment that is large enough.

    Args:
        pool: (b, c) candidates of b users, best first, by a model that has not seen `truth`.
        truth: (b, i) what is to be found; users with nothing to find are left out.
        segments: (b,) place of each user's segment in `names`, -1 for "new".
        release: that the candidates come from.
        names: of the segments.
        now: seconds since 1970.
        budget: share of NDCG@20 that may be lost over all users.
        mix: (b, d) each user's share of each domain; None: balance is not tried.
    """
    with_truth = np.flatnonzero(np.diff(truth.indptr))
    if len(with_truth) == 0:
        return {}
    pool, truth = Ranking(pool.items[with_truth], pool.scores[with_truth]), truth[with_truth]
    segments = np.asarray(segments)[with_truth]
    look = Look.at(pool, truth, release, now, None if mix is None else mix[with_truth])
    fresh = FRESHNESSES if (release.created_at != NO_TIME).any() else FRESHNESSES[:1]
    grid = [
        Profile(diversity=d, long_tail=t, freshness=f)
        for d, t, f in product(DIVERSITIES, LONG_TAILS, fresh)
    ]
    groups = {DEFAULT: np.arange(len(with_truth))} | {
        name: np.flatnonzero(segments == number)
        for number, name in [*enumerate(names), (-1, NEW)]
        if name != EVERYONE and (segments == number).sum() >= FEWEST_USERS
    }
    trials = Trials.of(look, grid, groups)
    chosen = trials.allocated(budget)
    result = {}
    for name, rows in groups.items():
        places = trials.curve(name, chosen[name])
        at = places.index(chosen[name])
        points = [trials.point(name, number, look.items) for number in places]
        variant = _variant(look, rows, grid[chosen[name]], balanced=mix is not None)
        if variant:  # the whole curve is measured anew
            varied = [replace(grid[number], **variant) for number in (0, *places)]
            anew = Trials.of(look, varied, groups)
            points = [anew.point(name, number, look.items) for number in range(1, len(varied))]
        result[name] = Learned(len(rows), trials.point(name, 0, look.items), tuple(points), at)
    return result


@dataclass(frozen=True)
class Trials:
    """What each of g profiles, the first of them neutral, does to the lists of s groups."""

    profiles: Sequence[Profile]
    groups: Mapping[str, I64]  # rows of users; `default` is everybody
    lists: list[metrics.Ranked]
    spread: F64  # (g, b)
    ndcg: F64  # (s, g) of each group, drawn towards all users
    tail: F64  # (s, g)

    @classmethod
    def of(
        cls,
        look: "Look",
        profiles: Sequence[Profile],
        groups: Mapping[str, I64],
    ) -> "Trials":
        """Rerank the candidates of all users with every profile."""
        lists = [look.lists(profile) for profile in profiles]
        return cls(
            profiles=profiles,
            groups=groups,
            lists=lists,
            spread=np.stack([look.diversity(lists) for lists in lists]),
            ndcg=_leaning(np.stack([look.ndcg(lists) for lists in lists]), groups, grows=True),
            tail=_leaning(np.stack([look.tail(lists) for lists in lists]), groups, grows=False),
        )

    def allocated(self, budget: float) -> dict[str, int]:
        """The profile for each group (its place): the most long tail, all within one budget."""
        everyone = list(self.groups).index(DEFAULT)
        kept = self.ndcg[everyone] >= (1 - budget) * self.ndcg[everyone, 0]
        result = {DEFAULT: int(np.argmax(np.where(kept, self.tail[everyone], -1.0)))}
        names = [name for name in self.groups if name != DEFAULT]
        if not names:
            return result
        rows = [list(self.groups).index(name) for name in names]
        ndcg, tail, own = self.ndcg[rows], self.tail[rows], np.arange(len(rows))
        sizes = np.array([len(self.groups[name]) for name in names], np.float64)
        floor = (1 - budget) * sizes @ ndcg[:, 0]
        best, most = np.zeros(len(names), np.int64), sizes @ tail[:, 0]
        for slope in SLOPES:
            places = (ndcg + slope * tail).argmax(axis=1)
            if sizes @ ndcg[own, places] >= floor and sizes @ tail[own, places] > most:
                best, most = places, sizes @ tail[own, places]
        return result | dict(zip(names, best.tolist(), strict=True))

    def curve(self, name: str, chosen: int) -> list[int]:
        """The profiles that none beats in both NDCG and long-tail share, and the chosen one."""
        row = list(self.groups).index(name)
        ndcg, tail = self.ndcg[row], self.tail[row]
        kept: list[int] = []
        best = -np.inf
        for number in np.lexsort((-ndcg, -tail)).tolist():
            if ndcg[number] > best:
                kept.append(number)
                best = ndcg[number]
        if chosen not in kept:
            kept.append(chosen)
        return sorted(kept, key=lambda number: (tail[number], -ndcg[number]))

    def point(self, name: str, number: int, items: int) -> Point:
        """What a profile does to a group."""
        row, users = list(self.groups).index(name), self.groups[name]
        return Point(
            profile=self.profiles[number],
            ndcg=float(self.ndcg[row, number]),
            long_tail_share=float(self.tail[row, number]),
            coverage=metrics.coverage(self.lists[number][users], items),
            diversity=float(self.spread[number, users].mean()),
        )


def _leaning(values: F64, groups: Mapping[str, I64], *, grows: bool) -> F64:
    """(s, g) each group's mean; its distance from neutral is drawn towards that of all users.

    `grows`: the distance is taken in proportion to the group's own level.
    """
    steps = (values - values[:1]).mean(axis=1)  # (g,) over all users
    level = max(float(values[0].mean()), 1e-12)
    means = []
    for name, rows in groups.items():
        neutral = float(values[0, rows].mean())
        own = values[:, rows].mean(axis=1) - neutral
        expected = steps * neutral / level if grows else steps
        drawn = 0.0 if name == DEFAULT else DRAWN
        means.append(neutral + (len(rows) * own + drawn * expected) / (len(rows) + drawn))
    return np.stack(means)


def _variant(look: "Look", rows: I64, profile: Profile, *, balanced: bool) -> dict[str, Any]:
    """Which of balance and DPP surely help a group: NDCG up by `SURE` errors, no long tail lost."""
    variants: list[dict[str, Any]] = [{"balance": b} for b in BALANCES if balanced]
    if profile.diversity > 0:
        variants.append({"method": DPP})
    own = look.of(rows)
    before = own.lists(profile)
    best, chosen = SURE, {}
    for variant in variants:
        after = own.lists(replace(profile, **variant))
        gain = own.ndcg(after) - own.ndcg(before)
        error = float(gain.std()) / np.sqrt(len(rows))
        sure = float(gain.mean()) / error if error > 0 else 0.0
        if sure > best and own.tail(after).mean() >= own.tail(before).mean():
            best, chosen = sure, variant
    return chosen


@dataclass(frozen=True)
class Look:
    """Reranks the same candidates again and again, and measures the lists per user."""

    pool: Ranking  # (b, c)
    truth: csr_array  # (b, i); every row has something to find
    traits: Traits
    in_tail: Flags  # (i,)

    @classmethod
    def at(
        cls,
        pool: Ranking,
        truth: csr_array,
        release: Release,
        now: int,
        mix: F32 | None = None,
    ) -> "Look":
        """The arguments are those of `learn`."""
        fresh = freshness(release.created_at, now)
        traits = Traits.plain(release.likeness, release.rarity, fresh, len(pool.items))
        if mix is not None:
            traits = replace(traits, **shares_of(release.item_domains.matrix), mix=mix)
        return cls(pool, truth, traits, metrics.tail(np.diff(release.item_users.indptr)))

    def of(self, rows: I64) -> "Look":
        """The same for some of the users."""
        pool = Ranking(self.pool.items[rows], self.pool.scores[rows])
        return Look(pool, self.truth[rows], self.traits.part(rows), self.in_tail)

    @property
    def items(self) -> int:
        """Number of items."""
        return int(self.truth.shape[1])

    def lists(self, profile: Profile) -> metrics.Ranked:
        """(b, SHOWN) the lists of a profile."""
        weights = np.tile(np.array(profile.weights(), np.float32), (len(self.pool.items), 1))
        return rerank(self.pool, weights, self.traits, SHOWN).items

    def ndcg(self, lists: metrics.Ranked) -> F64:
        """(b,) of each list."""
        return metrics.ndcg(metrics.hits(lists, self.truth), np.diff(self.truth.indptr), SHOWN)

    def tail(self, lists: metrics.Ranked) -> F64:
        """(b,) share of each list that lies in the long tail."""
        shown = lists >= 0
        share: F64 = (self.in_tail[lists] & shown).sum(axis=1) / np.maximum(shown.sum(axis=1), 1)
        return share

    def diversity(self, lists: metrics.Ranked) -> F64:
        """(b,) mean of 1 - cosine over the pairs of each list."""
        shown = (lists >= 0)[:, :, None]
        vectors = np.where(shown, self.traits.likeness[lists], 0).astype(np.float64)
        sums = vectors.sum(axis=1)
        own = (vectors**2).sum(axis=(1, 2))
        pairs = np.maximum(shown.sum(axis=(1, 2)) * (shown.sum(axis=(1, 2)) - 1.0), 1)
        return 1 - ((sums**2).sum(axis=1) - own) / pairs


def candidates(recommender: Any, user_rows: I64) -> Ranking:
    """The pool that reranking chooses from, for users of a recommender, by the serving code."""
    pool: Ranking = recommender.rank_users(user_rows, POOL, profile=NEUTRAL)
    return pool
