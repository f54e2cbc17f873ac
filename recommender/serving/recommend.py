"""Who should see what: `Recommender.recommend()` is the only way to a ranked list.

requests ─▶ subjects ─▶ ranked ─▶ arranged by editorial rules ─▶ explained ─▶ answers

An HTTP request is a batch of one; evaluation and jobs are large batches over the same code.
`subjects` reads the requests, `ranker` ranks, `rules`
arranges, `recommender.serving.explain` tells why.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from graph.errors import InputError, NotFound
from graph.model import NO_TIME
from recommender.ranking.candidates import F32, I32, Ranking
from recommender.ranking.contexts import features, fitted, session_share
from recommender.ranking.filters import Filters
from recommender.ranking.pages import item_sums, next_cursor, rotation, shown_before, variety
from recommender.ranking.ranker import Adjust, Lists, Ranker, pool_size
from recommender.ranking.request import NEUTRAL, Answer, Filter, Recommended, Request
from recommender.ranking.rerank import WEIGHTS, Profile
from recommender.ranking.sources import IN_DOMAIN, ITEMS, POPULAR, TAGS, Sources
from recommender.releases.release import Release
from recommender.segments.grouping import Asked, Segments
from recommender.segments.settings import SegmentSettings
from recommender.serving import explain
from recommender.serving.circles import Circles
from recommender.serving.households import fair_order, relevance
from recommender.serving.interest_words import find_interests, in_proportion
from recommender.serving.profiles import SEGMENTS, Profiles
from recommender.serving.rules import LABELS, Entry, Rule, Rulebook
from recommender.serving.subjects import Subject, SubjectReader

MOST_ITEMS = 1000  # in one list
LATEST = "latest"
BLOCK = 256  # requests ranked in one go
MASK_CELLS = 64_000_000  # filters × items held at once


@dataclass(frozen=True)
class _Asked:
    """A subject with what holds for it."""

    subject: Subject
    rules: tuple[Rule, ...]
    adjust: Adjust | None

    @property
    def arranged(self) -> bool:
        """Whether rules arrange the list, and so need more to choose from than is shown."""
        return any(rule.do in ("limit", *LABELS) for rule in self.rules)

    @property
    def whole(self) -> bool:
        """Whether the list is chosen from the whole pool, and not its beginning."""
        return self.arranged or bool(self.subject.request.household or self.subject.interests)


class Recommender:
    """Answers requests from one release; threads may share it."""

    def __init__(
        self,
        release: Release,
        erased: frozenset[str] = frozenset(),
        *,
        threads: int = 1,
        rules: Sequence[Rule] = (),
    ) -> None:
        """Serve a release; `erased` users are treated as unknown, editorial `rules` hold."""
        self.release = release
        self.erased = erased
        self.filters = Filters(release)
        self.rulebook = Rulebook(rules, release, self.filters)
        self._sources = Sources(release, threads)
        self._fused = {
            ITEMS: 1.0,
            **{name: w for name, w in release.manifest["vectors"].items() if w > 0},
        }
        self.circles = Circles(release, self.filters)
        self._reader = SubjectReader(release, self.filters, self.circles)
        self._ranker = Ranker(release, self._sources, self._fused)
        self.use(SegmentSettings())

    def use(self, settings: SegmentSettings) -> None:
        """Take up an editor's segments and profiles, beside and over the learned ones."""
        self.settings = settings
        self.segments = Segments(self.release, settings.rules)
        self.profiles = Profiles(self.release, settings.profiles)
        self.contexts = settings.contexts

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the sources, as `Request.source` takes them."""
        return self._sources.names

    def recommend(self, requests: Sequence[Request], *, now: int) -> list[Answer]:
        """One answer per request, in order.

        Args:
            requests: see `Request`; unknown users and items are no errors, the answer's notes
                tell of them. Unknown profiles, sources and attributes are `InputError`s.
            now: seconds since 1970, for freshness, ages and the times of rules.
        """
        for request in requests:
            self._check(request)
        answers: list[Answer | None] = [None] * len(requests)
        alone = []
        for place, request in enumerate(requests):
            if request.household:
                answers[place] = self._for_household(request, now)
            else:
                alone.append(place)
        step = max(1, min(BLOCK, MASK_CELLS // max(len(self.release.items), 1)))
        for start in range(0, len(alone), step):
            block = alone[start : start + step]
            found = self._for_each([requests[place] for place in block], now)
            for place, answer in zip(block, found, strict=True):
                answers[place] = answer
        return [answer for answer in answers if answer is not None]

    def segments_of(self, request: Request, *, now: int) -> tuple[str, ...]:
        """Every segment of a request's subject: those of rules first, then the learned one."""
        return self._asked(self._read(request, now), now).subject.segments

    def rank_users(
        self, user_rows: npt.NDArray[np.int64], n: int, *, profile: str = NEUTRAL,
        source: str | None = None, now: int = 0,
    ) -> Ranking:  # fmt: skip
        """The n best unseen items of known users, as arrays, by the code of `recommend`.

        Editorial rules do not hold here: they are for what is shown.

        Args:
            user_rows: (b,) rows of the release's users.
            n: length of the lists.
            profile: "neutral", "default", a profile's name, or "segments": for each user that
                of the user's learned segment.
            source: only this source, unfused and unfilled; None: all, as served.
            now: seconds since 1970, for freshness.
        """
        subjects = self._reader.users(user_rows)
        tags = self._reader.tags([[]] * len(user_rows))  # none asked for
        if source is not None:
            return self._sources.propose(source, subjects, tags, n)
        if profile == SEGMENTS:
            places = self.segments.of_users()[user_rows].tolist()
            own = {
                place: self.profiles.choose(None, (self.segments.name(place),), None)[1].weights()
                for place in set(places)
            }
            chosen = [own[place] for place in places]
        else:
            chosen = [self.profiles.named[profile].weights()] * len(subjects)
        weights = np.array(chosen, np.float32).reshape(len(subjects), WEIGHTS)
        orders = [tuple(self._fused)] * len(subjects)
        lists = self._ranker.rank(subjects, tags, [n] * len(subjects), weights, now, orders)
        return Ranking(lists.items, lists.scores)

    def mixes(self, user_rows: npt.NDArray[np.int64]) -> F32:
        """(b, d) what share of each user's history lies in each domain, as balance sees it."""
        return self._ranker.mixes(self._reader.users(user_rows))

    def similar(
        self, item: str, n: int, wanted: Filter | None = None, cursor: str | None = None, *,
        now: int,
    ) -> Answer:  # fmt: skip
        """Items near an item; `NotFound` when nobody knows it."""
        if item not in self.release.items:
            raise NotFound(f"there is no item {item!r} in release {self.release.name}")
        return self._plain(Request(items={item: 1.0}, n=n, cursor=cursor), wanted, now)

    def tag_items(
        self, name: str, n: int, wanted: Filter | None = None, cursor: str | None = None, *,
        now: int,
    ) -> Answer:  # fmt: skip
        """Items that carry a tag; `NotFound` when nobody knows it."""
        if len(self.filters.tag_rows(name)) == 0:
            raise NotFound(f"there is no tag {name!r} in release {self.release.name}")
        only = replace(wanted or Filter(), tags_all=(*(wanted or Filter()).tags_all, name))
        return self._plain(Request(tags=(name,), n=n, cursor=cursor), only, now)

    def popular(
        self, n: int, wanted: Filter | None = None, cursor: str | None = None, *, now: int
    ) -> Answer:
        """What many chose."""
        return self._plain(Request(n=n, cursor=cursor), wanted, now)

    def _plain(self, request: Request, wanted: Filter | None, now: int) -> Answer:
        request = replace(request, filter=wanted or Filter(), profile=NEUTRAL)
        return self.recommend([request], now=now)[0]

    def latest(self, n: int, wanted: Filter | None = None, *, now: int) -> Answer:
        """The newest items whose time is known, newest first, on one page."""
        created = self.release.arrays["created_at"]
        hidden = self.rulebook.hidden(self.rulebook.in_force(now, (), {}), now)
        allowed = self.filters.mask(Filter(all_of=((wanted or Filter()).at(now),), none_of=hidden))
        rows = np.flatnonzero(allowed & (created != NO_TIME) & (created <= now))
        rows = rows[np.argsort(-created[rows], kind="stable")][:n]
        items = tuple(
            self._recommended(Entry(int(row), float(created[row]), LATEST, {LATEST: 1.0}), ())
            for row in rows
        )
        fallback = None if items else "no item that is allowed has a known time"
        return Answer(items, LATEST, fallback, self.release.name, NEUTRAL)

    def why(self, user: str, item: str, *, now: int) -> dict[str, Any]:
        """Why an item is, or would be, shown to a user, with Cypher that shows the same paths.

        The item is told of as in an answer, also when the user has seen it already: `item`,
        `title`, `score`, its `parts`, `source`, `reasons`; beside them `drawing` (a line of
        text per path) and `cypher` (`query` and `parameters` of the strongest reason; each
        reason has its own; None where there is no reason). `NotFound` when nobody knows the
        item, or it is hidden, also by a rule.
        """
        request = Request(user=user, n=1, include_seen=True, profile=NEUTRAL, rules=False)
        segments = self.segments_of(request, now=now) if self.rulebook.rules else ()
        rules = self.rulebook.in_force(now, segments, self._features(request, now))
        only = Filter(items=(item,), none_of=self.rulebook.hidden(rules, now))
        request = replace(request, filter=only)
        answer = self.recommend([request], now=now)[0]
        if not answer.items:
            raise NotFound(f"release {self.release.name} does not show an item {item!r}")
        shown = answer.items[0]
        known = user if self._reader.knows(user, self.erased) else None
        queries = [
            dict(zip(("query", "parameters"), explain.cypher(known, item, r), strict=True))
            for r in shown.reasons
        ]
        said = answer.to_json()
        one = said["items"][0]
        for reason, query in zip(one["reasons"], queries, strict=True):
            reason["cypher"] = query
        return {
            "user": user,
            **one,
            "drawing": explain.drawn(shown.reasons),
            "cypher": queries[0] if queries else None,
            **{key: said[key] for key in ("served_by", "release", "notes")},
        }

    # ── one list ─────────────────────────────────────────────────────────────────────────

    def _for_each(self, requests: Sequence[Request], now: int) -> list[Answer]:
        asked = [self._asked(self._read(one, now), now) for one in requests]
        lists = self._ranked(asked, now)
        return [
            self._answer(one, lists, place, lambda _: one.subject)  # noqa: B023 - called at once
            for place, one in enumerate(asked)
        ]

    def _for_household(self, request: Request, now: int) -> Answer:
        """One list for several users; nobody is shown what one of them hid or all may not see."""
        self._reader.check(request)
        members = []
        for user in dict.fromkeys(request.household):
            alone = replace(request, user=user, household=())
            member = self._read(alone, now)
            member.request = request
            members.append(member)
        heard = [member for member in members if member.items] or members[:1]
        blocked = sorted({row for member in members for row in member.blocked})
        for member in heard:
            member.blocked = blocked
        asked = [self._asked(member, now) for member in heard]
        hidden = dict.fromkeys(f for member in heard for f in member.filter.none_of)
        for member in heard:  # by a rule for one of them: from all
            member.filter = replace(member.filter, none_of=tuple(hidden))
        lists = self._ranked(asked, now)
        rows, liked = relevance(lists.items, lists.scores)
        order = fair_order(liked, pool_size(request.n))
        one = Subject(request, heard[0].filter, blocked=blocked, served_by="household")
        one.contexts = heard[0].contexts
        one.notes = [note for member in members for note in member.notes]
        closest = dict(zip(rows.tolist(), liked.argmax(axis=0).tolist(), strict=True))
        merged = _merged(lists, rows[order], closest, liked[:, order].mean(axis=0))
        household = replace(asked[0], subject=one)
        return self._answer(household, merged, 0, lambda row: heard[closest.get(row, 0)])

    def _read(self, request: Request, now: int) -> Subject:
        if not self.contexts:
            return self._reader.read(request, now, self.erased)
        told = self._features(request, now)
        held = tuple(one for one in self.contexts if one.holds(told))
        subject = self._reader.read(request, now, self.erased, session_share(held))
        subject.contexts = held
        return subject

    def _features(self, request: Request, now: int) -> dict[str, str]:
        users = (request.user, *request.household)
        known = any(user and self._reader.knows(user, self.erased) for user in users)
        return features(request.context, now, known=known)

    def _asked(self, subject: Subject, now: int) -> _Asked:
        request = subject.request
        asked = Asked(subject.user_row, subject.items, subject.weights)
        subject.segments = self.segments.of(asked, now)
        if request.interests:
            find_interests(self.release, subject)
        if request.cursor is not None:
            subject.blocked += shown_before(request, self._item_sums)
        rules: tuple[Rule, ...] = ()
        if request.rules and self.rulebook.rules:
            told = self._features(request, now)
            rules = self.rulebook.in_force(now, subject.segments, told)
            hidden = self.rulebook.hidden(rules, now)
            if hidden:
                none_of = (*subject.filter.none_of, *hidden)
                subject.filter = replace(subject.filter, none_of=none_of)
        return _Asked(subject, rules, self._adjust(request, rules, now))

    def _adjust(self, request: Request, rules: Sequence[Rule], now: int) -> Adjust | None:
        steps: list[Adjust] = []
        edited = self.rulebook.adjust(rules, now)
        if edited is not None:
            steps.append(edited)
        if request.shown:
            steps.append(lambda rows: rotation(request, self.release.items, rows))
        if request.seed is not None:
            seed = request.seed
            steps.append(lambda rows: variety(seed, rows))
        return _product(steps) if steps else None

    def _ranked(self, asked: Sequence[_Asked], now: int) -> Lists:
        known = [one.subject for one in asked]
        subjects, tags = self._reader.arrays(known)
        return self._ranker.rank(
            subjects,
            tags,
            [one.request.n for one in known],
            np.array([self._profile(one)[1].weights() for one in known], np.float32).reshape(
                len(known), WEIGHTS
            ),
            now,
            [self._order(one) for one in known],
            [one.adjust for one in asked],
            [one.whole for one in asked],
            [one.request.seed or 0 for one in known],
        )

    def _check(self, request: Request) -> None:
        if not 1 <= request.n <= MOST_ITEMS:
            raise InputError(f"n is {request.n}; ask for 1 to {MOST_ITEMS} items")
        if request.source is not None and request.source not in self.sources:
            raise InputError(f"source {request.source!r} is not one of {', '.join(self.sources)}")
        if request.profile is not None and request.profile not in self.profiles.named:
            there = ", ".join(self.profiles.named)
            raise InputError(f"profile {request.profile!r} is not one of {there}")

    def _order(self, one: Subject) -> tuple[str, ...]:
        """The sources that are fused for a subject."""
        if one.request.source is not None:
            return (one.request.source,)
        if one.placed is not None and one.placed.source is not None:
            return (one.placed.source,)
        if one.served_by == IN_DOMAIN:
            return (IN_DOMAIN,)
        return (*self._fused, TAGS) if one.tags else tuple(self._fused)

    def _profile(self, one: Subject) -> tuple[str, Profile]:
        asked = one.request
        name, profile = self.profiles.choose(asked.profile, one.segments, asked.long_tail)
        return name, profile if name == NEUTRAL else fitted(profile, one.contexts)

    @cached_property
    def _item_sums(self) -> npt.NDArray[np.uint32]:
        return item_sums(self.release.items)

    # ── from arrays to answers ───────────────────────────────────────────────────────────

    def _answer(
        self, asked: _Asked, lists: Lists, place: int, speaker: Callable[[int], Subject]
    ) -> Answer:
        one = asked.subject
        n = one.request.n
        entries = in_proportion(self.release, one, self._entries(lists, place))
        entries, notes = self._arranged(asked, entries)
        shown = []
        for entry in entries:
            why: tuple[Any, ...] = ()
            if one.request.reasons:
                subject = speaker(entry.row)
                why = explain.reasons(self.release, subject, entry.row, entry.source)
            shown.append(self._recommended(entry, why))
        sources = self._order(one) + ((POPULAR,) if one.served_by == "popular" else ())
        filled = {e.source for e in entries if e.label is None and e.source not in sources}
        return Answer(
            tuple(shown),
            one.served_by if shown else "nothing",
            _fallback(shown, filled, n),
            self.release.name,
            self._profile(one)[0],
            one.segments[0] if one.segments else None,
            (*one.notes, *notes),
            next_cursor(one.request, (i.item for i in shown)) if len(shown) == n else None,
        )

    def _entries(self, lists: Lists, place: int) -> list[Entry]:
        names, rows = self.sources, lists.items[place]
        count = int(np.count_nonzero(rows >= 0))
        scores = lists.scores[place, :count].tolist()
        origins = lists.origins[place, :count].tolist()
        parts = lists.parts[place, :count].tolist()
        return [
            Entry(row, scores[at], names[origins[at]], _named(names, parts[at]))
            for at, row in enumerate(rows[:count].tolist())
        ]

    def _arranged(self, asked: _Asked, entries: list[Entry]) -> tuple[list[Entry], tuple[str, ...]]:
        one, n = asked.subject, asked.subject.request.n
        if not asked.arranged:
            return entries[:n], ()
        mask, blocked = self.filters.mask(one.filter), set(one.blocked)
        known = None if one.seen is None else set(one.seen)

        def allowed(row: int) -> bool:
            return bool(mask[row]) and row not in blocked and (known is None or row in known)

        arranged, notes = self.rulebook.arrange(asked.rules, entries, n, allowed)
        if not all(allowed(entry.row) for entry in arranged):
            raise AssertionError("a rule placed an item that the request does not allow")
        return arranged, notes

    def _recommended(self, entry: Entry, why: tuple[Any, ...]) -> Recommended:
        release, row = self.release, entry.row
        return Recommended(
            release.items.id(row),
            explain.title(release, row),
            round(entry.score, 6),
            entry.source,
            entry.parts,
            explain.card_tags(release, row),
            explain.domains_of(release, row),
            why,
            entry.label,
            entry.interest,
        )


