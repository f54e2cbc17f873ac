"""Who should see what: `Recommender.recommend()` is the only way to a ranked list.

requests ─▶ subjects ─▶ sources propose ─▶ fused ─▶ filled when short ─▶ reranked ─▶ explained

An HTTP request is a batch of one; evaluation and jobs are large batches over the same code.
Filters hold inside every source and once more at the end, so nothing disallowed is ever shown,
and a list is short only when fewer items are allowed than were asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from graph.errors import InputError, NotFound
from graph.model import NO_ROW, NO_TIME
from recommender import explain
from recommender.candidates import F32, Ranking, Subjects
from recommender.filters import Filters
from recommender.release import Release
from recommender.request import DEFAULT, NEUTRAL, Answer, Filter, Recommended, Request
from recommender.rerank import DEFAULT_PROFILE, NEUTRAL_PROFILE, POOL, Profile, freshness, rerank
from recommender.sources import IN_DOMAIN, ITEMS, POPULAR, TAGS, Sources, fuse

SESSION_SHARE = 0.7  # of a subject's weight lies on the running session, when there is one
MOST_ITEMS = 1000  # in one list
LATEST = "latest"


@dataclass(frozen=True)
class _Subject:
    """One request with ids turned into rows."""

    request: Request
    user_row: int
    items: npt.NDArray[np.int32]
    weights: F32
    kinds: list[str]
    blocked: npt.NDArray[np.int32]
    tags: list[int]
    served_by: str
    notes: tuple[str, ...]


class Recommender:
    """Answers requests from one release; holds no other state, so threads may share it."""

    def __init__(
        self, release: Release, erased: frozenset[str] = frozenset(), *, threads: int = 1
    ) -> None:
        """Serve a release; `erased` users are treated as unknown."""
        self.release = release
        self.erased = erased
        self.filters = Filters(release)
        self._sources = Sources(release, threads)
        self._fused = {
            ITEMS: 1.0,
            **{name: w for name, w in release.manifest["vectors"].items() if w > 0},
        }
        self.profiles = {NEUTRAL: NEUTRAL_PROFILE, DEFAULT: DEFAULT_PROFILE}

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the sources, as `Request.source` takes them."""
        return self._sources.names

    def recommend(self, requests: Sequence[Request], *, now: int) -> list[Answer]:
        """One answer per request, in order.

        Args:
            requests: see `Request`; unknown users and items are no errors, the answer's notes
                tell of them. Unknown profiles, sources and attributes are `InputError`s.
            now: seconds since 1970, for freshness.
        """
        known = [self._subject(request) for request in requests]
        if not known:
            return []
        for request in requests:
            self._check(request)
        n = max(request.n for request in requests)
        subjects, tags = self._arrays(known)
        sources = [self._order(one) for one in known]
        weights = np.array([self._profile(one).weights() for one in known], np.float32)
        ranking, origins, parts = self._rank(subjects, tags, n, weights, now, sources)
        return [
            self._answer(one, place, ranking, origins, parts) for place, one in enumerate(known)
        ]

    def rank_users(
        self, user_rows: npt.NDArray[np.int64], n: int, *, profile: str = NEUTRAL,
        source: str | None = None, now: int = 0,
    ) -> Ranking:  # fmt: skip
        """The n best unseen items of known users, as arrays, by the code of `recommend`.

        Args:
            user_rows: (b,) rows of the release's users.
            n: length of the lists.
            profile: "neutral", "default" or a profile's name.
            source: only this source, unfused and unfilled; None: all, as served.
            now: seconds since 1970, for freshness.
        """
        histories = self.release.matrix("histories")[user_rows]
        blocked = self.release.matrix("blocked")[user_rows]
        subjects = Subjects(
            histories.indptr.astype(np.int64),
            histories.indices.astype(np.int32),
            histories.data.astype(np.float32),
            blocked.indptr.astype(np.int64),
            blocked.indices.astype(np.int32),
            self.filters.mask(Filter())[None, :],
            np.zeros(len(user_rows), np.int32),
        )
        shape = (len(user_rows), len(self.release.tags))
        tags: Any = csr_array(shape, dtype=np.float32)  # none asked for
        if source is not None:
            return self._sources.propose(source, subjects, tags, n)
        weights = np.tile(
            np.array(self.profiles[profile].weights(), np.float32), (len(subjects), 1)
        )
        order = tuple(self._fused)
        return self._rank(subjects, tags, n, weights, now, [order] * len(subjects))[0]

    def similar(self, item: str, n: int, wanted: Filter | None = None, *, now: int) -> Answer:
        """Items near an item; `NotFound` when nobody knows it."""
        if item not in self.release.items:
            raise NotFound(f"there is no item {item!r} in release {self.release.name}")
        request = Request(items={item: 1.0}, n=n, filter=wanted or Filter(), profile=NEUTRAL)
        return self.recommend([request], now=now)[0]

    def tag_items(self, name: str, n: int, wanted: Filter | None = None, *, now: int) -> Answer:
        """Items that carry a tag; `NotFound` when nobody knows it."""
        if len(self.filters.tag_rows(name)) == 0:
            raise NotFound(f"there is no tag {name!r} in release {self.release.name}")
        only = replace(wanted or Filter(), tags_all=(*(wanted or Filter()).tags_all, name))
        return self.recommend([Request(tags=(name,), n=n, filter=only, profile=NEUTRAL)], now=now)[
            0
        ]

    def popular(self, n: int, wanted: Filter | None = None, *, now: int) -> Answer:
        """What many chose."""
        request = Request(n=n, filter=wanted or Filter(), profile=NEUTRAL)
        return self.recommend([request], now=now)[0]

    def latest(self, n: int, wanted: Filter | None = None, *, now: int) -> Answer:
        """The newest items whose time is known, newest first."""
        created = self.release.arrays["created_at"]
        allowed = self.filters.mask(wanted or Filter()) & (created != NO_TIME) & (created <= now)
        rows = np.flatnonzero(allowed)
        rows = rows[np.argsort(-created[rows], kind="stable")][:n]
        items = tuple(
            self._recommended(int(row), float(created[row]), LATEST, {LATEST: 1.0}, ())
            for row in rows
        )
        fallback = None if items else "no item that is allowed has a known time"
        return Answer(items, LATEST, fallback, self.release.name, NEUTRAL)

    # ── from requests to arrays ──────────────────────────────────────────────────────────

    def _check(self, request: Request) -> None:
        if not 1 <= request.n <= MOST_ITEMS:
            raise InputError(f"n is {request.n}; ask for 1 to {MOST_ITEMS} items")
        if request.source is not None and request.source not in self.sources:
            raise InputError(f"source {request.source!r} is not one of {', '.join(self.sources)}")
        if request.profile is not None and request.profile not in self.profiles:
            there = ", ".join(self.profiles)
            raise InputError(f"profile {request.profile!r} is not one of {there}")

    def _subject(self, request: Request) -> _Subject:
        release, arrays, notes = self.release, self.release.arrays, []
        items, weights, kinds, blocked = [], [], [], []
        row = NO_ROW
        if request.user is not None:
            row = NO_ROW if request.user in self.erased else release.users.row(request.user)
            if row == NO_ROW:
                notes.append(f"nobody knows the user {request.user!r} yet")
        if row != NO_ROW:
            own = slice(arrays["histories.indptr"][row], arrays["histories.indptr"][row + 1])
            items += arrays["histories.indices"][own].tolist()
            weights += arrays["histories.values"][own].tolist()
            names = release.manifest["event_kinds"]
            kinds += [names[kind] for kind in arrays["histories.kinds"][own].tolist()]
            never = "hides" if request.include_seen else "blocked"
            start, stop = arrays[f"{never}.indptr"][row : row + 2]
            blocked += arrays[f"{never}.indices"][start:stop].tolist()
        served_by = "history" if items else "popular"
        session = {release.items.row(name): weight for name, weight in request.items.items()}
        unknown = [name for name in request.items if release.items.row(name) == NO_ROW]
        if unknown:
            notes.append(f"nobody knows the items {', '.join(map(repr, unknown[:5]))}")
        session.pop(NO_ROW, None)
        if session:
            served_by = "session"
            total, old = sum(session.values()), sum(weights)
            weights = [weight * (1 - SESSION_SHARE) / old for weight in weights] if old else []
            items += session.keys()
            weights += [weight * SESSION_SHARE / total for weight in session.values()]
            kinds += ["view"] * len(session)
            blocked += session.keys()
        tags = []
        for name in request.tags:
            rows = self.filters.tag_rows(name).tolist()
            tags += rows
            if not rows:
                notes.append(f"nobody knows the tag {name!r}")
        if tags and not items:
            served_by = TAGS
        blocked += [row for row in map(release.items.row, request.exclude) if row != NO_ROW]
        return _Subject(
            request,
            row,
            np.array(items, np.int32),
            np.array(weights, np.float32),
            kinds,
            np.array(blocked, np.int32),
            tags,
            served_by,
            tuple(notes),
        )

    def _arrays(self, known: list[_Subject]) -> tuple[Subjects, csr_array]:
        filters = list(dict.fromkeys(one.request.filter for one in known))
        place = {wanted: row for row, wanted in enumerate(filters)}
        subjects = Subjects(
            _starts([one.items for one in known]),
            np.concatenate([one.items for one in known]),
            np.concatenate([one.weights for one in known]),
            _starts([one.blocked for one in known]),
            np.concatenate([one.blocked for one in known]),
            np.stack([self.filters.mask(wanted) for wanted in filters]),
            np.array([place[one.request.filter] for one in known], np.int32),
        )
        rows = np.repeat(np.arange(len(known)), [len(one.tags) for one in known])
        columns = np.array([tag for one in known for tag in one.tags], np.int64)
        shape = (len(known), len(self.release.tags))
        tags = csr_array((np.ones(len(rows), np.float32), (rows, columns)), shape=shape)
        return subjects, tags

    def _order(self, one: _Subject) -> tuple[str, ...]:
        """The sources that are fused for a subject."""
        if one.request.source is not None:
            return (one.request.source,)
        return (*self._fused, TAGS) if one.tags else tuple(self._fused)

    def _profile(self, one: _Subject) -> Profile:
        profile = self.profiles[one.request.profile or DEFAULT]
        if one.request.long_tail is not None:
            profile = replace(profile, long_tail=one.request.long_tail)
        return profile

    # ── ranking ──────────────────────────────────────────────────────────────────────────

    def _rank(
        self,
        subjects: Subjects,
        tags: csr_array,
        n: int,
        weights: F32,
        now: int,
        orders: list[tuple[str, ...]],
    ) -> tuple[Ranking, npt.NDArray[np.int8], F32]:
        """Lists (b, n), the place in `sources` that gave each item, and what each source gave."""
        names = self.sources
        items = np.full((len(subjects), n), -1, np.int32)
        scores = np.full((len(subjects), n), -np.inf, np.float32)
        origins = np.full((len(subjects), n), -1, np.int8)
        parts = np.zeros((len(subjects), n, len(names)), np.float32)
        neutral = (weights[:, 1:] == 0).all(axis=1)
        for order, plain in set(zip(orders, neutral.tolist(), strict=True)):
            same = [o == order and p == plain for o, p in zip(orders, neutral, strict=True)]
            who = np.flatnonzero(same)
            pool = n if plain and len(order) == 1 else max(POOL, 2 * n)
            part, wanted = _take(subjects, who), tags[who]
            proposed = [self._sources.propose(name, part, wanted, pool) for name in order]
            blend = [self._fused.get(name, 1.0) for name in order]
            fused, origin, shares = fuse(proposed, blend, pool)
            places = np.array([names.index(name) for name in order])
            origin = np.where(origin >= 0, places[origin], -1).astype(np.int8)
            spread = np.zeros((*origin.shape, len(names)), np.float32)
            spread[:, :, places] = shares
            self._fill(part, wanted, n, fused, origin, spread)
            chosen = fused
            if not plain:
                fresh = self._fresh(weights[who], now)
                likeness, rarity = (self.release.arrays[a] for a in ("likeness", "rarity"))
                chosen = rerank(fused, weights[who], likeness, rarity, fresh, n)
            at = _places(fused.items, chosen.items[:, :n])
            items[who], scores[who] = chosen.items[:, :n], chosen.scores[:, :n]
            origins[who] = np.take_along_axis(origin, at, axis=1)
            parts[who] = np.take_along_axis(spread, at[:, :, None], axis=1)
        _refuse_disallowed(subjects, items)
        return Ranking(items, scores), origins, parts

    def _fill(
        self,
        subjects: Subjects,
        tags: csr_array,
        n: int,
        fused: Ranking,
        origin: npt.NDArray[np.int8],
        parts: F32,
    ) -> None:
        """Complete lists shorter than n in place, source after source, below what is there."""
        names = self.sources
        for name in (*self._sources.vectors, TAGS, IN_DOMAIN, POPULAR):
            short = np.flatnonzero(fused.items[:, n - 1] < 0)
            if len(short) == 0:
                return
            more = self._sources.propose(name, _take(subjects, short), tags[short], 2 * n)
            for place, subject in enumerate(short):
                have = int(np.count_nonzero(fused.items[subject] >= 0))
                new = more.items[place][more.items[place] >= 0]
                new = new[~np.isin(new, fused.items[subject, :have])][: n - have]
                floor = float(fused.scores[subject, have - 1]) if have else 1.0
                steps = np.arange(1, len(new) + 1, dtype=np.float32)
                span = slice(have, have + len(new))
                fused.items[subject, span] = new
                fused.scores[subject, span] = floor / (1 + steps)
                origin[subject, span] = names.index(name)
                parts[subject, span, names.index(name)] = floor / (1 + steps)

    def _fresh(self, weights: F32, now: int) -> F32:
        created = self.release.arrays["created_at"]
        if not weights[:, 3].any():
            return np.zeros(len(created), np.float32)
        return freshness(created, now)

    # ── from arrays to answers ───────────────────────────────────────────────────────────

    def _answer(
        self, one: _Subject, place: int, ranking: Ranking, origins: Any, parts: F32
    ) -> Answer:
        names, shown, filled = self.sources, [], set()
        asked = self._order(one)
        if one.served_by == "popular":
            asked = (*asked, POPULAR)
        for at in range(one.request.n):
            row = int(ranking.items[place, at])
            if row < 0:
                break
            source = names[origins[place, at]]
            if source not in asked:
                filled.add(source)
            shares = {
                names[s]: round(float(parts[place, at, s]), 6)
                for s in np.flatnonzero(parts[place, at])
            }
            why = self._reasons(one, row, source) if one.request.reasons else ()
            shown.append(
                self._recommended(row, float(ranking.scores[place, at]), source, shares, why)
            )
        served_by = one.served_by if shown else "nothing"
        return Answer(
            tuple(shown),
            served_by,
            _fallback(shown, filled, one.request.n),
            self.release.name,
            one.request.profile or DEFAULT,
            None,
            one.notes,
        )

    def _reasons(self, one: _Subject, row: int, source: str) -> tuple[Any, ...]:
        told = explain.reasons(self.release, row, one.items, one.weights, one.kinds)
        if told:
            return told
        carried = set(explain.tag_rows(self.release, row).tolist())
        for tag in one.tags:
            if tag in carried:
                return (explain.through_tag(self.release, tag),)
        for item in one.items:
            shared = explain.shared_tag(self.release, int(item), row)
            if shared is not None:
                return (explain.like_history(self.release, int(item), row, shared),)
        domains = explain.domains_of(self.release, row)
        return (explain.through_popularity(domains[0] if source == IN_DOMAIN else None),)

    def _recommended(
        self, row: int, score: float, source: str, parts: dict[str, float], why: tuple[Any, ...]
    ) -> Recommended:
        release = self.release
        return Recommended(
            release.items.id(row),
            explain.title(release, row),
            round(score, 6),
            source,
            parts,
            explain.strongest_tags(release, row),
            explain.domains_of(release, row),
            why,
        )


