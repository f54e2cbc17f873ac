"""Who should see what: `Recommender.recommend()` is the only way to a ranked list.

requests ─▶ read ─▶ ranked ─▶ arranged by editorial rules ─▶ explained ─▶ answers

An HTTP request is a batch of one; evaluation and jobs are large batches over the same code.
`subjects` reads the requests, `ranker` ranks, `rules`
arranges, `recommender.serving.explain` tells why.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from graph.arrays import F32, I32, I64, U32
from graph.errors import InputError, NotFound
from graph.model import NO_ROW, NO_TIME
from recommender.overlay.overlay import Overlay
from recommender.ranking.candidates import Ranking
from recommender.ranking.contexts import Context, Features, features, fitted, session_share
from recommender.ranking.filters import Filters
from recommender.ranking.pages import item_sums, next_cursor, rotation, shown_before, variety
from recommender.ranking.ranker import Adjust, Defect, Lists, Order, Ranker, pool_size, refuse
from recommender.ranking.request import NEUTRAL, Answer, Filter, Request
from recommender.ranking.rerank import Profile
from recommender.ranking.sources import FRIENDS, IN_DOMAIN, ITEMS, POPULAR, TAGS, Sources
from recommender.releases.release import Release
from recommender.segments.grouping import Behaviour, Segments
from recommender.segments.settings import SegmentSettings
from recommender.serving import explain
from recommender.serving.answers import Listed, answer, answer_json
from recommender.serving.catalogue_map import CatalogueMap
from recommender.serving.circles import Circles
from recommender.serving.households import fair_order, relevance
from recommender.serving.interest_words import found_interests, in_proportion
from recommender.serving.profiles import SEGMENTS, Profiles
from recommender.serving.rules import LABELS, Entry, Rulebook
from recommender.serving.rules_file import Rule
from recommender.serving.search import Search
from recommender.serving.subjects import Subject, SubjectReader

MOST_ITEMS = 1000  # in one list
LATEST, HISTORY = "latest", "history"
ARRANGING = ("limit", *LABELS)  # rules that choose from more than is shown
BLOCK = 256  # requests ranked in one go
MASK_CELLS = 64_000_000  # filters × items held at once


@dataclass(frozen=True)
class Plan:
    """A subject, and how its list is made."""

    subject: Subject
    rules: tuple[Rule, ...]  # in force
    profile: str  # name of the profile
    order: Order  # how the ranker is to make the list

    @property
    def arranged(self) -> bool:
        """Whether rules arrange the list, and so need more to choose from than is shown."""
        return any(rule.do in ARRANGING for rule in self.rules)

    def without(self, none_of: tuple[Filter, ...]) -> "Plan":
        """The same under a filter that forbids just this beside what it asks for."""
        wanted = replace(self.subject.filter, none_of=none_of)
        return replace(self, subject=replace(self.subject, filter=wanted))


@dataclass(frozen=True)
class Opened:
    """What is made of a release once, and shared by every recommender over it."""

    sources: Sources
    fused: Mapping[str, float]  # the sources of every list, and their weights
    ranker: Ranker
    circles: Circles
    search: Search
    map: CatalogueMap
    defect: Defect

    @classmethod
    def of(
        cls, release: Release, threads: int, defect: Defect, last: "Opened | None" = None
    ) -> "Opened":
        """Open the indexes; nothing is searched. `last`, of the same folder, lends them."""
        sources = Sources(release, threads, None if last is None else last.sources)
        fused = {ITEMS: 1.0, **{name: w for name, w in release.sources.items() if w > 0}}
        ranker = Ranker(release, sources, fused, defect)
        return cls(
            sources=sources,
            fused=fused,
            ranker=ranker,
            circles=Circles(release),
            search=Search(release, None if last is None else last.search),
            map=CatalogueMap.over(release, None if last is None else last.map),
            defect=defect,
        )


class Recommender:
    """What serves at one moment: a release, what holds over it, an editor's words on both.

    Nothing of it changes: `following` gives the one that comes after. Threads may share it.
    """

    def __init__(
        self,
        release: Release,
        overlay: Overlay | None = None,
        *,
        settings: SegmentSettings | None = None,
        rules: Sequence[Rule] = (),
        threads: int = 1,
        defect: Defect = refuse,
        last: "Recommender | None" = None,
    ) -> None:
        """Serve a release.

        Args:
            release: what was learned.
            overlay: what holds over it now; None: as it was made.
            settings: an editor's segments, profiles and contexts, beside and over the learned ones.
            rules: editorial ones.
            threads: blocks of a batch that are ranked side by side.
            defect: hears of items that a mistake of ours proposed, and that are left out; by
                default it ends the request.
            last: over the same release, lends what both have in common.

        Raises:
            InputError: a rule limits by an attribute that the release lacks.
        """
        before = last.opened if last is not None and last.release.folder == release.folder else None
        last = last if last is not None and last.release is release else None
        self.release: Release = release
        self.overlay: Overlay = overlay or Overlay.over(release)
        self.settings: SegmentSettings = settings or SegmentSettings()
        self.contexts = self.settings.contexts
        self._threads = threads
        self.opened: Opened = last.opened if last else Opened.of(release, threads, defect, before)
        self.circles: Circles = self.opened.circles
        if last is not None and last.overlay.hidden is self.overlay.hidden:
            self.filters: Filters = last.filters
        else:
            self.filters = Filters(release, self.overlay.hidden)
        if last is not None and last.settings is self.settings:
            self.segments: Segments = last.segments
            self.profiles: Profiles = last.profiles
        else:
            self.segments = Segments(release, self.settings.rules)
            self.profiles = Profiles(release, self.settings.profiles)
        self.rulebook = Rulebook(rules, release, self.filters)
        self._reader = SubjectReader(self.overlay, self.filters, self.circles)

    def following(
        self,
        *,
        overlay: Overlay | None = None,
        settings: SegmentSettings | None = None,
        rules: Sequence[Rule] | None = None,
    ) -> "Recommender":
        """The same with something newer in it; what is not given stays."""
        overlay = overlay or self.overlay
        return Recommender(
            overlay.release,
            overlay,
            settings=settings or self.settings,
            rules=self.rulebook.rules if rules is None else rules,
            threads=self._threads,
            defect=self.opened.defect,
            last=self,
        )

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the sources, as `Request.source` takes them."""
        return self.opened.sources.names

    def recommend(self, requests: Sequence[Request], *, now: int) -> list[Answer]:
        """One answer per request, in order.

        Args:
            requests: see `Request`; unknown users and items are no errors, the answer's notes
                tell of them. Unknown profiles, sources and attributes are `InputError`s.
            now: seconds since 1970, for freshness, ages and the times of rules.
        """
        return [answer(self.release, listed) for listed in self._lists(requests, now)]

    def recommend_json(self, requests: Sequence[Request], *, now: int) -> list[bytes]:
        """The same answers as JSON, `Answer.to_json` written out, without the values between."""
        return [answer_json(self.release, listed) for listed in self._lists(requests, now)]

    def _lists(self, requests: Sequence[Request], now: int) -> list[Listed]:
        for request in requests:
            self._check(request)
        lists: dict[int, Listed] = {}
        alone = [at for at, request in enumerate(requests) if not request.household]
        step = max(1, min(BLOCK, MASK_CELLS // max(len(self.release.items), 1)))
        for start in range(0, len(alone), step):
            block = alone[start : start + step]
            made = self._for_each([requests[at] for at in block], now)
            lists |= zip(block, made, strict=True)
        for at, request in enumerate(requests):
            if request.household:
                lists[at] = self._for_household(request, now)
        return [lists[at] for at in range(len(requests))]

    def version(self, request: Request, now: int) -> str | None:
        """What, beside the request, its answer is made of; None: also of what others do.

        While it stays the same the answer does, too, but for the ages of items, which `freshness`
        looks at. Where rules, contexts or a filter ask for the time it changes every minute.
        """
        if request.similar_to is not None:
            return None
        users = (request.user, *request.household, *(p.name for p in request.mix))
        by_time = (
            self.rulebook.rules or self.contexts or self.settings.rules
            or request.filter.at(now) is not request.filter
        )  # fmt: skip
        minute = now // 60 if by_time else ""
        holds = self.overlay.version([user for user in users if user is not None])
        return f"{holds} {self._edited} {minute}"

    @cached_property
    def _edited(self) -> str:
        """Another text for other words of an editor."""
        words = f"{self.rulebook.rules!r}{self.settings!r}"
        return hashlib.blake2b(words.encode(), digest_size=16).hexdigest()

    def last_seen(self, request: Request, now: int) -> int | None:
        """When the user of a request was last seen; now where something was done since the refresh.

        None: there is no user, or nobody knows.
        """
        if request.user is None:
            return None
        if request.user in self.overlay.users:
            return now
        row, seen = (
            self.overlay.user_row(request.user),
            self.release.segment_arrays.get("last_seen"),
        )
        if row == NO_ROW or seen is None or seen[row] == NO_TIME:
            return None
        return int(seen[row])

    def segments_of(self, request: Request, *, now: int) -> tuple[str, ...]:
        """Every segment of a request's subject: those of rules first, then the learned one."""
        return self._read(request, now).subject.segments

    def rank_requests(self, requests: Sequence[Request], n: int, *, now: int) -> Ranking:
        """What `recommend` would list, as arrays (b, n): for jobs that show no cards.

        Args:
            requests: of single subjects, no households; each asks for `n` items.
            n: length of the lists.
            now: as in `recommend`.
        """
        for request in requests:
            self._check(request)
        rows = np.full((len(requests), n), -1, np.int32)
        scores = np.full((len(requests), n), -np.inf, np.float32)
        plans = [self._read(request, now) for request in requests]
        lists = self._ranked(plans, now)
        for at, plan in enumerate(plans):
            if not plan.arranged and plan.subject.interests is None:
                count = min(n, int(np.count_nonzero(lists.items[at] >= 0)))
                rows[at, :count] = lists.items[at, :count]
                scores[at, :count] = lists.scores[at, :count]
                continue
            entries = in_proportion(self.release, plan.subject, self._entries(lists, at))
            entries, _ = self._arranged(plan, entries)
            rows[at, : len(entries)] = [entry.row for entry in entries]
            scores[at, : len(entries)] = [entry.score for entry in entries]
        return Ranking(rows, scores)

    def rank_users(
        self, user_rows: I64, n: int, *, profile: str = NEUTRAL,
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
            return self.opened.sources.propose(source, subjects, tags, n)
        if profile == SEGMENTS:
            places = self.segments.of_users()[user_rows].tolist()
            own = {
                segment: self.profiles.choose(None, (self.segments.name(segment),), None)[
                    1
                ].weights()
                for segment in set(places)
            }
            chosen = [own[segment] for segment in places]
        else:
            chosen = [self.profiles.named[profile].weights()] * len(subjects)
        fused = tuple(self.opened.fused)
        orders = [Order(n=n, sources=fused, weights=weights) for weights in chosen]
        lists = self.opened.ranker.rank(subjects, tags, orders, now)
        return Ranking(lists.items, lists.scores)

    def mixes(self, user_rows: I64) -> F32:
        """(b, d) what share of each user's history lies in each domain, as balance sees it."""
        return self.opened.ranker.mixes(self._reader.users(user_rows))

    def similar(
        self, item: str, n: int, wanted: Filter | None = None, cursor: str | None = None, *,
        now: int,
    ) -> Answer:  # fmt: skip
        """Items near an item; `NotFound` when nobody knows it."""
        return self.recommend([self.asking_similar(item, n, wanted, cursor)], now=now)[0]

    def asking_similar(
        self, item: str, n: int, wanted: Filter | None = None, cursor: str | None = None
    ) -> Request:
        """The request of `similar`."""
        if item not in self.release.items:
            raise NotFound(f"there is no item {item!r} in release {self.release.name}")
        request = Request(items={item: 1.0}, n=n, cursor=cursor)
        return replace(request, filter=wanted or Filter(), profile=NEUTRAL)

    def tag_items(
        self, name: str, n: int, wanted: Filter | None = None, cursor: str | None = None, *,
        now: int,
    ) -> Answer:  # fmt: skip
        """Items that carry a tag; `NotFound` when nobody knows it."""
        return self.recommend([self.asking_tag_items(name, n, wanted, cursor)], now=now)[0]

    def asking_tag_items(
        self, name: str, n: int, wanted: Filter | None = None, cursor: str | None = None
    ) -> Request:
        """The request of `tag_items`."""
        if len(self.filters.tag_rows(name)) == 0:
            raise NotFound(f"there is no tag {name!r} in release {self.release.name}")
        only = replace(wanted or Filter(), tags_all=(*(wanted or Filter()).tags_all, name))
        return Request(tags=(name,), n=n, cursor=cursor, filter=only, profile=NEUTRAL)

    def popular(
        self, n: int, wanted: Filter | None = None, cursor: str | None = None, *, now: int
    ) -> Answer:
        """What many chose."""
        return self.recommend([self.asking_popular(n, wanted, cursor)], now=now)[0]

    def asking_popular(
        self, n: int, wanted: Filter | None = None, cursor: str | None = None
    ) -> Request:
        """The request of `popular`."""
        return Request(n=n, cursor=cursor, filter=wanted or Filter(), profile=NEUTRAL)

    def latest(self, n: int, wanted: Filter | None = None, *, now: int) -> Answer:
        """The newest items whose time is known, newest first, on one page."""
        created = self.release.created_at
        hidden = self.rulebook.hidden(self.rulebook.in_force(now, (), {}), now)
        allowed = self.filters.mask(
            Filter(all_of=((wanted or Filter()).of({}).at(now),), none_of=hidden)
        )
        rows = np.flatnonzero(allowed & (created != NO_TIME) & (created <= now))
        rows = rows[np.argsort(-created[rows], kind="stable")][:n]
        entries = [Entry(row, float(created[row]), LATEST, {LATEST: 1.0}) for row in rows.tolist()]
        listed = Listed(
            request=Request(reasons=False),
            entries=entries,
            speaker=_nobody,
            served_by=LATEST,
            fallback=None if entries else "no item that is allowed has a known time",
            release=self.release.name,
            profile=NEUTRAL,
            segment=None,
            notes=(),
            next=None,
        )
        return answer(self.release, listed)

    def why(self, user: str, item: str, *, now: int) -> dict[str, Any]:
        """Why an item is, or would be, shown to a user, with Cypher that shows the same paths.

        The item is described as in an answer, also when the user has seen it already: `item`,
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
        known = user if self.overlay.knows(user) else None
        queries = [
            dict(
                zip(
                    ("query", "parameters"),
                    explain.cypher(self.release, known, item, r),
                    strict=True,
                )
            )
            for r in shown.reasons
        ]
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

    # ── read, rank, arrange, explain ─────────────────────────────────────────────────────

    def _for_each(self, requests: Sequence[Request], now: int) -> list[Listed]:
        plans = [self._read(request, now) for request in requests]
        lists = self._ranked(plans, now)
        return [
            self._listed(plan, self._entries(lists, at), lambda _, plan=plan: plan.subject)  # type: ignore[misc]
            for at, plan in enumerate(plans)
        ]

    def _for_household(self, request: Request, now: int) -> Listed:
        """One list for several users; nobody is shown what one of them hid or all may not see."""
        self._reader.check(request)
        members = []
        for user in dict.fromkeys(request.household):
            alone = replace(request, user=user, household=(), cursor=None)
            members.append(replace(self._subject(alone, now), request=request))
        heard = [member for member in members if len(member.items)] or members[:1]
        before = np.array(shown_before(request, self._item_sums), np.int32)
        blocked = np.unique(np.concatenate([before, *(member.blocked for member in members)]))
        plans = [self._planned(replace(member, blocked=blocked), now) for member in heard]
        hidden = dict.fromkeys(f for plan in plans for f in plan.subject.filter.none_of)
        plans = [plan.without(tuple(hidden)) for plan in plans]  # by a rule for one: from all
        lists = self._ranked(plans, now)
        rows, liked = relevance(lists.items, lists.scores)
        best = fair_order(liked, pool_size(request.n))
        closest = dict(zip(rows.tolist(), liked.argmax(axis=0).tolist(), strict=True))
        merged = _merged(lists, rows[best], closest, liked[:, best].mean(axis=0))
        together = replace(
            plans[0].subject,
            items=np.zeros(0, np.int32),
            weights=np.zeros(0, np.float32),
            kinds=(),
            user_row=NO_ROW,
            seen=None,
            served_by="household",
            notes=tuple(dict.fromkeys(note for member in members for note in member.notes)),
            segments=(),
        )
        profile, _ = self._profile(together)
        household = replace(plans[0], subject=together, profile=profile)
        entries = self._entries(merged, 0)
        return self._listed(household, entries, lambda row: heard[closest.get(row, 0)])

    def _read(self, request: Request, now: int) -> Plan:
        return self._planned(self._subject(request, now), now)

    def _subject(self, request: Request, now: int) -> Subject:
        """Who asks, finished: nothing is added later."""
        held: tuple[Context, ...] = ()
        if self.contexts:
            features = self._features(request, now)
            held = tuple(context for context in self.contexts if context.holds(features))
        subject = self._reader.read(request, now, session_share(held))
        attributes = None if request.user is None else self.overlay.said_since(request.user)
        described = {} if request.user is None else self.overlay.attributes_of(request.user)
        behaviour = Behaviour(
            subject.user_row, subject.items, subject.weights, attributes, described
        )
        blocked = subject.blocked
        if request.cursor is not None:
            before = shown_before(request, self._item_sums)
            blocked = np.concatenate([blocked, np.array(before, np.int32)])
        return replace(
            subject,
            contexts=held,
            segments=self.segments.of(behaviour, now),
            interests=found_interests(self.release, subject) if request.interests else None,
            blocked=blocked,
        )

    def _planned(self, subject: Subject, now: int) -> Plan:
        """How the subject's list is made."""
        request = subject.request
        rules: tuple[Rule, ...] = ()
        if request.rules and self.rulebook.rules:
            features = self._features(request, now)
            rules = self.rulebook.in_force(now, subject.segments, features)
            hidden = self.rulebook.hidden(rules, now)
            if hidden:
                none_of = (*subject.filter.none_of, *hidden)
                subject = replace(subject, filter=replace(subject.filter, none_of=none_of))
        profile, weights = self._profile(subject)
        arranged = any(rule.do in ARRANGING for rule in rules)
        order = Order(
            n=request.n,
            sources=self._fused_for(subject),
            weights=weights.weights(),
            adjust=self._adjust(request, rules, now),
            whole_pool=arranged or bool(request.household) or subject.interests is not None,
            seed=request.seed or 0,
        )
        return Plan(subject, rules, profile, order)

    def _features(self, request: Request, now: int) -> Features:
        users = (request.user, *request.household)
        known = any(user and self.overlay.knows(user) for user in users)
        own = {} if request.user is None else self.overlay.attributes_of(request.user)
        return features(request.context, now, known=known, attributes=own)

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

    def _ranked(self, plans: Sequence[Plan], now: int) -> Lists:
        subjects, tags = self._reader.arrays([plan.subject for plan in plans])
        return self.opened.ranker.rank(subjects, tags, [plan.order for plan in plans], now)

    def _check(self, request: Request) -> None:
        if not 1 <= request.n <= MOST_ITEMS:
            raise InputError(f"n is {request.n}; ask for 1 to {MOST_ITEMS} items")
        if request.source is not None and request.source not in self.sources:
            raise InputError(f"source {request.source!r} is not one of {', '.join(self.sources)}")
        if request.profile is not None and request.profile not in self.profiles.named:
            there = ", ".join(self.profiles.named)
            raise InputError(f"profile {request.profile!r} is not one of {there}")

    def _fused_for(self, subject: Subject) -> tuple[str, ...]:
        """The sources that are fused for a subject."""
        if subject.request.source is not None:
            return (subject.request.source,)
        if subject.placed is not None and subject.placed.source is not None:
            return (subject.placed.source,)
        if subject.served_by in (IN_DOMAIN, FRIENDS):
            return (subject.served_by,)
        return (*self.opened.fused, TAGS) if subject.tags else tuple(self.opened.fused)

    def _profile(self, subject: Subject) -> tuple[str, Profile]:
        request = subject.request
        name, profile = self.profiles.choose(request.profile, subject.segments, request.long_tail)
        if name != NEUTRAL and subject.contexts:
            profile = fitted(profile, subject.contexts)
        if request.diversity is not None:
            profile = replace(profile, diversity=request.diversity)
        if request.freshness is not None:
            profile = replace(profile, freshness=request.freshness)
        return name, profile

    @cached_property
    def _item_sums(self) -> U32:
        return item_sums(self.release.items)

    # ── from arrays to answers ───────────────────────────────────────────────────────────

    def _listed(
        self, plan: Plan, entries: list[Entry], speaker: Callable[[int], Subject]
    ) -> Listed:
        """Arranged; `speaker` is whose history speaks for an item's row."""
        subject, request = plan.subject, plan.subject.request
        shown, notes = self._arranged(plan, in_proportion(self.release, subject, entries))
        popular = (POPULAR,) if subject.served_by == "popular" else ()
        sources = (*plan.order.sources, *popular)
        filled = {e.source for e in shown if e.label is None and e.source not in sources}
        full = len(shown) == request.n
        ids = self.release.items
        return Listed(
            request=request,
            entries=shown,
            speaker=speaker,
            served_by=self._served_by(subject) if shown else "nothing",
            fallback=_fallback(len(shown), filled, request.n),
            release=self.release.name,
            profile=plan.profile,
            segment=subject.segments[0] if subject.segments else None,
            notes=(*subject.notes, *notes),
            next=next_cursor(request, ids.all_encoded([e.row for e in shown])) if full else None,
        )

    def _served_by(self, subject: Subject) -> str:
        """What made a list; a release that ranks by a simple recommender says so."""
        simple = self.release.manifest.get("ranks_by")
        return str(simple) if simple and subject.served_by == HISTORY else subject.served_by

    def _entries(self, lists: Lists, subject_row: int) -> list[Entry]:
        names, rows = self.sources, lists.items[subject_row].tolist()
        scores, origins = lists.scores[subject_row].tolist(), lists.origins[subject_row].tolist()
        gains = lists.parts[subject_row]
        if np.count_nonzero(gains, axis=1).max(initial=0) > 1:
            parts = [_named(names, part) for part in gains.tolist()]
        else:  # each item by the one source that proposed it
            whole = gains.sum(axis=1).tolist()
            parts = [{names[at]: p} if p else {} for at, p in zip(origins, whole, strict=True)]
        return [
            Entry(row, score, names[origin], part)
            for row, score, origin, part in zip(rows, scores, origins, parts, strict=True)
            if row >= 0
        ]

    def _arranged(self, plan: Plan, entries: list[Entry]) -> tuple[list[Entry], tuple[str, ...]]:
        subject, n = plan.subject, plan.subject.request.n
        if not plan.arranged:
            return entries[:n], ()
        mask, blocked = self.filters.mask(subject.filter), set(subject.blocked.tolist())
        known = None if subject.seen is None else set(subject.seen.tolist())

        def allowed(row: int) -> bool:
            return bool(mask[row]) and row not in blocked and (known is None or row in known)

        arranged, notes = self.rulebook.arrange(plan.rules, entries, n, allowed)
        good = [entry for entry in arranged if allowed(entry.row)]
        if len(good) < len(arranged):
            self.opened.defect(
                "a rule placed an item that the request does not allow", len(arranged) - len(good)
            )
        return good, notes


def _product(steps: Sequence[Adjust]) -> Adjust:
    def multiply(rows: I32) -> F32:
        factors: F32 = np.prod([step(rows) for step in steps], axis=0)
        return factors

    return multiply


def _nobody(row: int) -> Subject:
    raise AssertionError(f"nobody's history speaks for row {row}")


def _named(names: Sequence[str], parts: Sequence[float]) -> dict[str, float]:
    return {name: part for name, part in zip(names, parts, strict=True) if part}


def _merged(lists: Lists, rows: I32, closest: Mapping[int, int], scores: F32) -> Lists:
    """One list of some rows, each as its closest member was given it."""
    members = np.array([closest[row] for row in rows.tolist()], np.int64)
    at = [int(np.flatnonzero(lists.items[m] == r)[0]) for m, r in zip(members, rows, strict=True)]
    parts = lists.parts[members, at]  # in the member's units: brought to those of the scores
    sums = parts.sum(axis=1)
    parts = parts * (scores / np.where(sums > 0, sums, 1))[:, None]
    return Lists(
        items=rows[None].astype(np.int32),
        scores=scores[None],
        origins=lists.origins[members, at][None],
        parts=parts[None],
    )


def _fallback(shown: int, filled: set[str], n: int) -> str | None:
    if not shown:
        return "no item is allowed"
    notes = [f"filled up by {', '.join(sorted(filled))}"] if filled else []
    if shown < n:
        notes.append(f"only {shown} items are allowed")
    return "; ".join(notes) or None