def _product(steps: Sequence[Adjust]) -> Adjust:
    def multiply(rows: I32) -> F32:
        factors: F32 = np.prod([step(rows) for step in steps], axis=0)
        return factors

    return multiply


def _named(names: Sequence[str], parts: Sequence[float]) -> dict[str, float]:
    return {name: round(part, 6) for name, part in zip(names, parts, strict=True) if part}


def _merged(lists: Lists, rows: I32, closest: Mapping[int, int], scores: F32) -> Lists:
    """One list of some rows, each as its closest member was given it."""
    members = np.array([closest[row] for row in rows.tolist()], np.int64)
    at = [int(np.flatnonzero(lists.items[m] == r)[0]) for m, r in zip(members, rows, strict=True)]
    parts = lists.parts[members, at]  # in the member's units: brought to those of the scores
    sums = parts.sum(axis=1)
    parts = parts * (scores / np.where(sums > 0, sums, 1))[:, None]
    return Lists(
        rows[None].astype(np.int32), scores[None], lists.origins[members, at][None], parts[None]
    )


def _fallback(shown: list[Recommended], filled: set[str], n: int) -> str | None:
    if not shown:
        return "no item is allowed"
    said = [f"filled up by {', '.join(sorted(filled))}"] if filled else []
    if len(shown) < n:
        said.append(f"only {len(shown)} items are allowed")
    return "; ".join(said) or None
