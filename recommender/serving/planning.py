"""How a request's list is to be made: who asks, which rules, profile and sources hold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from graph.arrays import F32, I32, U32
from graph.errors import InputError
from recommender.overlay.overlay import Overlay
from recommender.ranking.contexts import Context, Features, features, fitted, session_share
from recommender.ranking.pages import item_sums, rotation, shown_before, variety
from recommender.ranking.ranker import Adjust, Order
from recommender.ranking.request import NEUTRAL, Filter, Request, changed
from recommender.ranking.rerank import Profile
from recommender.ranking.sources import FRIENDS, IN_DOMAIN, SEQUENCE, TAGS, TRENDING
from recommender.releases.release import Release
from recommender.segments.membership import Behaviour, Segments
from recommender.serving.interest_words import found_interests
from recommender.serving.opened import Opened
from recommender.serving.profiles import Profiles
from recommender.serving.rules import LABELS, Rulebook
from recommender.serving.rules_file import Rule
from recommender.serving.subject import Subject
from recommender.serving.subjects import NO_ATTRIBUTES, SubjectReader

MOST_ITEMS = 1000  # in one list
ARRANGING = ("limit", *LABELS)  # rules that need more items to choose from than are shown


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
        """The same plan, with exactly this as what its filter forbids."""
        wanted = replace(self.subject.filter, none_of=none_of)
        return replace(self, subject=replace(self.subject, filter=wanted))


class Planner:
    """Reads requests, for a release and all that holds on top of it; it never changes."""

    def __init__(
        self,
        release: Release,
        *,
        overlay: Overlay,
        opened: Opened,
        reader: SubjectReader,
        segments: Segments,
        profiles: Profiles,
        rulebook: Rulebook,
        contexts: Sequence[Context],
    ) -> None:
        """All of one `Recommender`."""
        self._release = release
        self._overlay = overlay
        self._sources = opened.sources.names
        self._fused = tuple(opened.fused)
        self._reader = reader
        self._segments = segments
        self._profiles = profiles
        self._rulebook = rulebook
        self._contexts = contexts

    def read(self, request: Request, now: int) -> Plan:
        """Who asks, and how the list is made."""
        return self.planned(self.subject(request, now), now)

    def subject(self, request: Request, now: int) -> Subject:
        """Who asks, finished: nothing is added later."""
        held: tuple[Context, ...] = ()
        if self._contexts:
            features = self.features_of(request, now)
            held = tuple(context for context in self._contexts if context.holds(features))
        subject = self._reader.read(request, now, session_share(held))
        attributes: Mapping[str, Any] | None = None
        described: Mapping[str, Any] = NO_ATTRIBUTES
        if request.user is not None:
            attributes = self._overlay.said_since(request.user)
            if self._segments.rules:  # only they ask for attributes by name
                described = self._overlay.attributes_of(request.user)
        behaviour = Behaviour(
            subject.user_row, subject.items, subject.weights, attributes, described
        )
        blocked = subject.blocked
        if request.cursor is not None:
            before = shown_before(request, self.item_sums)
            blocked = np.concatenate([blocked, np.array(before, np.int32)])
        return changed(
            subject,
            contexts=held,
            segments=self._segments.of(behaviour, now),
            interests=found_interests(self._release, subject) if request.interests else None,
            blocked=blocked,
        )

    def planned(self, subject: Subject, now: int) -> Plan:
        """How the subject's list is made."""
        request = subject.request
        rules: tuple[Rule, ...] = ()
        if request.rules and self._rulebook.rules:
            features = self.features_of(request, now)
            rules = self._rulebook.in_force(now, subject.segments, features)
            hidden = self._rulebook.hidden(rules, now)
            if hidden:
                none_of = (*subject.filter.none_of, *hidden)
                subject = replace(subject, filter=replace(subject.filter, none_of=none_of))
        profile, weights = self.profile(subject)
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

    def features_of(self, request: Request, now: int) -> Features:
        """What conditions of rules and contexts may ask about a request."""
        users = (request.user, *request.household)
        known = any(user and self._overlay.knows(user) for user in users)
        own = {} if request.user is None else self._overlay.attributes_of(request.user)
        return features(request.context, now, known=known, attributes=own)

    def _adjust(self, request: Request, rules: Sequence[Rule], now: int) -> Adjust | None:
        steps: list[Adjust] = []
        edited = self._rulebook.adjust(rules, now)
        if edited is not None:
            steps.append(edited)
        shown = self._shown(request, now)
        if shown:
            steps.append(lambda rows: rotation(shown, rows))
        if request.seed is not None:
            seed = request.seed
            steps.append(lambda rows: variety(seed, rows))
        return _product(steps) if steps else None

    def _shown(self, request: Request, now: int) -> dict[int, int]:
        """How often items (rows) were shown and not clicked: as the caller says, or as was heard.

        Where both say something, the greater count holds.
        """
        times = {} if request.user is None else self._overlay.shown_to(request.user, now)
        for item, count in request.shown.items():
            row = self._release.items.row(item)
            times[row] = max(count, times.get(row, 0))
        return times

    def checked(self, requests: Sequence[Request]) -> list[Request]:
        """The requests under the own ids of their users; see `check`."""
        for request in requests:
            self.check(request)
        if not self._overlay.aliases:
            return list(requests)
        return [request.under(self._overlay.own_name) for request in requests]

    def check(self, request: Request) -> None:
        """Raise an `InputError` for a length out of range, or an unknown source or profile."""
        if not 1 <= request.n <= MOST_ITEMS:
            raise InputError(f"n is {request.n}; ask for 1 to {MOST_ITEMS} items")
        if request.source is not None and request.source not in self._sources:
            raise InputError(f"source {request.source!r} is not one of {', '.join(self._sources)}")
        if request.profile is not None and request.profile not in self._profiles.named:
            there = ", ".join(self._profiles.named)
            raise InputError(f"profile {request.profile!r} is not one of {there}")

    def _fused_for(self, subject: Subject) -> tuple[str, ...]:
        """The sources that are fused for a subject."""
        if subject.request.source is not None:
            return (subject.request.source,)
        if subject.placed is not None and subject.placed.source is not None:
            return (subject.placed.source,)
        if subject.served_by in (IN_DOMAIN, FRIENDS, TRENDING):
            return (subject.served_by,)
        fused = self._fused
        if SEQUENCE in fused and not len(subject.in_order):  # nothing can be foretold
            fused = tuple(name for name in fused if name != SEQUENCE)
        return (*fused, TAGS) if subject.tags else fused

    def profile(self, subject: Subject) -> tuple[str, Profile]:
        """The name of a subject's profile, and the profile as this request changes it."""
        request = subject.request
        name, profile = self._profiles.choose(request.profile, subject.segments, request.long_tail)
        if name != NEUTRAL and subject.contexts:
            profile = fitted(profile, subject.contexts)
        if request.diversity is not None:
            profile = replace(profile, diversity=request.diversity)
        if request.freshness is not None:
            profile = replace(profile, freshness=request.freshness)
        return name, profile

    @cached_property
    def item_sums(self) -> U32:
        """(i,) a short number for each item, by which cursors name what was shown."""
        return item_sums(self._release.items)


def _product(steps: Sequence[Adjust]) -> Adjust:
    def multiply(rows: I32) -> F32:
        factors: F32 = np.prod([step(rows) for step in steps], axis=0)
        return factors

    return multiply
