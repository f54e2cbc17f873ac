"""Who should see what: `Recommender.recommend()` is the only way to a ranked list.

requests ─▶ read ─▶ ranked ─▶ arranged by editorial rules ─▶ explained ─▶ answers

An HTTP request is a batch of one; evaluation and jobs are large batches over the same code.
`planning` reads the requests, `ranker` ranks, `rules` arranges, `explain` says why.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from types import MappingProxyType

import numpy as np

from graph.arrays import F32, I64
from graph.errors import NotFound
from graph.model import NO_TIME
from recommender.overlay.overlay import Overlay
from recommender.ranking.candidates import Ranking
from recommender.ranking.filters import Filters
from recommender.ranking.pages import shown_before
from recommender.ranking.ranker import Defect, Lists, Order, pool_size, refuse
from recommender.ranking.request import NEUTRAL, Answer, Filter, Request
from recommender.ranking.sources import POPULAR
from recommender.releases.release import Release
from recommender.segments.membership import Segments
from recommender.segments.settings import SegmentSettings
from recommender.serving.answers import answers, answers_json
from recommender.serving.circles import Circles
from recommender.serving.entries import entries_of, fallback, merged
from recommender.serving.households import fair_order, relevance
from recommender.serving.households import members as members_of
from recommender.serving.interest_words import in_proportion
from recommender.serving.listed import Columns, Listed
from recommender.serving.opened import Opened
from recommender.serving.planning import Plan, Planner
from recommender.serving.profiles import SEGMENTS, Profiles
from recommender.serving.rules import PINNED, SPONSORED, Entry, Rulebook
from recommender.serving.rules_file import Rule
from recommender.serving.subject import Subject
from recommender.serving.subjects import SubjectReader

LATEST, HISTORY = "latest", "history"
BLOCK = 256  # requests ranked in one go
MASK_CELLS = 64_000_000  # filters × items held at once


class Recommender:
    """What is served at one moment: a release, the overlay on it, and an editor's settings.

    It never changes: `following` makes its successor. Threads may share it.
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
            overlay: what changed since; None: nothing.
            settings: an editor's segments, profiles and contexts, beside or over learned ones.
            rules: editorial ones.
            threads: blocks of a batch that are ranked side by side.
            defect: called when an item had to be left out that should never have been proposed; by
                default it raises, and ends the request.
            last: a recommender over the same release; its parts are reused where they fit.

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
        self.planner = Planner(
            release,
            overlay=self.overlay,
            opened=self.opened,
            reader=self._reader,
            segments=self.segments,
            profiles=self.profiles,
            rulebook=self.rulebook,
            contexts=self.contexts,
        )

    def following(
        self,
        *,
        overlay: Overlay | None = None,
        settings: SegmentSettings | None = None,
        rules: Sequence[Rule] | None = None,
    ) -> "Recommender":
        """The same with newer parts; parts that are not given stay as they are."""
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
            requests: see `Request`; unknown users and items are no errors, but named in the
                answer's notes. Unknown profiles, sources and attributes are `InputError`s.
            now: seconds since 1970, for freshness, ages and the times of rules.
        """
        return answers(self.release, self._lists(requests, now))

    def recommend_json(self, requests: Sequence[Request], *, now: int) -> list[bytes]:
        """The same answers as JSON texts, as `Answer.to_json` would give them."""
        return answers_json(self.release, self._lists(requests, now))

    def _lists(self, requests: Sequence[Request], now: int) -> list[Listed]:
        requests = self.planner.checked(requests)
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

    @cached_property
    def edited(self) -> str:
        """A text that changes when an editor's rules or settings do."""
        words = f"{self.rulebook.rules!r}{self.settings!r}"
        return hashlib.blake2b(words.encode(), digest_size=16).hexdigest()

    def segments_of(self, request: Request, *, now: int) -> tuple[str, ...]:
        """Every segment of a request's subject: those of rules first, then the learned one."""
        (request,) = self.planner.checked([request])
        return self.planner.read(request, now).subject.segments

    def rank_requests(self, requests: Sequence[Request], n: int, *, now: int) -> Ranking:
        """What `recommend` would list, as arrays (b, n): for jobs that show no cards.

        Args:
            requests: for single subjects, not households; each asks for `n` items.
            n: length of the lists.
            now: as in `recommend`.
        """
        requests = self.planner.checked(requests)
        rows = np.full((len(requests), n), -1, np.int32)
        scores = np.full((len(requests), n), -np.inf, np.float32)
        plans = [self.planner.read(request, now) for request in requests]
        lists = self._ranked(plans, now)
        for at, plan in enumerate(plans):
            if not plan.arranged and plan.subject.interests is None:
                count = min(n, int(np.count_nonzero(lists.items[at] >= 0)))
                rows[at, :count] = lists.items[at, :count]
                scores[at, :count] = lists.scores[at, :count]
                continue
            entries = in_proportion(self.release, plan.subject, entries_of(lists, at, self.sources))
            entries, _ = self._arranged(plan, entries)
            rows[at, : len(entries)] = [entry.row for entry in entries]
            scores[at, : len(entries)] = [entry.score for entry in entries]
        return Ranking(rows, scores)

    def rank_users(
        self, user_rows: I64, n: int, *, profile: str = NEUTRAL,
        source: str | None = None, now: int = 0,
    ) -> Ranking:  # fmt: skip
        """The n best unseen items of known users, as arrays, by the code of `recommend`.

        Editorial rules are left out: they are only for lists that somebody is shown.

        Args:
            user_rows: (b,) rows of the release's users.
            n: length of the lists.
            profile: "neutral", "default", a profile's name, or "segments": each user gets the
                profile of their learned segment.
            source: the lists of this source alone, not filled up; None: all sources, as served.
            now: seconds since 1970, for freshness.
        """
        subjects = self._reader.users(user_rows)
        tags = self._reader.tags([[]] * len(user_rows))  # none asked for
        if source is not None:
            return self.opened.sources.propose(source, subjects, tags, n)
        if profile == SEGMENTS:
            places = self.segments.of_users()[user_rows].tolist()
            own = {}
            for segment in set(places):
                _, served = self.profiles.choose(None, (self.segments.name(segment),), None)
                own[segment] = served.weights()
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
        request = Request(items={item: 1.0}, n=n, cursor=cursor, similar=True)
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
            columns=Columns.of(entries),
            subject=None,
            served_by=LATEST,
            fallback=None if entries else "no item that is allowed has a known time",
            release=self.release.name,
            profile=NEUTRAL,
            segment=None,
            notes=(),
        )
        return answers(self.release, [listed])[0]

    # ── read, rank, arrange, explain ─────────────────────────────────────────────────────

    def _for_each(self, requests: Sequence[Request], now: int) -> list[Listed]:
        plans = [self.planner.read(request, now) for request in requests]
        lists = self._ranked(plans, now)
        return [self._listed(plan, lists, at, now) for at, plan in enumerate(plans)]

    def _for_household(self, request: Request, now: int) -> Listed:
        """One list for several users, without what any of them hid or may not be shown."""
        self._reader.check(request)
        members = [
            replace(self.planner.subject(alone, now), request=request)
            for alone in members_of(request, self.overlay, now)
        ]
        heard = [member for member in members if len(member.items)] or members[:1]
        before = np.array(shown_before(request, self.planner.item_sums), np.int32)
        blocked = np.unique(np.concatenate([before, *(member.blocked for member in members)]))
        plans = [self.planner.planned(replace(member, blocked=blocked), now) for member in heard]
        hidden = dict.fromkeys(f for plan in plans for f in plan.subject.filter.none_of)
        plans = [plan.without(tuple(hidden)) for plan in plans]  # by a rule for one: from all
        lists = self._ranked(plans, now)
        rows, liked = relevance(lists.items, lists.scores)
        best = fair_order(liked, pool_size(request.n))
        closest = dict(zip(rows.tolist(), liked.argmax(axis=0).tolist(), strict=True))
        ranked = merged(lists, rows[best], closest, liked[:, best].mean(axis=0))
        together = plans[0].subject.for_household(note for m in members for note in m.notes)
        profile, _ = self.planner.profile(together)
        household = replace(plans[0], subject=together, profile=profile)
        return self._listed(household, ranked, 0, now, {r: heard[m] for r, m in closest.items()})

    def _ranked(self, plans: Sequence[Plan], now: int) -> Lists:
        subjects, tags = self._reader.arrays([plan.subject for plan in plans])
        return self.opened.ranker.rank(subjects, tags, [plan.order for plan in plans], now)

    # ── from arrays to answers ───────────────────────────────────────────────────────────

    def _listed(
        self,
        plan: Plan,
        lists: Lists,
        at: int,
        now: int,
        members: Mapping[int, Subject] = MappingProxyType({}),
    ) -> Listed:
        """A ranked list after rules; `members` as in `Listed`."""
        subject, request = plan.subject, plan.subject.request
        notes: tuple[str, ...] = ()
        touched: Sequence[tuple[str, ...]] = ()
        if plan.rules or subject.interests is not None:
            entries = in_proportion(self.release, subject, entries_of(lists, at, self.sources))
            entries, notes = self._arranged(plan, entries)
            columns = Columns.of(entries)
            touched = self.rulebook.touched(plan.rules, entries, now)
        else:
            columns = Columns.ranked(lists, at, request.n, self.sources)
        used = {columns.names[source] for source in set(columns.sources.tolist())}
        filled = used - {*plan.order.sources, PINNED, SPONSORED}
        if subject.served_by == POPULAR:
            filled.discard(POPULAR)
        shown = len(columns)
        return Listed(
            request=request,
            columns=columns,
            subject=subject,
            members=members,
            served_by=self._served_by(subject) if shown else "nothing",
            fallback=fallback(shown, filled, request.n),
            release=self.release.name,
            profile=plan.profile,
            segment=subject.segments[0] if subject.segments else None,
            notes=(*subject.notes, *notes),
            full=shown == request.n,
            rules=touched,
        )

    def _served_by(self, subject: Subject) -> str:
        """What made a list; a release that ranks by a simple recommender says so."""
        simple = self.release.manifest.get("ranks_by")
        return str(simple) if simple and subject.served_by == HISTORY else subject.served_by

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
