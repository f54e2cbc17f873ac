"""Facts of the journal as counts of what is chosen lately."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from graph.arrays import I64
from graph.model import NO_ROW, NO_TIME
from recommender.inbox.facts import Row
from recommender.overlay.histories import Events, LiveUser, Weigher
from recommender.overlay.state import State
from recommender.overlay.trends import Trends, key_of
from recommender.releases.release import Release


@dataclass
class TrendCounts:
    """Keeps the counts of one follower up to date; `trends` is their newest value."""

    release: Release  # as it was written
    weigher: Weigher
    trends: Trends
    state: State = field(default_factory=State)
    gone: frozenset[str] = frozenset()  # digests of who is erased from the release
    numbers: dict[str, int] = field(default_factory=dict)  # of users whom the release lacks

    @classmethod
    def over(cls, release: Release, weigher: Weigher, agreed: frozenset[str]) -> "TrendCounts":
        """Begin with what the release holds; `agreed` says to what who has not said agrees."""
        silent: frozenset[int] = frozenset()
        if "track" not in agreed:
            rows = range(len(release.users))
            silent = frozenset(row for row in rows if not release.agrees_to_all(row))
        return cls(release, weigher, Trends.over(release, weigher, silent))

    def number(self, user: str) -> int:
        """The number of a user: their row in the release, or one behind all rows."""
        return self._number(user, int(self.release.users.row(user)))

    def _number(self, user: str, row: int) -> int:
        if row != NO_ROW and not (self.gone and self.state.digest(user) in self.gone):
            return row
        return self.numbers.setdefault(user, len(self.release.users) + len(self.numbers))

    def _numbers(self, events: Sequence[Row]) -> I64:
        """The number of the user of each event; each user is looked up once."""
        users = [str(fact.payload["user"]) for fact in events]
        distinct = list(dict.fromkeys(users))
        rows = self.release.users.rows(distinct).tolist()
        own = {user: self._number(user, row) for user, row in zip(distinct, rows, strict=True)}
        return np.array([own[user] for user in users], np.int64)

    def without_erased(self, state: State) -> None:
        """Leave out who is erased."""
        before, self.state = self.gone, state
        self.gone = state.gone(self.release.watermark)
        if newly := self.gone - before:
            for row, user in enumerate(self.release.users):
                if state.digest(user) in newly:
                    self.trends = self.trends.silenced(row, self.trends.stamp)

    def take_up(self, events: Sequence[Row], entries: Events, kinds: Sequence[str]) -> None:
        """Count newer events; those without a time, and those that do not like, count nothing."""
        users = self._numbers(events)
        numbers, codes = np.unique(users, return_inverse=True)
        liked = self.weigher.liked(entries, codes.astype(np.int32), kinds)
        liked &= entries["at"] != NO_TIME
        if liked.any():
            acknowledged = np.array([fact.acknowledged for fact in events], np.int64)
            times = np.minimum(entries["at"], acknowledged)[liked]
            keys = key_of(numbers[codes][liked], entries["item"][liked])
            self.trends = self.trends.with_events(keys, times, events[-1].sequence)

    def take_back(self, user: str, live: LiveUser, kinds: Sequence[str], fact: int) -> None:
        """Count for a user nothing but what they still did, after events were taken back."""
        number = self.number(user)
        left = self.weigher.events(number if number < len(self.release.users) else NO_ROW, live)
        liked = self.weigher.liked(left, np.zeros(len(left), np.int32), kinds)
        left = left[liked & (left["at"] != NO_TIME)]
        keys = key_of(np.full(len(left), number), left["item"])
        self.trends = self.trends.with_only(number, keys, left["at"], fact)

    def agree(self, user: str, fact: int, *, counted: bool) -> None:
        """Leave out who opted out of anything, or take them in again."""
        change = self.trends.heard_again if counted else self.trends.silenced
        self.trends = change(self.number(user), fact)

    def join(self, anonymous: str, user: str, fact: int) -> None:
        """Count what was done under an anonymous id for its user."""
        self.trends = self.trends.moved(self.number(anonymous), self.number(user), fact)