def _fallback(shown: list[Recommended], filled: set[str], n: int) -> str | None:
    if not shown:
        return "no item is allowed"
    said = [f"filled up by {', '.join(sorted(filled))}"] if filled else []
    if len(shown) < n:
        said.append(f"only {len(shown)} items are allowed")
    return "; ".join(said) or None


def _refuse_disallowed(subjects: Subjects, items: npt.NDArray[np.int32]) -> None:
    """The last check on every path: a source that breaks a filter is a defect, never an answer."""
    rows, places = np.nonzero(items >= 0)
    if not subjects.masks[subjects.mask[rows], items[rows, places]].all():
        raise AssertionError("a source proposed an item that the filter does not allow")


def _starts(lists: list[npt.NDArray[np.int32]]) -> npt.NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum([len(one) for one in lists])]).astype(np.int64)


def _take(subjects: Subjects, who: npt.NDArray[np.int64]) -> Subjects:
    """The subjects at some places."""
    if len(who) == len(subjects):
        return subjects
    parts = [subjects.part(int(place), int(place) + 1) for place in who]
    return Subjects(
        _starts([part.items for part in parts]),
        np.concatenate([part.items for part in parts]),
        np.concatenate([part.weights for part in parts]),
        _starts([part.blocked for part in parts]),
        np.concatenate([part.blocked for part in parts]),
        subjects.masks,
        subjects.mask[who],
    )


def _places(pool: npt.NDArray[np.int32], chosen: npt.NDArray[np.int32]) -> Any:
    """(b, n) where each chosen item stands in the pool."""
    order = np.argsort(pool, axis=1, kind="stable")
    ranked = np.take_along_axis(pool, order, axis=1)
    at = np.empty(chosen.shape, np.int64)
    for row in range(len(pool)):
        at[row] = order[row, np.searchsorted(ranked[row], chosen[row])]
    return at
